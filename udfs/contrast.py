"""Spectral contrast: how far the peaks of each octave stand over its valleys."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from genremill.udfs.compiled import kernel
from genremill.udfs.spectra import Double, Real, fft_frequencies

FMIN = 200.0
"""Upper edge of the lowest band in Hz; each further band is an octave."""
OCTAVES = 6
QUANTILE = 0.02
"""Share of a band's bins that is averaged at either end."""
AMIN = 1e-10
TOP_DB = 80.0


def spectral_contrast(S_TF: Real, *, sr: int) -> Double:
    """Decibels from valley to peak in seven bands, lowest first, shape (7, T).

    As `librosa.feature.spectral_contrast` of magnitudes (Jiang et al. 2002), which takes their decibels as if
    they were powers.
    """
    n_fft = 2 * (S_TF.shape[1] - 1)
    valleys, peaks = _extremes(S_TF, *_bands(sr, n_fft))
    return _decibels(peaks) - _decibels(valleys)


def _decibels(magnitudes: Double) -> Double:
    """Decibels, cut off `TOP_DB` under the largest of all bands and frames."""
    db: Double = 10.0 * np.log10(np.maximum(AMIN, magnitudes))
    np.maximum(db, db.max() - TOP_DB, out=db)
    return db


@lru_cache
def _bands(sr: int, n_fft: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First bin of each band, the bin after its last, and how many make a valley or a peak."""
    freqs = fft_frequencies(sr, n_fft)
    edges = np.concatenate(([0.0], FMIN * 2.0 ** np.arange(OCTAVES + 1)))
    starts = np.searchsorted(freqs, edges[:-1], side="left")
    ends = np.searchsorted(freqs, edges[1:], side="right")
    # Bands above the lowest also have the bin under their edge, the highest all that are left;
    # the others lose their last bin once the quantile has been counted.
    starts[1:] -= 1
    ends[-1] = len(freqs)
    counts = np.maximum(np.rint(QUANTILE * (ends - starts)).astype(np.int64), 1)
    ends[:-1] -= 1
    return starts, ends, counts


@kernel("(float32[:, ::1], int64[::1], int64[::1], int64[::1])")
def _extremes(
    S_TF: Real,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
) -> tuple[Double, Double]:
    """Mean of the `counts` smallest and of the largest magnitudes of each band, both of shape (bands, T).

    Both lists are kept sorted while a frame is read: past its first bins few have to be inserted.
    """
    bands, frames = len(starts), len(S_TF)
    valleys, peaks = np.empty((bands, frames)), np.empty((bands, frames))
    low, high = np.empty(counts.max(), np.float32), np.empty(counts.max(), np.float32)
    for t in range(frames):
        for band in range(bands):
            count = counts[band]
            low[:count], high[:count] = np.inf, -np.inf
            for k in range(starts[band], ends[band]):
                here = S_TF[t, k]
                if here < low[count - 1]:
                    at = count - 1
                    while at > 0 and low[at - 1] > here:
                        low[at] = low[at - 1]
                        at -= 1
                    low[at] = here
                if here > high[count - 1]:
                    at = count - 1
                    while at > 0 and high[at - 1] < here:
                        high[at] = high[at - 1]
                        at -= 1
                    high[at] = here
            valley, peak = 0.0, 0.0
            for at in range(count):
                valley += low[at]
                peak += high[at]
            valleys[band, t], peaks[band, t] = valley / count, peak / count
    return valleys, peaks
