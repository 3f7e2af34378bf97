"""The model `fusion`: a network for each input of a track, and weights by which what they say is joined.

Each network learns alone. Trained on the sum of their answers, as is more usual, they do worse: names tell
a train track's artist, so that a sum learns to believe the names, and held-out artists pay for it (on the
Spotify table .327 against .354 top-1). So held-out tracks alone say how far each input is to be believed,
beside which others. A track may lack any of the inputs.

Shape suffixes: B batch, F values of an input, S tokens of all fields, L tokens of a field, N fields × batch,
V known tokens, D values a token, W values that a last layer takes, I inputs, H heads, C classes.
"""

import itertools
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from genremill.models.encoder import Encoder, Encoders, Inputs
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
DOUBT = -0.35
"""Logarithm of what each further input takes of another's weight, until held-out tracks say it."""
PRIOR_ROWS = 20.0
"""Held-out rows that `DOUBT` counts as."""
SETTLING_ROWS = 20_000
MOST_SUBSETS = 31
"""Of five inputs, all; of more, each alone, all but one, and all."""


class TextNetwork(Network):
    """A linear map of the embeddings of each field: sums of its tokens', the rarer the more, of unit norm.

    Gradients are dense: sparse ones know no weight decay, and two ranks took 1.05 to 1.25 times as long for a
    step.
    """

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        self.width = len(FIELDS) * TOKEN_VALUES
        self.token_VD = nn.Parameter(torch.randn(len(encoder.hash_V) + 1, TOKEN_VALUES) * 0.02)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(self.width, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Embeddings of the fields, shape (1, B, W)."""
        number_BS = inputs[TEXT]
        number_NL = number_BS.reshape(len(number_BS) * len(FIELDS), -1)
        if self.training:
            kept_NL = torch.rand(number_NL.shape, device=number_NL.device) >= TOKENS_DROPPED
            kept_N1 = torch.rand(len(number_NL), 1, device=number_NL.device) >= FIELDS_DROPPED
            number_NL = number_NL * (kept_NL & kept_N1)
        rarity_V = torch.cat([self.encoder.rarity_V.new_zeros(1), self.encoder.rarity_V])
        weight_NL = normalize(rarity_V[number_NL.long()], dim=1)
        sum_ND = embedding_bag(number_NL, self.token_VD, mode="sum", per_sample_weights=weight_NL)
        values_BW: Tensor = self.dropout(sum_ND.view(len(number_BS), -1))
        return values_BW.unsqueeze(0)

    def logits(self, value_HBW: Tensor) -> Tensor:
        """Logits of the one head, shape (1, B, C)."""
        found: Tensor = self.head(value_HBW)
        return found


class Fusion(Network):
    """A weighted product of what networks say, each of one input, over the classes' shares.

    The weight of an input is the exponential of its own entry in `belief_II` and of those in its row of the
    other inputs that the track has. In training, the networks' logits stand one after the other.
    """

    def __init__(self, encoder: Encoders, classes: int, size: Size) -> None:
        super().__init__()
        self.classes = classes
        self.networks = nn.ModuleDict(
            {name: _network(part, classes, size) for name, part in encoder.by_name.items()}
        )
        count = len(self.networks)
        self.register_buffer("belief_II", DOUBT * (1 - torch.eye(count)))
        self.register_buffer("log_share_C", torch.full((classes,), 1 / classes).log())
        self.belief_II: Tensor
        self.log_share_C: Tensor

    @property
    def _networks(self) -> dict[str, Network]:
        return {name: one for name, one in self.networks.items() if isinstance(one, Network)}

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the one answer, shape (1, B, C); in training, of all heads of each network in turn."""
        if self.training:
            found = []
            for name, network in self._networks.items():
                has_B = present(name, inputs[name])
                found.append(network({name: _filled(name, inputs[name])}) * has_B[:, None])
            return torch.cat(found)
        return self._joined(self.belief_II, *self._said(inputs)).unsqueeze(0)

    def voting(self, logits_HBC: Tensor) -> Tensor:
        """The one answer that the networks' logits give in training; those of a missing input say nothing."""
        log_IBC = torch.stack([_mean_of_heads(part_HBC) for part_HBC in self._parts(logits_HBC)])
        has_IB = torch.ones(log_IBC.shape[:2], dtype=torch.bool, device=log_IBC.device)
        return self._joined(self.belief_II, log_IBC, has_IB)[None]

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Sum of the networks' mean cross-entropies.

        Where a row lacks an input, the network's logits are 0 whatever its weights, and nothing is learned.
        """
        parts = self._parts(logits_HBC)
        return torch.stack([mean_loss(part_HBC, label_B, label_smoothing) for part_HBC in parts]).sum()

    def _parts(self, logits_HBC: Tensor) -> tuple[Tensor, ...]:
        """The logits of each network, of those that stand one after the other."""
        return torch.split(logits_HBC, [network.heads for network in self._networks.values()])

    @torch.inference_mode()
    def alone(self, inputs: Inputs) -> dict[str, Tensor]:
        """What each network says by itself: probabilities by input, each of shape (B, C)."""
        log_IBC, _ = self._said(inputs)
        return dict(zip(self.networks, log_IBC.exp(), strict=True))

    def settle(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Fits the weights on held-out rows, given as batches of inputs and labels.

        They minimise the mean loss over subsets of the inputs, each on the rows that have it.
        """
        said, present_IB, labels, rows = [], [], [], 0
        with torch.no_grad():
            for inputs, label_B in batches:
                log_IBC, has_IB = self._said(inputs)
                said.append(log_IBC)
                present_IB.append(has_IB)
                labels.append(label_B)
                rows += len(label_B)
                if rows >= SETTLING_ROWS:
                    break
        label_B = torch.cat(labels)
        counts_C = torch.bincount(label_B, minlength=self.classes) + 1
        self.log_share_C.copy_((counts_C / counts_C.sum()).log())
        self.belief_II.copy_(self._fitted(torch.cat(said, dim=1), torch.cat(present_IB, dim=1), label_B))

    def _fitted(self, log_IBC: Tensor, has_IB: Tensor, label_B: Tensor) -> Tensor:
        start_II = DOUBT * (1 - torch.eye(len(self.networks), device=label_B.device))
        belief_II = start_II.clone().requires_grad_()
        cases = []
        for subset in _subsets(len(self.networks)):
            of_subset_I = torch.zeros(len(self.networks), dtype=torch.bool, device=label_B.device)
            of_subset_I[list(subset)] = True
            rows_B = has_IB[of_subset_I].all(dim=0)
            if rows_B.any():
                has = of_subset_I[:, None].expand(-1, int(rows_B.sum()))
                cases.append((log_IBC[:, rows_B], has, label_B[rows_B]))
        optimizer = torch.optim.LBFGS([belief_II], max_iter=40, line_search_fn="strong_wolfe")

        def loss() -> float:
            optimizer.zero_grad()
            total = (belief_II - start_II).square().sum() * (PRIOR_ROWS / len(label_B))
            for log, has, label in cases:
                total = total + mean_loss(self._joined(belief_II, log, has)[None], label, 0.0) / len(cases)
            torch.autograd.backward(total)
            return float(total.detach())

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return belief_II.detach()

    def _said(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log-probabilities of each network, shape (I, B, C), and which rows have its input, (I, B)."""
        said, has = [], []
        for name, network in self._networks.items():
            said.append(_mean_of_heads(network({name: _filled(name, inputs[name])})))
            has.append(present(name, inputs[name]))
        return torch.stack(said), torch.stack(has)

    def _joined(self, belief_II: Tensor, log_IBC: Tensor, has_IB: Tensor) -> Tensor:
        """Logits of the inputs that rows have, shape (B, C); of a row without any, those of the shares."""
        other_II = belief_II * (1 - torch.eye(len(belief_II), device=belief_II.device))
        there_IB = has_IB.to(log_IBC.dtype)
        weight_IB = (belief_II.diagonal()[:, None] + other_II @ there_IB).exp() * there_IB
        over_shares_IBC = log_IBC - self.log_share_C
        return self.log_share_C + torch.einsum("ib,ibc->bc", weight_IB, over_shares_IBC)


def _mean_of_heads(logits_HBC: Tensor) -> Tensor:
    """Logarithms of the mean of the heads' probabilities, shape (B, C)."""
    log_HBC = logits_HBC.log_softmax(dim=-1)
    return log_HBC[0] if len(log_HBC) == 1 else log_HBC.logsumexp(dim=0) - math.log(len(log_HBC))


def present(name: str, x_BF: Tensor) -> Tensor:
    """Whether each row has an input, shape (B,): a token, or a number as its first value.

    >>> present(TABLE, torch.tensor([[0.5, 1.0], [torch.nan, torch.nan]])).tolist()
    [True, False]
    """
    return (x_BF > 0).any(dim=1) if name == TEXT else ~x_BF[:, 0].isnan()


def _filled(name: str, x_BF: Tensor) -> Tensor:
    """An input with 0 where it is not there; what a network makes of that is masked."""
    return x_BF if name == TEXT else x_BF.nan_to_num(nan=0.0)


def _subsets(inputs: int) -> list[tuple[int, ...]]:
    """The sets of inputs that weights are fitted on.

    >>> _subsets(2), len(_subsets(9))
    ([(0,), (1,), (0, 1)], 19)
    """
    every = range(inputs)
    if 2**inputs - 1 <= MOST_SUBSETS:
        return [one for size in every for one in itertools.combinations(every, size + 1)]
    return [one for size in (1, inputs - 1, inputs) for one in itertools.combinations(every, size)]


def _network(encoder: Encoder, classes: int, size: Size) -> Network:
    """One input's network: periodic embeddings for the table, a perceptron for audio, tokens for text."""
    if isinstance(encoder, TextEncoder):
        return TextNetwork(encoder, classes)
    if not isinstance(encoder, TableEncoder):
        raise TypeError(f"{type(encoder).__name__}: expected an encoder of vectors or text")
    if encoder.inputs == (TABLE,):
        return PeriodicMLP(encoder, classes, size)
    return LayeredNetwork(encoder, classes, perceptron(encoder, AUDIO_WIDTHS, classes, AUDIO_DROPOUT))
