"""Limits of the plausible values of a feature, from quantiles that a few hostile rows cannot move far.

Shape suffixes: B rows, N features.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

INNER = (0.02, 0.98)
"""The quantiles that a limit starts from. So up to 2 % of the rows may have any value."""
INNER_DEVIATIONS = 2.054
"""Standard deviations between the median of a normal distribution and these quantiles."""
REACH = 0.25
"""How far a limit is beyond its quantile, relative to the distance between the two quantiles. Of 500
normal values, one is beyond a limit."""
FAR, FAR_LOG = 50.0, 3.0
"""How far beyond its quantile a value is an error, relative to the distance between the quantiles, on a
linear and on a logarithmic scale."""


def limits(x_BN: npt.NDArray[Any], reach: float = REACH) -> npt.NDArray[np.float64]:
    """The least and the greatest plausible value of each column, shape (2, N); NaN is left out.

    If nearly all values of a column are equal, the limits are its only value. A column without values has
    the limits 0 and 0.

    >>> limits(np.arange(101.0)[:, None]).T
    array([[-22., 122.]])
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without values
        low_N, high_N = np.nanquantile(x_BN.astype(np.float64), INNER, axis=0)
    spread_N = reach * (high_N - low_N)
    return np.asarray(np.nan_to_num(np.stack([low_N - spread_N, high_N + spread_N])))


def within(x_BN: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values within the limits of their column, shape (B, N); others are NaN.

    >>> within(np.array([*range(100), 1e6])[:, None])[-2:].T
    array([[99., nan]])
    """
    low_N, high_N = limits(x_BN)
    return np.where((low_N <= x_BN) & (x_BN <= high_N), x_BN, np.nan)


def plausible(x_BN: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The least and the greatest value of each column that is no error, shape (2, N); NaN is left out.

    A value is an error if it is `FAR` times as far from the quantiles as they are from each other. For a
    column without negative values, it must also be far on the scale log(1 + x), because counts of plays have
    long tails. If nearly all values of a column are equal, any value is plausible.

    >>> plausible(np.linspace(0, 1, 101)[:, None]).T
    array([[-47.98,  48.98]])
    """
    low_2N = limits(x_BN, reach=0.0)
    low_N, high_N = limits(x_BN, FAR)
    with np.errstate(invalid="ignore", over="ignore"):
        high_of_log_N = np.expm1(limits(np.log1p(np.where(x_BN >= 0, x_BN, np.nan)), FAR_LOG)[1])
    high_N = np.where(low_2N[0] >= 0, np.maximum(high_N, high_of_log_N), high_N)
    is_constant_N = low_2N[0] == low_2N[1]
    return np.stack([np.where(is_constant_N, -np.inf, low_N), np.where(is_constant_N, np.inf, high_N)])
