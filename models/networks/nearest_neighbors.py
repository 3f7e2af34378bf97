"""The model `knn`: a row's nearest train rows vote for its class; they lie in the artifact.

Shape suffixes: B batch, R train rows, N numeric features, M views of them (2 N), D discriminants (as many),
O indicators, P values that a row is kept as (D + O), K neighbors, C classes.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh
from torch import Tensor

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Inputs, joined
from genremill.models.encoders.table import TableEncoder
from genremill.models.networks.base import Network
from genremill.models.recipe import Size

MOST_VALUES = 64_000_000
"""Limit on the values of the train rows, which each scoring process keeps in memory: 256 MB."""
BLOCK_VALUES = 1 << 24
"""Distances at once: 64 MB."""
NEIGHBORS = 100
CATEGORY = 0.3
"""Scale of an indicator; the average standard deviation of numbers is 1."""
EXPONENT = 0.25
"""A discriminant counts as this power of what it separates: the variance between classes over that within."""
LEAST_SEPARATED = 1e-3
"""Added to it, relative to the greatest: two classes have one discriminant, and rows differ in more."""
RIDGE = 1e-3
"""Added to the variances within classes, where those of all rows are 1."""
LEAST_SQUARE = 1e-6
"""Added to a squared distance, which a row that is among the train rows has none of."""
PRIOR = 0.1
"""Weight of a uniform vote for all classes together; the nearest row has weight 1."""


class NearestNeighbors(Network):
    """The exact nearest neighbors, weighted by their nearness.

    Near is by Euclidean distance between discriminants of the numbers (Fisher's), and indicators of codes.
    The nearest row counts 1, the others the fourth power of how many times as near they are. On validation
    artists of the Spotify table that has .209 top-1; numbers as they are, .195; equal votes cost 1.4 points,
    indicators that count as much as numbers 2.
    """

    uses_all_rows = True

    def __init__(self, encoder: TableEncoder, classes: int, size: Size) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        views, indicators = 2 * encoder.numeric_count, encoder.encoded_count - encoder.numeric_count
        kept = views + indicators
        if size.rows * kept > MOST_VALUES:
            raise UsageError(
                f"knn keeps its {size.rows:,} train rows of {kept:,} values; expected "
                f"{MOST_VALUES:,} values at most: --per-class N takes fewer rows"
            )
        self.register_buffer("mean_M", torch.zeros(views))
        self.register_buffer("map_MD", torch.eye(views))
        self.register_buffer("row_RP", torch.zeros(size.rows, kept))
        self.register_buffer("label_R", torch.zeros(size.rows, dtype=torch.long))
        self.mean_M: Tensor
        self.map_MD: Tensor
        self.row_RP: Tensor
        self.label_R: Tensor

    @torch.inference_mode()
    def fit_train(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Stores all train rows, in the given order, and fits the discriminants on them."""
        views, indicators, labels = [], [], []
        for inputs, label_B in batches:
            views.append(self._views(inputs))
            indicators.append(self._indicators(inputs))
            labels.append(label_B)
        view_RM, label_R = torch.cat(views), torch.cat(labels)
        mean_M, map_MD = discriminants(view_RM.double().cpu().numpy(), label_R.cpu().numpy())
        self.mean_M.copy_(torch.from_numpy(mean_M))
        self.map_MD.copy_(torch.from_numpy(map_MD))
        self.row_RP.copy_(torch.cat([self._discriminants(view_RM), torch.cat(indicators)], dim=1))
        self.label_R.copy_(label_R)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logarithms of the classes' shares of the vote, shape (1, B, C)."""
        x_BP = torch.cat([self._discriminants(self._views(inputs)), self._indicators(inputs)], dim=1)
        widest = max(len(self.row_RP), NEIGHBORS * self.row_RP.shape[1])
        block = max(BLOCK_VALUES // widest, 1)
        return torch.cat([self._share(part).log() for part in torch.split(x_BP, block)])[None]

    def _views(self, inputs: Inputs) -> Tensor:
        """Each number twice, shape (B, M): as a rank, which limits extreme values, and unchanged."""
        x_BF = joined(inputs, self.encoder.inputs)
        return torch.cat([self.encoder.numeric(x_BF), x_BF[:, self.encoder.numeric_N]], dim=1)

    def _discriminants(self, view_BM: Tensor) -> Tensor:
        return (view_BM - self.mean_M) @ self.map_MD

    def _indicators(self, inputs: Inputs) -> Tensor:
        return CATEGORY * self.encoder.one_hot(joined(inputs, self.encoder.inputs))

    def _share(self, x_BP: Tensor) -> Tensor:
        """The classes' shares of the vote, shape (B, C)."""
        found = min(NEIGHBORS, len(self.row_RP))
        square_BR = self.row_RP.square().sum(dim=1) - 2 * x_BP @ self.row_RP.T
        near_BK = square_BR.topk(found, dim=1, largest=False).indices
        # Computed again from differences: the expanded square is not precise enough for near rows.
        square_BK = (self.row_RP[near_BK] - x_BP[:, None]).square().sum(dim=2) + LEAST_SQUARE
        weight_BK = (square_BK.amin(dim=1, keepdim=True) / square_BK).square()
        vote_BC = torch.full((len(x_BP), self.classes), PRIOR / self.classes)
        vote_BC = vote_BC.to(x_BP).scatter_add(1, self.label_R[near_BK], weight_BK)
        return vote_BC / vote_BC.sum(dim=1, keepdim=True)


def discriminants(
    view_RM: npt.NDArray[np.float64], label_R: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The rows' mean and the map from what differs from it to discriminants, shapes (M,) and (M, D).

    Variances of the discriminants of all rows sum to M / 2: 1 for each number.
    """
    mean_M, deviation_M = view_RM.mean(axis=0), view_RM.std(axis=0)
    varies_M = deviation_M > 1e-12 * np.abs(mean_M)  # equal values leave a rounding error of their mean
    scale_M = np.where(varies_M, deviation_M, 1.0)
    z_RM = (view_RM - mean_M) / scale_M
    count_C = np.bincount(label_R)
    sum_CM = np.zeros((len(count_C), len(mean_M)))
    np.add.at(sum_CM, label_R, z_RM)
    mean_CM = sum_CM / np.maximum(count_C, 1)[:, None]
    total_MM = z_RM.T @ z_RM / len(z_RM)
    between_MM = (mean_CM.T * count_C) @ mean_CM / len(z_RM)
    within_MM = total_MM - between_MM + RIDGE * np.eye(len(mean_M))
    there_CM = mean_CM[count_C > 0] - mean_CM[count_C > 0].mean(axis=0)
    separated_D, map_MD = eigh(there_CM.T @ there_CM / len(there_CM), within_MM)
    most = max(separated_D[-1], np.finfo(float).tiny)
    map_MD = map_MD * (np.maximum(separated_D / most, 0) + LEAST_SEPARATED) ** EXPONENT
    variance = float(np.sum((total_MM @ map_MD) * map_MD))
    return mean_M, map_MD * math.sqrt(len(mean_M) / 2 / variance) / scale_M[:, None]
