"""The model `fusion`: a network for each input of a track, whose logits add, and what they know together.

A track may lack any of the inputs: what it lacks adds nothing, and in training inputs are taken away at
random, so that each network learns to do without the others. Each also learns alone, by a loss of its own.

Shape suffixes: B batch, F values of an input, S tokens of all fields, L tokens of a field, N fields × batch,
D values a token, W values that a network's last layer takes, J values of the joint head, H heads, C classes.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, relu

from genremill.models.encoder import Encoder, Inputs, Samples
from genremill.models.features import TABLE, TEXT
from genremill.models.networks import LayeredNetwork, Network, mean_loss, perceptron
from genremill.models.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Size
from genremill.models.table_encoder import TableEncoder
from genremill.models.text_encoder import TextEncoder
from genremill.models.text_tokens import FIELDS

TOKEN_VALUES = 64
TOKENS_DROPPED, FIELDS_DROPPED = 0.5, 0.5
"""Shares taken away at random in training: a network that reads all of a name learns artists, not genres."""
AUDIO_WIDTHS, AUDIO_DROPOUT = (256, 256), 0.3
"""Hidden layers over statistics and embeddings of audio."""
JOINT_WIDTH = 64
"""Values that the joint head takes of each network."""
INPUTS_DROPPED = 0.1
"""Share of the rows that each input is taken away from in training."""
LOSS_ALONE = 0.5
"""Weight of the loss of each network alone, where that of all together is 1."""


class SeveralEncoder(Encoder):
    """An encoder for each input."""

    def __init__(self, parts: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self.parts)

    def learn(self, samples: Samples) -> None:
        """Fits each part on the rows that have its input; that of text is given the tokens to know."""
        for name, part in self.parts.items():
            x_BF = samples[name]
            if not isinstance(part, Encoder):
                raise TypeError(f"{name}: {type(part).__name__} is no encoder")
            part.learn({name: x_BF if name == TEXT else x_BF[~np.isnan(x_BF[:, 0])]})


class TextNetwork(Network):
    """A linear map of the mean embedding of each field's tokens."""

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        self.width = len(FIELDS) * TOKEN_VALUES
        self.token_VD = nn.Parameter(torch.randn(len(encoder.hash_V) + 1, TOKEN_VALUES) * 0.1)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(self.width, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Mean embeddings of the fields, shape (1, B, W)."""
        number_BS = inputs[TEXT]
        number_NL = number_BS.reshape(len(number_BS) * len(FIELDS), -1)
        if self.training:
            kept_NL = torch.rand(number_NL.shape, device=number_NL.device) >= TOKENS_DROPPED
            kept_N1 = torch.rand(len(number_NL), 1, device=number_NL.device) >= FIELDS_DROPPED
            number_NL = number_NL * (kept_NL & kept_N1)
        mean_ND = embedding_bag(number_NL, self.token_VD, mode="mean", padding_idx=0)
        values_BW: Tensor = self.dropout(mean_ND.view(len(number_BS), -1))
        return values_BW.unsqueeze(0)

    def logits(self, values_HBP: Tensor) -> Tensor:
        """Logits of the one head, shape (1, B, C)."""
        found: Tensor = self.head(values_HBP)
        return found


class Fusion(Network):
    """The sum of the logits of a network an input, and of a joint head over what their last layers take."""

    def __init__(self, encoder: SeveralEncoder, classes: int, size: Size) -> None:
        super().__init__()
        self.classes = classes
        self.networks = nn.ModuleDict(
            {name: _network(part, classes, size) for name, part in encoder.parts.items()}
        )
        self.heads = max(network.heads for network in self._networks.values())
        self.projections = nn.ModuleDict(
            {name: nn.Linear(network.width, JOINT_WIDTH) for name, network in self._networks.items()}
        )
        self.joint_hidden = nn.Linear(JOINT_WIDTH * len(self.networks), JOINT_WIDTH)
        self.joint_head = nn.Linear(JOINT_WIDTH, classes)
        nn.init.zeros_(self.joint_head.weight)
        nn.init.zeros_(self.joint_head.bias)

    @property
    def _networks(self) -> dict[str, Network]:
        return {name: one for name, one in self.networks.items() if isinstance(one, Network)}

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the heads of all together, shape (H, B, C); in training, those of each alone follow."""
        has_B = {name: present(name, inputs[name]) for name in self.networks}
        left_B = _left(has_B) if self.training else has_B
        values, logits = {}, {}
        for name, network in self._networks.items():
            values[name] = network.penultimate({name: _filled(name, inputs[name])})
            logits[name] = network.logits(values[name])
        known = [
            (self.projections[name](values_HBW) * left_B[name][:, None]).expand(self.heads, -1, -1)
            for name, values_HBW in values.items()
        ]
        joint_HBJ = relu(self.joint_hidden(relu(torch.cat(known, dim=2))))
        total_HBC: Tensor = self.joint_head(joint_HBJ)
        for name, logits_HBC in logits.items():
            total_HBC = total_HBC + logits_HBC * left_B[name][:, None]
        if not self.training:
            return total_HBC
        alone = [logits_HBC * has_B[name][:, None] for name, logits_HBC in logits.items()]
        return torch.cat([total_HBC, *alone])

    def voting(self, logits_HBC: Tensor) -> Tensor:
        """The logits of all together."""
        return logits_HBC[: self.heads]

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of all together, and by its weight of each network alone.

        Where a row lacks an input, the network's logits are 0 whatever its weights, and nothing is learned.
        """
        heads = [self.heads, *(network.heads for network in self._networks.values())]
        together, *alone = (
            mean_loss(part_HBC, label_B, label_smoothing) for part_HBC in torch.split(logits_HBC, heads)
        )
        return together + LOSS_ALONE * torch.stack(alone).sum()

    @torch.inference_mode()
    def alone(self, inputs: Inputs) -> dict[str, Tensor]:
        """What each network says by itself: probabilities by input, each of shape (B, C)."""
        return {
            name: network.probabilities({name: _filled(name, inputs[name])})
            for name, network in self._networks.items()
        }


def present(name: str, x_BF: Tensor) -> Tensor:
    """Whether each row has an input, shape (B,): a token, or a number as its first value.

    >>> present(TABLE, torch.tensor([[0.5, 1.0], [torch.nan, torch.nan]])).tolist()
    [True, False]
    """
    return (x_BF > 0).any(dim=1) if name == TEXT else ~x_BF[:, 0].isnan()


def _filled(name: str, x_BF: Tensor) -> Tensor:
    """An input with 0 where it is not there; what a network makes of that is masked."""
    return x_BF if name == TEXT else x_BF.nan_to_num(nan=0.0)


def _left(has_B: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which inputs are left to each row: some are taken away at random, never all that it has."""
    left_B = {
        name: has & (torch.rand(has.shape, device=has.device) >= INPUTS_DROPPED)
        for name, has in has_B.items()
    }
    none_B = ~torch.stack(list(left_B.values())).any(dim=0)
    return {name: left | (none_B & has_B[name]) for name, left in left_B.items()}


def _network(encoder: nn.Module, classes: int, size: Size) -> Network:
    """One input's network: periodic embeddings for the table, a perceptron for audio, tokens for text."""
    if isinstance(encoder, TextEncoder):
        return TextNetwork(encoder, classes)
    if not isinstance(encoder, TableEncoder):
        raise TypeError(f"{type(encoder).__name__}: expected an encoder of vectors or text")
    if encoder.inputs == (TABLE,):
        return PeriodicMLP(encoder, classes, size)
    return LayeredNetwork(encoder, classes, perceptron(encoder, AUDIO_WIDTHS, classes, AUDIO_DROPOUT))
