"""The encoder of vectors: scaling and one-hot encoding, fitted on train rows.

Shape suffixes: B batch, F raw features, N numeric features, G grid points, C categories over all
categorical features, M features with missing values in train rows, E encoded inputs (N + C + M).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Encoder, Inputs, Samples, joined, joined_rows
from genremill.models.features import FeatureSpec, Scaling
from genremill.models.limits import limits

GRID_POINTS = 1001
"""Number of quantiles stored for a rank transform."""
LONGEST = 1.3
"""Root of the mean square of the numbers of the longest standardized row, if there are many. With N numbers
it is 1/N more, because the lengths of rows with few numbers differ more. One row in 20 to 30 of normal values
is longer."""


class TableEncoder(Encoder):
    """Scales numbers and one-hot encodes categories. Several vectors are concatenated in order.

    A number beyond a limit of its feature counts as the limit, also when scales are fitted. With limits, a
    standardized row much longer than others is shortened (see `LONGEST`), so that a few rows at the limits of
    many features cannot turn a linear model.

    A missing value is NaN. A missing number is replaced by the median of the train rows, and a missing
    category has no indicator. A feature that train rows lack also gets an indicator of missing values. If
    there is no such feature, the medians are not stored, and the center of the scale replaces a number.
    """

    def __init__(self, features: tuple[FeatureSpec, ...], scaling: Scaling, categories: int = 0) -> None:
        super().__init__()
        self.features, self.scaling = features, scaling
        numeric = [index for index, feature in enumerate(features) if not feature.categorical]
        self.numeric_count = len(numeric)
        missing = [index for index, feature in enumerate(features) if feature.has_missing]
        self.encoded_count = len(numeric) + categories + len(missing)
        self.numeric_N = nn.Buffer(torch.tensor(numeric, dtype=torch.long))
        bounds = [features[index].limits or (-torch.inf, torch.inf) for index in numeric]
        self.limits_N2 = nn.Buffer(torch.tensor(bounds).reshape(-1, 2), persistent=False)
        has_limits = any(feature.limits for feature in features)
        is_shortened = has_limits and scaling is Scaling.STANDARD
        self.longest = LONGEST + 1 / len(numeric) if is_shortened else None
        self.grid_NG = nn.Buffer(torch.zeros(len(numeric), GRID_POINTS if scaling is Scaling.RANK else 2))
        self.category_feature_C = nn.Buffer(torch.zeros(categories, dtype=torch.long))
        self.category_value_C = nn.Buffer(torch.zeros(categories))
        self.missing_M = nn.Buffer(torch.tensor(missing, dtype=torch.long), persistent=False)
        self.median_N = nn.Buffer(torch.zeros(len(numeric))) if missing else None

    @classmethod
    def fit(
        cls, x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...], scaling: Scaling
    ) -> "TableEncoder":
        """An encoder fitted on rows of raw features, shape (rows, features)."""
        encoder = cls(features, scaling, len(codes_in(x_BF, features)))
        encoder._fit(x_BF)
        return encoder

    def learn(self, samples: Samples) -> None:
        """Fits scales and categories on raw train rows; a row of NaN lacks the features."""
        x_BF = joined_rows(samples, self.inputs)
        has_B: npt.NDArray[np.bool_] = np.any(~np.isnan(x_BF), axis=1)
        if not has_B.any():
            raise UsageError(
                f"--inputs: none of {len(has_B):,} train tracks has {' and '.join(self.inputs)}: leave it out"
            )
        self._fit(x_BF[has_B])

    def _fit(self, x_BF: npt.NDArray[np.float32]) -> None:
        codes = codes_in(x_BF, self.features)
        self.category_feature_C[:] = torch.tensor([index for index, _ in codes], dtype=torch.long)
        self.category_value_C[:] = torch.tensor([value for _, value in codes])
        x_BN = self.limited(torch.from_numpy(x_BF)).numpy()
        self.grid_NG[:] = torch.from_numpy(_grid(x_BN, self.scaling))
        if self.median_N is not None:
            self.median_N[:] = torch.from_numpy(_of_known(x_BN, np.median))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that the features come from, in order."""
        return tuple(dict.fromkeys(feature.input for feature in self.features))

    @property
    def numeric_features(self) -> list[FeatureSpec]:
        """The features that are numbers, in order."""
        return [feature for feature in self.features if not feature.categorical]

    @property
    def encoded_names(self) -> list[str]:
        """Names of the encoded inputs, such as `tempo`, `key=7` and `tempo is missing`."""
        numeric = [feature.name for feature in self.numeric_features]
        pairs = zip(self.category_feature_C.tolist(), self.category_value_C.tolist(), strict=True)
        codes = [f"{self.features[index].name}={value:g}" for index, value in pairs]
        missing = [f"{feature.name} is missing" for feature in self.features if feature.has_missing]
        return numeric + codes + missing

    def numeric(self, x_BF: Tensor) -> Tensor:
        """Scaled numeric features, shape (B, N)."""
        x_BN = self.filled(x_BF)
        if self.scaling is Scaling.RANK:
            return _ranks(x_BN, self.grid_NG)
        low_N, high_N = self.grid_NG.unbind(1)
        scaled_BN = (x_BN - low_N) / torch.where(high_N > low_N, high_N - low_N, 1.0)
        if self.longest is None:
            return scaled_BN
        length_B1 = scaled_BN.square().mean(dim=1, keepdim=True).sqrt()
        return scaled_BN * (self.longest / length_B1.clamp_min(self.longest))

    def filled(self, x_BF: Tensor) -> Tensor:
        """Numeric features with replaced missing values, shape (B, N)."""
        x_BN = self.limited(x_BF)
        return torch.where(x_BN.isnan(), self._center_N, x_BN)

    def limited(self, x_BF: Tensor) -> Tensor:
        """Numeric features within their limits, shape (B, N); NaN if missing."""
        return x_BF[:, self.numeric_N].clamp(*self.limits_N2.unbind(1))

    @property
    def _center_N(self) -> Tensor:
        if self.median_N is not None:
            return self.median_N
        if self.scaling is Scaling.MINMAX:
            return self.grid_NG.mean(dim=1)
        return self.grid_NG[:, GRID_POINTS // 2 if self.scaling is Scaling.RANK else 0]

    def indicators(self, x_BF: Tensor) -> Tensor:
        """Indicators of the categories seen in training, then of missing values, shape (B, C + M).

        All indicators of a category are 0 if its code is new or missing.
        """
        categories_BC = torch.eq(x_BF[:, self.category_feature_C], self.category_value_C)
        return torch.cat([categories_BC, x_BF[:, self.missing_M].isnan()], dim=1).to(x_BF.dtype)

    def forward(self, inputs: Inputs) -> Tensor:
        """Encoded inputs, shape (B, E): scaled numeric features, then indicators."""
        x_BF = joined(inputs, self.inputs)
        return torch.cat([self.numeric(x_BF), self.indicators(x_BF)], dim=1)


def codes_in(x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> list[tuple[int, float]]:
    """The distinct codes of categorical features, as (index of the feature, code), in order, without NaN."""
    return [
        (index, float(value))
        for index, feature in enumerate(features)
        if feature.categorical
        for value in np.unique(x_BF[:, index])
        if not np.isnan(value)
    ]


def with_missing_marked(
    x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]
) -> tuple[FeatureSpec, ...]:
    """The features; `has_missing` is true for those without a value in a train row that has their input."""
    missing_BF = np.isnan(x_BF)
    has_missing_F = np.zeros(len(features), np.bool_)
    for name in {feature.input for feature in features}:
        own_F = np.array([feature.input == name for feature in features])
        own_BF = missing_BF[:, own_F]
        has_missing_F[own_F] = own_BF[~own_BF.all(axis=1)].any(axis=0)
    marked = zip(features, has_missing_F.tolist(), strict=True)
    return tuple(replace(feature, has_missing=has_missing) for feature, has_missing in marked)


def with_limits(x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> tuple[FeatureSpec, ...]:
    """The features; those that are numbers get the limits of their values in the rows."""
    return tuple(
        feature if feature.categorical else replace(feature, limits=(low, high))
        for feature, (low, high) in zip(features, limits(x_BF).T.tolist(), strict=True)
    )


def _of_known(
    x_BN: npt.NDArray[np.float32], statistic: Callable[[npt.NDArray[np.float32]], Any]
) -> npt.NDArray[np.float32]:
    """A statistic of the known values of each column; 0 if none is known."""
    known = (x_B[~np.isnan(x_B)] for x_B in x_BN.T)
    none = np.zeros(1, np.float32)
    return np.stack([statistic(x_B if len(x_B) else none) for x_B in known]).astype(np.float32)


def _grid(x_BN: npt.NDArray[np.float32], scaling: Scaling) -> npt.NDArray[np.float32]:
    """The scale of each column of numbers, shape (N, G)."""
    if np.isnan(x_BN).any():
        return _of_known(x_BN, lambda x_B: _grid(x_B[:, None], scaling)[0])
    if scaling is Scaling.RANK:
        grid_GN = np.quantile(x_BN, np.linspace(0, 1, GRID_POINTS), axis=0)
    elif scaling is Scaling.MINMAX:
        grid_GN = np.stack([x_BN.min(axis=0), x_BN.max(axis=0)])
    else:
        mean_N = x_BN.mean(axis=0, dtype=np.float64)
        grid_GN = np.stack([mean_N, mean_N + x_BN.std(axis=0, dtype=np.float64)])
    return grid_GN.T.astype(np.float32)


def _ranks(x_BN: Tensor, grid_NG: Tensor) -> Tensor:
    """Ranks by linear interpolation between quantiles. A value repeated in the grid gets its middle rank.

    >>> grid = torch.tensor([[0.0, 1.0, 1.0, 1.0, 3.0]])
    >>> _ranks(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), grid).flatten().tolist()
    [0.0, 0.5, 0.875, 1.0]
    """
    x_NB = x_BN.T.contiguous()
    last = grid_NG.shape[1] - 1
    below_NB = (torch.searchsorted(grid_NG, x_NB, right=True) - 1).clamp(0, last)
    above_NB = torch.searchsorted(grid_NG, x_NB).clamp(0, last)
    low_NB = grid_NG.gather(1, below_NB)
    gap_NB = grid_NG.gather(1, above_NB) - low_NB
    # A value repeated in the grid has above <= below and no gap: the midpoint is its middle rank.
    part_NB = torch.where(gap_NB > 0, (x_NB - low_NB) / gap_NB, 0.5)
    return ((below_NB + part_NB * (above_NB - below_NB)) / last).T
