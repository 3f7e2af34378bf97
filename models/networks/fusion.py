"""The model `fusion`: one network or more per input, and one on all of them, combined by weights.

An input is the table, the names, a column of text or of tags, or a set of audio features. A track may lack
any of them. Each network is trained separately. It is more usual to train on the sum of their predictions,
but worse here: names identify the artist of a train track, so the sum relies too much on names and is less
accurate on held-out artists (top-1 on the Spotify table: .327 instead of .354). Therefore the weights of the
networks are fitted on held-out tracks.

The network on all inputs is `Joint`. On the Spotify table it adds two points of top-1 accuracy. The
language of the names and static vectors of their words brought less than .002 as further inputs.

Shape suffixes: B batch, F values of an input, I networks, H heads, C classes.
"""

import itertools
import math
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genremill.models.encoders.base import Encoder, Encoders, Inputs
from genremill.models.encoders.table import TableEncoder
from genremill.models.encoders.text import TextEncoder
from genremill.models.features import EVIDENCE, FOLDS, TABLE, TEXT, WEIGHT, text_kind
from genremill.models.networks.base import Batches, Network, perceptron
from genremill.models.networks.joint import Joint
from genremill.models.networks.periodic_mlp import PeriodicMLP
from genremill.models.networks.text import TokenCounts, TokenEmbedding
from genremill.models.recipe import Size

JOINT = "joint"
"""Name of the network on all inputs."""
AUDIO_WIDTHS, AUDIO_DROPOUT = (256, 256), 0.3
"""Hidden layers over statistics and embeddings of audio."""
DOUBT = -0.35
"""Initial effect of each further input on the logarithm of another input's weight."""
PRIOR_WEIGHT = 2.0
"""Weight of the initial values, as a number of held-out artists."""
HELD_OUT_ROWS = 20_000
MOST_SUBSETS = 31
"""All subsets of up to five inputs; with more inputs each alone, all but one, and all."""


class Fusion(Network):
    """A weighted product of the predictions of networks, relative to the class shares.

    The weight of a network is the exponential of a sum over its row in `belief_II`: its own entry, and those
    of the networks whose inputs the track has. In training, the logits of all networks are concatenated.
    """

    uses_all_rows = True

    def __init__(self, encoder: Encoders, classes: int, size: Size) -> None:
        super().__init__()
        self.networks = nn.ModuleDict()
        self.needs: dict[str, tuple[tuple[str, ...], ...]] = {}
        """The inputs of each network, by its name: it needs at least one of each group."""
        self.inputs = tuple(encoder.by_name)
        vectors = {name: part for name, part in encoder.by_name.items() if isinstance(part, TableEncoder)}
        texts = tuple(name for name in self.inputs if name not in vectors)
        has_joint = size.joint and bool(vectors and texts)
        for name, part in encoder.by_name.items():
            made = _networks(name, part, classes, size, FOLDS if has_joint else 1)
            self.networks.update(made)
            self.needs |= dict.fromkeys(made, ((name,),))
        if has_joint:
            self.networks[JOINT] = Joint(vectors, texts, classes, size)
            self.needs[JOINT] = (tuple(vectors), texts)
        self.belief_II = nn.Buffer(torch.full((len(self.networks),) * 2, DOUBT).fill_diagonal_(0))
        self.log_share_C = nn.Buffer(torch.full((classes,), -math.log(classes)))

    @property
    def _networks(self) -> dict[str, Network]:
        return {name: net for name, net in self.networks.items() if isinstance(net, Network)}

    @property
    def _learning(self) -> dict[str, Network]:
        """The networks that are trained by gradient steps."""
        return {name: net for name, net in self._networks.items() if net.is_trainable}

    def start(self) -> None:
        """Sets initial weights that depend on the fitted encoders."""
        for network in self._networks.values():
            network.start()

    def fit_train(self, batches: Batches) -> None:
        """Stores the class shares of the train rows; held-out rows come from fewer artists."""
        rows_C = torch.ones_like(self.log_share_C)
        counts = [network for network in self._networks.values() if isinstance(network, TokenCounts)]
        for inputs, label_B in batches:  # the rows are read once
            rows_C.add_(torch.bincount(label_B, minlength=len(rows_C)))
            for of_input in counts:
                of_input.count(inputs, label_B)
        for of_input in counts:
            of_input.finish()
        self.log_share_C.copy_((rows_C / rows_C.sum()).log())

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the combined prediction, shape (1, B, C); in training, those of all heads."""
        if self.training:
            inputs = self._with_evidence(inputs) if JOINT in self.networks else inputs
            outputs = (self._output(name, inputs) for name in self._learning)
            return torch.cat([logits_HBC * has_B[:, None] for logits_HBC, has_B in outputs])
        return self._joined(self.belief_II, *self._log_probabilities(inputs)).unsqueeze(0)

    def predictive_logits(self, logits_HBC: Tensor) -> Tensor:
        """The combined prediction of the trained networks; a missing input counts as a uniform prediction."""
        log_IBC = torch.stack([_mean_of_heads(part_HBC) for part_HBC in self._parts(logits_HBC)])
        has_IB = torch.ones(log_IBC.shape[:2], dtype=torch.bool, device=log_IBC.device)
        learning = [index for index, name in enumerate(self.networks) if name in self._learning]
        return self._joined(self.belief_II[learning][:, learning], log_IBC, has_IB)[None]

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Sum of the networks' mean cross-entropies.

        The logits of a network are 0 for rows without its input, so these rows do not change its weights.
        """
        parts = zip(self._learning.values(), self._parts(logits_HBC), strict=True)
        return torch.stack([part.loss(own_HBC, label_B, label_smoothing) for part, own_HBC in parts]).sum()

    def _parts(self, logits_HBC: Tensor) -> tuple[Tensor, ...]:
        """The concatenated logits, split by network."""
        return torch.split(logits_HBC, [network.heads for network in self._learning.values()])

    @torch.inference_mode()
    def alone(self, inputs: Inputs) -> dict[str, Tensor]:
        """The prediction of each input alone: probabilities by input, each of shape (B, C)."""
        log_IBC, has_IB = self._log_probabilities(inputs)
        by_input = {}
        for name in self.inputs:
            own_I = torch.tensor([need == ((name,),) for need in self.needs.values()], device=has_IB.device)
            by_input[name] = self._joined(self.belief_II, log_IBC, has_IB & own_I[:, None]).softmax(dim=-1)
        return by_input

    def fit_held_out(self, batches: Batches) -> None:
        """Fits the weights on held-out rows.

        They minimize the mean loss over subsets of the inputs, each on the rows that have these inputs. Rows
        are weighted by `WEIGHT` if present; otherwise artists with many tracks dominate.
        """
        collected: list[tuple[Tensor, ...]] = []
        partial = self._partial_subsets()
        rows = 0
        with torch.no_grad():
            for inputs, label_B in batches:
                inputs = self._with_evidence(inputs)
                log_IBC, has_IB = self._log_probabilities(inputs)
                joint_SBC = [self._of_joint(inputs, subset) for subset in partial]
                weight_B = inputs[WEIGHT][:, 0] if WEIGHT in inputs else torch.ones_like(log_IBC[0, :, 0])
                stacked = torch.stack(joint_SBC) if joint_SBC else log_IBC[:0]
                collected.append((log_IBC, stacked, has_IB, label_B, weight_B))
                rows += len(label_B)
                if rows >= HELD_OUT_ROWS:
                    break
        logs, joints, *others = zip(*collected, strict=True)
        joint_of = dict(zip(partial, torch.cat(joints, dim=1), strict=True))
        has_IB, label_B, weight_B = (torch.cat(other, dim=-1) for other in others)
        self.belief_II.copy_(self._fitted(torch.cat(logs, dim=1), joint_of, has_IB, label_B, weight_B))

    def _fitted(
        self,
        log_IBC: Tensor,
        joint_of: dict[tuple[str, ...], Tensor],
        has_IB: Tensor,
        label_B: Tensor,
        count_B: Tensor,
    ) -> Tensor:
        """Fits the weights on the predictions of all networks.

        `joint_of` has the predictions of `JOINT`, shape (B, C), from each subset of the inputs.
        """
        start_II = DOUBT * (1 - torch.eye(len(self.networks), device=label_B.device))
        belief_II = start_II.clone().requires_grad_()
        place = {name: index for index, name in enumerate(self.networks)}
        cases = []
        for subset in _subsets(self.inputs):
            fed_I1 = torch.tensor([_is_fed(need, subset) for need in self.needs.values()])[:, None]
            row_R = has_IB[[place[name] for name in subset]].all(dim=0).nonzero()[:, 0]
            if len(row_R):
                cases.append((fed_I1.to(label_B.device), row_R, joint_of.get(subset)))
        optimizer = torch.optim.LBFGS([belief_II], max_iter=40, line_search_fn="strong_wolfe")

        def loss() -> float:
            optimizer.zero_grad()
            far = (belief_II - start_II).square().sum() * (PRIOR_WEIGHT / count_B.sum())
            torch.autograd.backward(far)
            total = far.detach()
            for fed_I1, row_R, joint_BC in cases:
                log_IRC = log_IBC[:, row_R]
                if joint_BC is not None:
                    log_IRC[place[JOINT]] = joint_BC[row_R]
                joined_RC = self._joined(belief_II, log_IRC, fed_I1.expand(-1, len(row_R)))
                loss_R = cross_entropy(joined_RC, label_B[row_R], reduction="none")
                part = loss_R @ count_B[row_R] / count_B[row_R].sum() / len(cases)
                torch.autograd.backward(part)  # one case at a time, because each takes much memory
                total = total + part.detach()
            return float(total)

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        return belief_II.detach()

    def _partial_subsets(self) -> list[tuple[str, ...]]:
        """The subsets of the inputs that `JOINT` can predict from, except all inputs."""
        if JOINT not in self.needs:
            return []
        subsets = _subsets(self.inputs)
        return [each for each in subsets if each != self.inputs and _is_fed(self.needs[JOINT], each)]

    def _of_joint(self, inputs: Inputs, subset: tuple[str, ...]) -> Tensor:
        """Log-probabilities of `JOINT` for rows without the other inputs, shape (B, C)."""
        lacking = {}
        for name in self.inputs:
            if name not in subset:
                used, blank = (EVIDENCE + name, 0.0) if text_kind(name) else (name, torch.nan)
                lacking[used] = torch.full_like(inputs[used], blank)
        return _mean_of_heads(self.networks[JOINT](inputs | lacking))

    def _log_probabilities(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Log-probabilities of each network, shape (I, B, C), and whether rows have its inputs, (I, B)."""
        inputs = self._with_evidence(inputs)
        outputs = (self._output(name, inputs) for name in self.networks)
        logs, has = zip(*((_mean_of_heads(logits_HBC), has_B) for logits_HBC, has_B in outputs), strict=True)
        return torch.stack(logs), torch.stack(has)

    def _output(self, network: str, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Logits of a network, and whether rows have its inputs, (B,)."""
        groups = [
            torch.stack([present(name, inputs[name]) for name in group]).any(dim=0)
            for group in self.needs[network]
        ]
        return self.networks[network](inputs), torch.stack(groups).all(dim=0)

    def _with_evidence(self, inputs: Inputs) -> Inputs:
        """The inputs and the evidence of the texts, which more than one network uses."""
        counts = (network for network in self._networks.values() if isinstance(network, TokenCounts))
        new = (of_input for of_input in counts if EVIDENCE + of_input.name not in inputs)
        return inputs | {EVIDENCE + of_input.name: of_input.evidence(inputs) for of_input in new}

    def _joined(self, belief_II: Tensor, log_IBC: Tensor, has_IB: Tensor) -> Tensor:
        """Combined logits, shape (B, C); for a row without any input, those of the class shares."""
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
    """Whether each row has an input, shape (B,): at least one token or number.

    >>> present(TABLE, torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan]])).tolist()
    [True, False]
    """
    return (x_BF > 0).any(dim=1) if text_kind(name) else ~x_BF.isnan().all(dim=1)


def counts_of(name: str) -> str:
    """The name of the network that counts the tokens of an input. No input has this name."""
    return f"{TEXT}_tally" if name == TEXT else f"{name}+counts"


def _is_fed(need: tuple[tuple[str, ...], ...], inputs: Collection[str]) -> bool:
    """Whether a network can predict from these inputs."""
    return all(any(name in inputs for name in group) for group in need)


def _subsets(inputs: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The subsets of inputs on which weights are fitted.

    >>> _subsets(("a", "b")), len(_subsets(tuple("abcdefghi")))
    ([('a',), ('b',), ('a', 'b')], 19)
    """
    sizes: Iterable[int] = range(1, len(inputs) + 1)
    if 2 ** len(inputs) - 1 > MOST_SUBSETS:
        sizes = (1, len(inputs) - 1, len(inputs))
    return [subset for size in sizes for subset in itertools.combinations(inputs, size)]


def _networks(name: str, encoder: Encoder, classes: int, size: Size, folds: int) -> dict[str, Network]:
    """The networks of one input by name.

    Periodic embeddings for the table, a perceptron for audio; for text, embeddings and counts of tokens.
    """
    if isinstance(encoder, TextEncoder):
        counts = TokenCounts(len(encoder.hash_V), classes, folds, name)
        return {name: TokenEmbedding(encoder, classes), counts_of(name): counts}
    if not isinstance(encoder, TableEncoder):
        raise TypeError(f"{type(encoder).__name__}: expected an encoder of vectors or text")
    if encoder.inputs == (TABLE,):
        return {name: PeriodicMLP(encoder, classes, size)}
    return {name: perceptron(encoder, AUDIO_WIDTHS, classes, AUDIO_DROPOUT)}
