"""The distribution of the training tracks over the numeric features of an input, and distances from it.

Shape suffixes: B batch, F raw features of the input, N numeric features among them.
"""

import sys

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genremill.models.covariance import Doubles, positive
from genremill.models.features import FeatureSpec
from genremill.models.limits import INNER, limits, quantiles

FIT_ROWS = 100_000
BLOCK_VALUES = 1 << 20
"""Limit on the values of the matrices that are solved at once: 8 MB."""
FEWEST = 30
"""Fewest tracks from which a limit is computed."""
LIMIT_FACTOR = 1.5
"""The limit relative to the quantile .985 of the distances. With it, 0.1 to 0.2 % of the held-out tracks of
the Spotify table are beyond the limit."""
FLOOR = 1e-3
"""Lower limit on the argument of a logarithm, relative to the smallest usual value in training."""
RIDGE = 1e-4
"""Added to the variance of each direction, for features that are sums of others up to rounding."""


class TrainingDistribution(nn.Module):
    """Center and covariance of the numeric features of one input, in buffers.

    A positive feature is replaced by its logarithm if that is less skewed: a duration of 200 ms is 0.1
    deviations from the shortest track of a catalog, but 7 on a logarithmic scale. Ranks are not used, because
    they do not show how far a value is beyond the training tracks. Constant features are ignored. A missing
    value is NaN; each statistic is over the tracks that have the values. A value beyond a limit of its
    feature counts as the limit in the statistics, so that a few tracks with any values change them little.
    """

    def __init__(self, features: tuple[FeatureSpec, ...]) -> None:
        super().__init__()
        numeric = [position for position, feature in enumerate(features) if not feature.categorical]
        count = len(numeric)
        self.numeric_N = nn.Buffer(torch.tensor(numeric, dtype=torch.long))
        self.floor_N = nn.Buffer(torch.zeros(count))
        self.centre_N = nn.Buffer(torch.zeros(count))
        self.whitening_NN = nn.Buffer(torch.zeros(count, count))

    @classmethod
    def fit(cls, x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> "TrainingDistribution":
        """Fits a distribution on rows of raw features, shape (rows, features)."""
        # Late imports: they take a second, and scoring does not need them.
        from scipy.linalg import solve_triangular
        from sklearn.covariance import ledoit_wolf

        fitted = cls(features)
        x_BN = x_BF[:FIT_ROWS, fitted.numeric_N.numpy()].astype(np.float64)
        x_BN[:, np.isnan(x_BN).all(axis=0)] = 0  # a constant, so it is ignored
        low_N = quantiles(x_BN, INNER)[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_BN = np.log(np.maximum(x_BN, 0))
        is_log_N = (low_N > 0) & (_skewness(log_BN) < _skewness(x_BN))
        fitted.floor_N[:] = torch.from_numpy(np.where(is_log_N, low_N * FLOOR, 0))
        z_BN = np.where(is_log_N, log_BN, x_BN)
        z_BN = z_BN.clip(*limits(z_BN))
        center_N, deviation_N = np.nanmean(z_BN, axis=0), np.nanstd(z_BN, axis=0)
        scale_N = np.where(deviation_N > 0, deviation_N, 1.0)
        standard_BN = (z_BN - center_N) / scale_N
        attenuated_NN, _ = ledoit_wolf(np.nan_to_num(standard_BN), assume_centered=True)
        covariance_NN = _corrected(attenuated_NN, ~np.isnan(standard_BN))
        factor_NN = np.linalg.cholesky(covariance_NN + RIDGE * np.eye(len(covariance_NN)))
        varies_NN = np.diag(np.where(deviation_N > 0, 1 / scale_N, 0.0))
        whitening_NN = solve_triangular(factor_NN, varies_NN, lower=True).T
        fitted.centre_N[:] = torch.from_numpy(center_N)
        fitted.whitening_NN[:] = torch.from_numpy(whitening_NN)
        return fitted

    @torch.inference_mode()
    def forward(self, x_BF: Tensor) -> Tensor:
        """Mahalanobis distances over the root of N, shape (B,); the training rows' mean square is 1.

        The covariance is shrunk after Ledoit and Wolf (2004). If values are missing, the square is the mean
        over their distribution given the known values. So a row without any value has distance 1.
        """
        x_BN = x_BF[:, self.numeric_N]
        z_BN = torch.where(self.floor_N > 0, torch.maximum(x_BN, self.floor_N).log(), x_BN)
        offset_BN = z_BN - self.centre_N
        missing_BN = offset_BN.isnan()
        if not missing_BN.any():
            return (offset_BN @ self.whitening_NN).square().mean(dim=1).sqrt()
        missing_BN &= self.whitening_NN.any(dim=1)  # a constant is never missing
        white_BN = self._completed(offset_BN.nan_to_num(nan=0.0), missing_BN) @ self.whitening_NN
        return (white_BN.square().mean(dim=1) + missing_BN.float().mean(dim=1)).sqrt()

    def _completed(self, offset_BN: Tensor, missing_BN: Tensor) -> Tensor:
        """Offsets from the center in which each missing one, 0 here, is its mean given the known ones."""
        whitening_NN = self.whitening_NN.double()
        precision_NN = whitening_NN @ whitening_NN.T
        most = int(missing_BN.sum(dim=1).max())
        lost_BL = missing_BN.byte().topk(most, dim=1).indices
        rows = BLOCK_VALUES // max(most, 1) ** 2 + 1
        parts = (torch.split(part, rows) for part in (offset_BN, missing_BN, lost_BL))
        completed = []
        for offset_RN, missing_RN, lost_RL in zip(*parts, strict=True):
            is_lost_RL = missing_RN.gather(1, lost_RL)  # not for all L, if the row has fewer missing values
            are_lost_RLL = is_lost_RL[:, :, None] & is_lost_RL[:, None, :]
            of_lost_RLL = precision_NN[lost_RL[:, :, None], lost_RL[:, None, :]]
            of_lost_RLL = torch.where(are_lost_RLL, of_lost_RLL, torch.eye(most, dtype=of_lost_RLL.dtype))
            pull_RL = (offset_RN.double() @ precision_NN).gather(1, lost_RL) * is_lost_RL
            mean_RL = -torch.linalg.solve(of_lost_RLL, pull_RL)
            completed.append(offset_RN.scatter_add(1, lost_RL, mean_RL.to(offset_RN.dtype)))
        return torch.cat(completed)


def fit_distributions(x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> nn.ModuleDict:
    """Fits a distribution for each input with numeric features, on rows of all features in order.

    Rows without an input have NaN in its features.
    """
    distributions = nn.ModuleDict()
    for name in dict.fromkeys(feature.input for feature in features if not feature.categorical):
        own = [position for position, feature in enumerate(features) if feature.input == name]
        own_BF = x_BF[:, own]
        has_B = ~np.isnan(own_BF).all(axis=1)
        distributions[name] = TrainingDistribution.fit(
            own_BF[has_B], tuple(features[position] for position in own)
        )
    return distributions


def limit_of(distance_T: npt.NDArray[np.float32]) -> float:
    """The distance that about 999 of 1,000 tracks like these do not exceed.

    It changes little if 1 % of the tracks have any distance. With fewer than `FEWEST` tracks, no track is an
    outlier. Tracks without the input have distance 0 and do not count.

    >>> limit_of(np.exp(np.random.default_rng(0).normal(0, 0.4, 100_000)).astype(np.float32))
    3.575
    """
    distance_T = distance_T[distance_T > 0]
    if len(distance_T) < FEWEST:
        return sys.float_info.max
    usual = float(np.quantile(distance_T.astype(np.float64), INNER[1]))
    return float(f"{min(LIMIT_FACTOR * usual, sys.float_info.max):.4g}")


def _skewness(x_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far the median of each column is from the middle of its quantiles, 0 to 1; 0 for a constant."""
    low_N, median_N, high_N = quantiles(x_BN, (INNER[0], 0.5, INNER[1]))
    spread_N = np.where(high_N > low_N, high_N - low_N, 1.0)
    return np.asarray(np.abs(low_N + high_N - 2 * median_N) / spread_N)


def _corrected(attenuated_NN: Doubles, known_BN: npt.NDArray[np.bool_]) -> Doubles:
    """The covariance over the rows that have both values, from one in which missing offsets are 0."""
    if known_BN.all():
        return attenuated_NN
    known_BN = known_BN.astype(np.float64)
    share_NN = known_BN.T @ known_BN / len(known_BN)
    return positive(attenuated_NN / np.where(share_NN > 0, share_NN, 1.0))
