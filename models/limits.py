"""Limits of the values of a feature, which 1 % of hostile rows cannot move far.

Shape suffixes: B rows, N features, Q quantiles.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

INNER = (0.015, 0.985)
"""These quantiles are values of ordinary rows, even if 1 % of the rows are hostile."""
REACH = 4.6
"""How many median distances from the median a limit is at least: 3.1 standard deviations of normal values."""
FAR, LEAST = 8.0, 0.5
"""How far a distance from the median is implausible, on a logarithmic scale: above the quantile .75 of the
distances by this many times its difference from their median, or from a median lower by `LEAST`."""


def quantiles(x_BN: npt.NDArray[Any], shares: tuple[float, ...]) -> Doubles:
    """Quantiles of the finite values of each column, shape (Q, N); NaN for a column without any."""
    if not x_BN.size:
        return np.full((len(shares), x_BN.shape[1]), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without values
        return np.asarray(np.nanquantile(np.where(np.isfinite(x_BN), x_BN, np.nan), shares, axis=0))


def limits(x_BN: npt.NDArray[Any]) -> Doubles:
    """The least and the greatest value of each column that a model distinguishes, shape (2, N).

    A limit is the quantile .015 or .985, or `REACH` median distances from the median if that is farther. The
    distances are those of the values on the same side of the median, so that a column with few values other
    than 0 keeps them. A column without values has the limits 0 and 0.

    >>> limits(np.arange(101.0)[:, None]).T.round(1)
    array([[-67.3, 167.3]])
    >>> limits(np.array([0.0] * 98 + [1.0] * 2)[:, None]).T
    array([[0. , 4.6]])
    """
    low_N, median_N, high_N = quantiles(x_BN, (INNER[0], 0.5, INNER[1]))
    below_N, above_N = (REACH * np.exp(log_QN[0]) for log_QN in _distances(x_BN, median_N))
    ends_2N = np.stack([np.fmin(low_N, median_N - below_N), np.fmax(high_N, median_N + above_N)])
    return np.asarray(np.nan_to_num(ends_2N))


def plausible(x_BN: npt.NDArray[Any]) -> Doubles:
    """The range of each column, shape (2, N), beyond which a value is an error, and not part of a long tail.

    The rule is relative to the other values on the same side of the median. On a side without values, every
    value is plausible.

    >>> plausible(np.linspace(0, 1, 101)[:, None]).T.round(1)
    array([[-20.1,  21.1]])
    """
    median_N = quantiles(x_BN, (0.5,))[0]
    below_N, above_N = (
        np.exp(log_QN[1] + FAR * np.maximum(log_QN[1] - log_QN[0], LEAST))
        for log_QN in _distances(x_BN, median_N)
    )
    ranges_2N = np.stack([median_N - below_N, median_N + above_N])
    return np.where(np.isnan(ranges_2N), np.array([[-np.inf], [np.inf]]), ranges_2N)


def _distances(x_BN: npt.NDArray[Any], median_N: Doubles) -> tuple[Doubles, Doubles]:
    """Quantiles .5 and .75 of the logarithms of the distances from the median, below and above it, (2, N)."""
    offset_BN = x_BN.astype(np.float64) - median_N
    with np.errstate(divide="ignore", invalid="ignore"):  # values at the median have no logarithm
        below_BN, above_BN = np.log(-offset_BN), np.log(offset_BN)
    return quantiles(below_BN, (0.5, 0.75)), quantiles(above_BN, (0.5, 0.75))
