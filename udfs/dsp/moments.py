"""Statistics of the rows of a feature matrix over its frames.

All in double precision: in single precision, the skewness of a row with values in the hundreds that varies by
thousandths is lost.
"""

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp.spectra import Double

FLAT = 1e-4
"""A row that varies by less than this share of its largest magnitude counts as constant: its third and fourth
moments would only measure rounding errors of single precision."""


def moments(rows: npt.NDArray[np.floating], *, floor: float | Double = 0.0) -> dict[str, Double]:
    """mean, var, std, skew, kurtosis, min and max of each row, by name; `rows` has shape (rows, frames).

    Moments are of the population, and a normal distribution has kurtosis 0. A constant row has skewness and
    kurtosis 0 (NaN in scipy). `floor` is the standard deviation up to which a row counts as constant, however
    small its values are: one for all rows, or one per row.
    """
    x = np.asarray(rows, dtype=np.float64)
    mean, low, high = x.mean(axis=1), x.min(axis=1), x.max(axis=1)
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
    skew = np.where(constant, 0.0, third / shaped**1.5)
    kurtosis = np.where(constant, 0.0, fourth / shaped**2 - 3.0)
    return {"mean": mean, "var": var, "std": std, "skew": skew, "kurtosis": kurtosis, "min": low, "max": high}


def median(rows: npt.NDArray[np.floating]) -> Double:
    """The median of each row over its frames, shape (rows,)."""
    frames = rows.shape[1]
    # numpy sorts with vector instructions but partitions without them, so sorting is faster.
    middle = np.sort(rows, axis=1)[:, [(frames - 1) // 2, frames // 2]]
    return np.asarray(middle.mean(axis=1, dtype=np.float64))
