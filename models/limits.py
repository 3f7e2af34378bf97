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
