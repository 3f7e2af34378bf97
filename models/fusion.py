"""The model `fusion`: a network for each input of a track, whose logits add, and what they know together.

A track may lack any of the inputs: what it lacks adds nothing, and in training inputs are taken away at random,
so that each network learns to do without the others. The networks also learn alone, each by a loss of its own.

Shape suffixes: B batch, S tokens of all fields, L tokens of a field, N fields × batch, D values a token,
W values of a network's last hidden layer, J values of the joint head, H heads, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding_bag, relu

from genremill.models.encoder import Encoder, Inputs, Samples
from genremill.models.features import TABLE, TEXT
from genremill.models.networks import LayeredNetwork, Network, perceptron
from genremill.models.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Size
from genremill.models.table_encoder import TableEncoder
from genremill.models.text_encoder import TextEncoder
from genremill.models.text_tokens import FIELDS

TOKEN_VALUES, TEXT_WIDTH = 64, 256
"""Values of a token, and of the hidden layer over those of all fields."""
TOKENS_DROPPED, FIELDS_DROPPED = 0.5, 0.5
"""Shares taken away at random in training: a model that reads all of a name learns artists, not genres."""
VECTOR_WIDTHS, VECTOR_DROPOUT = (256, 256), 0.3
"""Hidden layers over statistics and embeddings of audio."""
JOINT_WIDTH = 64
"""Values that the joint head takes of each network."""
INPUTS_DROPPED = 0.1
BRANCH_LOSS = 0.5
"""Weight of the loss of each network alone, where that of all together is 1."""


class SeveralEncoder(Encoder):
    """An encoder for each input; one is fitted on the rows that have its input."""

    def __init__(self, parts: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self.parts)

    def learn(self, samples: Samples) -> None:
        """Fits each part; that of text knows its tokens already."""
        for name, part in self.parts.items():
            if isinstance(part, TableEncoder):
                x_BF = samples[name]
                part.learn({name: x_BF[x_BF[:, 0] == x_BF[:, 0]]})


class TextNetwork(Network):
    """Means of the token embeddings of each field, one hidden layer over them, and logits."""

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        self.token_VD = nn.Parameter(torch.randn(len(encoder.hash_V) + 1, TOKEN_VALUES) * 0.1)
        self.hidden = nn.Linear(len(FIELDS) * TOKEN_VALUES, TEXT_WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(TEXT_WIDTH, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Values of the hidden layer, shape (1, B, W)."""
        number_BS = inputs[TEXT]
        number_NL = number_BS.view(len(number_BS) * len(FIELDS), -1)
        if self.training:
            kept_NL = torch.rand(number_NL.shape, device=number_NL.device) >= TOKENS_DROPPED
            kept_N1 = torch.rand(len(number_NL), 1, device=number_NL.device) >= FIELDS_DROPPED
            number_NL = number_NL * (kept_NL & kept_N1)
        mean_ND = embedding_bag(number_NL, self.token_VD, mode="mean", padding_idx=0)
        return self.dropout(relu(self.hidden(mean_ND.view(len(number_BS), -1)))).unsqueeze(0)

    def logits(self, hidden_HBW: Tensor) -> Tensor:
        """Logits from the hidden layer, shape (1, B, C)."""
        found: Tensor = self.head(hidden_HBW)
        return found


def present(name: str, x_BF: Tensor) -> Tensor:
    """Whether each row has an input, shape (B,): its first value is a number, or it has a token."""
    return (x_BF > 0).any(dim=1) if name == TEXT else ~x_BF[:, 0].isnan()


class Fusion(Network):
    """The sum of the logits of a network an input, and of a joint head over their hidden layers."""

    def __init__(self, encoder: SeveralEncoder, classes: int, size: Size) -> None:
        super().__init__()
        self.classes = classes
        self.members = size.members
        self.branches = nn.ModuleDict(
            {name: _branch(part, classes, size) for name, part in encoder.parts.items()}
        )
        self.projections = nn.ModuleDict(
            {name: nn.Linear(_width(branch), JOINT_WIDTH) for name, branch in self.branches.items()}
        )
        self.joint_hidden = nn.Linear(JOINT_WIDTH * len(self.branches), JOINT_WIDTH)
        self.joint_head = nn.Linear(JOINT_WIDTH, classes)
        nn.init.zeros_(self.joint_head.weight)
        nn.init.zeros_(self.joint_head.bias)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the heads of all together, shape (H, B, C); in training, then of the networks alone."""
        present_B = {name: present(name, inputs[name]) for name in self.branches}
        kept_B = self._kept(present_B) if self.training else present_B
        hidden = {name: self._hidden(name, inputs) for name in self.branches}
        logits = {name: self.branches[name].logits(hidden_HBW) for name, hidden_HBW in hidden.items()}
        total_HBC = torch.zeros(self.members, 1, 1, device=next(iter(hidden.values())).device)
        known = []
        for name, logits_HBC in logits.items():
            mask_B1 = kept_B[name].to(logits_HBC.dtype)[:, None]
            total_HBC = total_HBC + logits_HBC * mask_B1
            value_HBJ = self.projections[name](hidden[name]) * mask_B1
            known.append(value_HBJ.expand(self.members, -1, -1))
        joint_HBJ = relu(self.joint_hidden(relu(torch.cat(known, dim=2))))
        total_HBC = total_HBC + self.joint_head(joint_HBJ)
        if not self.training:
            return total_HBC
        alone = [logits_HBC * present_B[name].to(logits_HBC.dtype)[:, None] for name, logits_HBC in logits.items()]
        return torch.cat([total_HBC, *alone])

    def _hidden(self, name: str, inputs: Inputs) -> Tensor:
        x_BF = inputs[name]
        filled = x_BF if name == TEXT else x_BF.nan_to_num(nan=0.0)
        hidden_HBW: Tensor = self.branches[name].penultimate({name: filled})
        return hidden_HBW

    def _kept(self, present_B: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs that are left to each row: some are taken away at random, never all that it has."""
        kept_B = {name: has_B & (torch.rand_like(has_B, dtype=torch.float) >= INPUTS_DROPPED) for name, has_B in present_B.items()}
        none_B = ~torch.stack(list(kept_B.values())).any(dim=0)
        return {name: one_B | (none_B & present_B[name]) for name, one_B in kept_B.items()}

    def voting(self, logits_HBC: Tensor) -> Tensor:
        """The logits of the heads of all together."""
        return logits_HBC[: self.members]

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of the heads of all together, and of each network alone by its weight.

        A row that lacks a network's input has constant logits there, from which nothing is learned.
        """
        parts = [self.voting(logits_HBC), *logits_HBC[self.members :].split([_heads(one) for one in self.branches.values()])]
        losses = [
            cross_entropy(one.flatten(0, 1), label_B.repeat(len(one)), label_smoothing=label_smoothing)
            for one in parts
        ]
        return losses[0] + BRANCH_LOSS * torch.stack(losses[1:]).sum()

    @torch.inference_mode()
    def alone(self, inputs: Inputs) -> dict[str, Tensor]:
        """What each network says by itself: probabilities by input, each of shape (B, C)."""
        found = {}
        for name, branch in self.branches.items():
            found[name] = branch.logits(self._hidden(name, inputs)).softmax(dim=-1).mean(dim=0)
        return found
