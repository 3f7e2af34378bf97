"""Statistics of the rows of a feature matrix over its frames.

All in double precision: in single precision, the skewness of a row with values in the hundreds that varies by
thousandths is lost.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Statistic = npt.NDArray[np.float64]
FLAT = 1e-4
"""A row that varies by less than this share of its largest magnitude counts as constant: its third and fourth
moments would only measure rounding errors of single precision."""


@dataclass(frozen=True)
class Moments:
    """Population moments and extremes, all of shape (rows,); a normal distribution has kurtosis 0."""

    mean: Statistic
    var: Statistic
    std: Statistic
    skew: Statistic
    kurtosis: Statistic
    min: Statistic
    max: Statistic


def moments(rows: npt.NDArray[np.floating], *, floor: float | Statistic = 0.0) -> Moments:
    """The moments and extremes of each row over its frames, `rows` of shape (rows, frames).

    Skewness and kurtosis of a constant row are 0 (scipy gives NaN). `floor` is the standard deviation up to
    which a row counts as constant, however small its values are: one for all rows, or one per row.

    >>> float(moments(np.array([[0.0, 0.0, 0.0, 4.0]])).skew[0])  # 2 / sqrt(3)
    1.1547005383792515
    >>> moments(np.array([[7.0, 7.0, 7.0]])).kurtosis.tolist()
    [0.0]
    """
    x = np.asarray(rows, dtype=np.float64)
    mean = x.mean(axis=1)
    low, high = x.min(axis=1), x.max(axis=1)
    deviation = x - mean[:, np.newaxis]
    square = deviation * deviation
    var = square.mean(axis=1)
    std = np.sqrt(var)
    constant = std <= np.maximum(FLAT * np.maximum(np.abs(low), np.abs(high)), floor)
    shaped = np.where(constant, 1.0, var)
    deviation *= square
    third = deviation.mean(axis=1)
    square *= square
    fourth = square.mean(axis=1)
    return Moments(
        mean=mean,
        var=var,
        std=std,
        skew=np.where(constant, 0.0, third / shaped**1.5),
        kurtosis=np.where(constant, 0.0, fourth / shaped**2 - 3.0),
        min=low,
        max=high,
    )


def median(rows: npt.NDArray[np.floating]) -> Statistic:
    """The median of each row over its frames, shape (rows,)."""
    frames = rows.shape[1]
    # numpy sorts with vector instructions but partitions without them, so sorting is faster.
    ordered = np.sort(rows, axis=1).astype(np.float64, copy=False)
    halves: Statistic = (ordered[:, (frames - 1) // 2] + ordered[:, frames // 2]) / 2
    return halves
