"""Where the training tracks lie in the space of an input's numbers, and how far from them a track is.

Shape suffixes: B batch, F raw features of the input, N numeric features among them.
"""

import math
import sys

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genremill.models.features import FeatureSpec

FIT_ROWS = 100_000
FEWEST = 30
"""Tracks that a limit is taken from at least."""
LIMIT_SHARE = 0.999
"""Of tracks like those in training that are no outliers."""
LIMIT_DEVIATIONS = 3.09
"""The same share of a normal distribution lies below its mean and so many deviations."""
FLOOR = 1e-3
"""Least value that a logarithm is taken of, in terms of the least in training."""
RIDGE = 1e-4
"""Least variance of a direction, in terms of a feature's: what rounding leaves of features that add up."""


class TrainingCloud(nn.Module):
    """Centre and spread of one input's numeric features; all it has learned lies in buffers.

    A feature that is positive, and less skewed as a logarithm, is taken as one: in milliseconds 200 lies
    0.1 deviations from the shortest track of a catalog, in logarithms 7. Ranks would not do, for beyond the
    training tracks they all are 0 or 1. A feature that never varies says nothing.
    """

    def __init__(self, features: tuple[FeatureSpec, ...]) -> None:
        super().__init__()
        numeric = [at for at, one in enumerate(features) if not one.categorical]
        count = len(numeric)
        self.register_buffer("numeric_N", torch.tensor(numeric, dtype=torch.long))
        self.register_buffer("floor_N", torch.zeros(count))
        self.register_buffer("centre_N", torch.zeros(count))
        self.register_buffer("whitening_NN", torch.zeros(count, count))
        self.numeric_N: Tensor
        self.floor_N: Tensor
        self.centre_N: Tensor
        self.whitening_NN: Tensor

    @classmethod
    def fit(cls, x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> "TrainingCloud":
        """A cloud fitted on rows of raw features, shape (rows, features)."""
        # Here: it takes a second to import, and processes that score fit no cloud.
        from scipy.linalg import solve_triangular
        from sklearn.covariance import ledoit_wolf

        cloud = cls(features)
        x_BN = x_BF[:FIT_ROWS, cloud.numeric_N.numpy()].astype(np.float64)
        least_N = x_BN.min(axis=0)
        log_BN = np.log(np.where(least_N > 0, x_BN, 1))
        is_log_N = (least_N > 0) & (np.abs(_skewness(log_BN)) < np.abs(_skewness(x_BN)))
        cloud.floor_N[:] = torch.from_numpy(np.where(is_log_N, least_N * FLOOR, 0))
        z_BN = np.where(is_log_N, log_BN, x_BN)
        centre_N, deviation_N = z_BN.mean(axis=0), z_BN.std(axis=0)
        scale_N = np.where(deviation_N > 0, deviation_N, 1.0)
        covariance_NN, _ = ledoit_wolf((z_BN - centre_N) / scale_N, assume_centered=True)
        factor_NN = np.linalg.cholesky(covariance_NN + RIDGE * np.eye(len(covariance_NN)))
        varies_NN = np.diag(np.where(deviation_N > 0, 1 / scale_N, 0.0))
        whitening_NN = solve_triangular(factor_NN, varies_NN, lower=True).T
        cloud.centre_N[:] = torch.from_numpy(centre_N)
        cloud.whitening_NN[:] = torch.from_numpy(whitening_NN)
        return cloud

    @torch.inference_mode()
    def forward(self, x_BF: Tensor) -> Tensor:
        """Mahalanobis distances over the root of N, shape (B,); the training rows' mean square is 1.

        The covariance is shrunken after Ledoit and Wolf (2004).
        """
        x_BN = x_BF[:, self.numeric_N]
        z_BN = torch.where(self.floor_N > 0, torch.maximum(x_BN, self.floor_N).log(), x_BN)
        white_BN = (z_BN - self.centre_N) @ self.whitening_NN
        return white_BN.square().mean(dim=1).sqrt()


def fitted_clouds(x_BF: npt.NDArray[np.float32], features: tuple[FeatureSpec, ...]) -> nn.ModuleDict:
    """A cloud for each input that has numbers, from rows of all inputs' features joined in order.

    A row that lacks an input has NaN there.
    """
    clouds = nn.ModuleDict()
    for name in dict.fromkeys(one.input for one in features if not one.categorical):
        own = [at for at, one in enumerate(features) if one.input == name]
        own_BF = x_BF[:, own]
        has_B = ~np.isnan(own_BF[:, 0])
        clouds[name] = TrainingCloud.fit(own_BF[has_B], tuple(features[at] for at in own))
    return clouds


def limit_of(distance_T: npt.NDArray[np.float32]) -> float:
    """The distance that a share of `LIMIT_SHARE` of tracks like these does not exceed.

    The greater of the quantile and of what a log-normal distribution has there, for the quantile of a few
    tracks is too low. Fewer than `FEWEST` say nothing of what is rare: no track is an outlier. Tracks that
    lack the input are at distance 0, and do not count.

    >>> limit_of(np.exp(np.random.default_rng(0).normal(0, 0.5, 100_000)).astype(np.float32))
    4.709
    """
    distance_T = distance_T[distance_T > 0]
    if len(distance_T) < FEWEST:
        return sys.float_info.max
    log_T = np.log(np.maximum(distance_T.astype(np.float64), np.finfo(np.float32).tiny))
    normal = log_T.mean() + LIMIT_DEVIATIONS * log_T.std()
    found = math.exp(max(normal, float(np.quantile(log_T, LIMIT_SHARE))))
    return float(f"{found:.4g}")


def _skewness(x_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Third standardised moment of each column, 0 where it is constant."""
    centred_BN = x_BN - x_BN.mean(axis=0)
    deviation_N = centred_BN.std(axis=0)
    skewness_N: npt.NDArray[np.float64] = (centred_BN**3).mean(axis=0) / np.where(
        deviation_N > 0, deviation_N, 1.0
    ) ** 3
    return skewness_N
