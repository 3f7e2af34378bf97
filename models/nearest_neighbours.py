"""The model `knn`: a row's nearest train rows vote for its class; they lie in the artifact.

Shape suffixes: B batch, R train rows, E encoded inputs, K neighbours, C classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from genremill.infra.errors import UsageError
from genremill.models.encoder import Inputs
from genremill.models.networks import Network
from genremill.models.recipe import Size
from genremill.models.table_encoder import TableEncoder

MOST_VALUES = 64_000_000
"""Values of the train rows at most: they are kept in memory wherever tracks are scored, 256 MB."""
BLOCK_VALUES = 1 << 24
"""Distances at once: 64 MB."""
NEIGHBOURS = 100
CATEGORY = 0.3
"""What an indicator counts, where a number has the deviation 1: 0.3 is what did best on the Spotify table."""
LEAST_SQUARE = 1e-6
"""Added to a squared distance, which a row that is among the train rows has none of."""
PRIOR = 0.1
"""What all classes together count in a vote, where the nearest row counts 1."""


class NearestNeighbours(Network):
    """The exact nearest neighbours by Euclidean distance of encoded inputs; each counts by its nearness.

    The nearest counts 1, the others the fourth power of how many times as near it is. On a fifth of the
    Spotify table's artists that has .218 top-1 where equal votes have .204, and 100 neighbours .218 where 50
    have .212; indicators that count as much as numbers cost 2 points.
    """

    learns_by_heart = True

    def __init__(self, encoder: TableEncoder, classes: int, size: Size) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        if size.rows * encoder.encoded_count > MOST_VALUES:
            raise UsageError(
                f"knn keeps its {size.rows:,} train rows of {encoder.encoded_count:,} values; expected "
                f"{MOST_VALUES:,} values at most: --per-class N takes fewer rows"
            )
        self.register_buffer("row_RE", torch.zeros(size.rows, encoder.encoded_count))
        self.register_buffer("label_R", torch.zeros(size.rows, dtype=torch.long))
        self.row_RE: Tensor
        self.label_R: Tensor

    @torch.inference_mode()
    def remember(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Keeps all train rows, in the order given."""
        at = 0
        for inputs, label_B in batches:
            end = at + len(label_B)
            self.row_RE[at:end] = self._place(inputs)
            self.label_R[at:end] = label_B
            at = end

    def forward(self, inputs: Inputs) -> Tensor:
        """Logarithms of the classes' shares of the vote, shape (1, B, C)."""
        x_BE = self._place(inputs)
        widest = max(len(self.row_RE), NEIGHBOURS * self.encoder.encoded_count)
        block = max(BLOCK_VALUES // widest, 1)
        return torch.cat([self._share(part).log() for part in torch.split(x_BE, block)])[None]

    def _place(self, inputs: Inputs) -> Tensor:
        """Encoded inputs, indicators made smaller, shape (B, E)."""
        x_BE: Tensor = self.encoder(inputs)
        numbers = self.encoder.numeric_count
        return torch.cat([x_BE[:, :numbers], CATEGORY * x_BE[:, numbers:]], dim=1)

    def _share(self, x_BE: Tensor) -> Tensor:
        """The classes' shares of the vote, shape (B, C)."""
        found = min(NEIGHBOURS, len(self.row_RE))
        square_BR = self.row_RE.square().sum(dim=1) - 2 * x_BE @ self.row_RE.T
        near_BK = square_BR.topk(found, dim=1, largest=False).indices
        # Again by differences: the expanded square loses all digits of a near row's distance.
        square_BK = (self.row_RE[near_BK] - x_BE[:, None]).square().sum(dim=2) + LEAST_SQUARE
        weight_BK = (square_BK.amin(dim=1, keepdim=True) / square_BK).square()
        vote_BC = torch.full((len(x_BE), self.classes), PRIOR / self.classes)
        vote_BC = vote_BC.to(x_BE).scatter_add(1, self.label_R[near_BK], weight_BK)
        return vote_BC / vote_BC.sum(dim=1, keepdim=True)
