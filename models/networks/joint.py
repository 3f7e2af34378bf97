"""A network on texts together with numbers and audio, which is a part of `fusion`.

It is trained on the evidence of a track's texts without the artist of the track: from the names of train
tracks, a network learns artists and not genres.

Shape suffixes: B batch, T texts, H heads, I inputs of a layer, C classes.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from genremill.models.encoders.base import Inputs
from genremill.models.encoders.table import TableEncoder
from genremill.models.features import EVIDENCE, TABLE, Scaling
from genremill.models.networks.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Size

INPUTS_DROPPED = 0.3
"""Share of the inputs dropped in training if there are more than two, because tracks may lack any of them."""


class Joint(PeriodicMLP):
    """`periodic_mlp` with further inputs: vectors of audio, and the evidence of texts.

    The evidence is an input like the numbers, and is also added to the logits. An input that a track lacks is
    0 everywhere.
    """

    def __init__(
        self, vectors: Mapping[str, TableEncoder], texts: Sequence[str], classes: int, size: Size
    ) -> None:
        encoders = {name: copy.deepcopy(encoder) for name, encoder in vectors.items()}
        table = encoders.pop(TABLE, TableEncoder((), Scaling.RANK))
        beside = sum(encoder.encoded_count for encoder in encoders.values())
        super().__init__(table, classes, size, beside + len(vectors) + classes * len(texts))
        if TABLE not in vectors:  # a parameter without a gradient stops the training of several ranks
            self.embedding.requires_grad_(False)
        self.encoders = nn.ModuleDict(encoders)
        self.names, self.texts = tuple(vectors), tuple(texts)
        self.trust_T = nn.Parameter(torch.ones(len(texts)))

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of each member, shape (H, B, C)."""
        if self.training and len(self.names) + len(self.texts) > 2:
            inputs = self._thinned(inputs)
        evidence_TBC = torch.stack([inputs[EVIDENCE + text] for text in self.texts])
        logits_HBC: Tensor = super().forward(inputs)
        return logits_HBC + torch.einsum("t,tbc->bc", self.trust_T, evidence_TBC)

    def encoded(self, inputs: Inputs) -> Tensor:
        """Inputs of the first hidden layer, shape (B, I)."""
        has = {name: ~inputs[name].isnan().all(dim=1, keepdim=True) for name in self.names}
        parts = [super().encoded(inputs) * has[TABLE]] if TABLE in self.names else []
        parts += [encoder(inputs) * has[name] for name, encoder in self.encoders.items()]
        return torch.cat([*parts, *has.values(), *(inputs[EVIDENCE + text] for text in self.texts)], dim=1)

    def _thinned(self, inputs: Inputs) -> Inputs:
        """The inputs, some of which rows lack at random."""
        dropped = {}
        for name in (*self.names, *(EVIDENCE + text for text in self.texts)):
            kept_B1 = torch.rand(len(inputs[name]), 1, device=inputs[name].device) >= INPUTS_DROPPED
            dropped[name] = torch.where(kept_B1, inputs[name], torch.nan if name in self.names else 0.0)
        return inputs | dropped
