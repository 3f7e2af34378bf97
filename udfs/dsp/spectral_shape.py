"""Centroid, bandwidth, rolloff and contrast of a spectrum, equal to librosa 0.11's but many times faster.

Shape suffixes: T frames, F bins of the spectrum.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import TILE, tile_padded, transpose_rows
from genremill.udfs.dsp.spectra import TINY, Double, Real, fft_frequencies, power_to_db

FMIN = 200.0
"""Upper edge of the lowest band of the contrast in Hz; each higher band is one octave wide."""
OCTAVES = 6
QUANTILE = 0.02
"""Share of the bins of a band that is averaged at each end."""


def spectral_shape(S_TF: Real, *, sr: int, roll_percent: float = 0.85) -> tuple[Double, Double, Double]:
    """Centroid, bandwidth and rolloff in Hz of a magnitude spectrum, each of shape (T,).

    As `librosa.feature.spectral_centroid`, `spectral_bandwidth` and `spectral_rolloff`.
    """
    bin_width = sr / (2 * (S_TF.shape[1] - 1))
    centroid, bandwidth = _centroid_and_bandwidth(S_TF) * bin_width
    rolloff = _rolloff(tile_padded(S_TF), roll_percent)[: len(S_TF)] * bin_width
    return centroid, bandwidth, rolloff


def spectral_rows(S_TF: Real, *, sr: int) -> dict[str, Double]:
    """Centroid, bandwidth, rolloff and contrast by name, each of shape (rows, T)."""
    names = ("spectral_centroid", "spectral_bandwidth", "spectral_rolloff")
    shape = {name: row[np.newaxis] for name, row in zip(names, spectral_shape(S_TF, sr=sr), strict=True)}
    return shape | {"spectral_contrast": spectral_contrast(S_TF, sr=sr)}


@kernel("(float32[:, ::1],)", fastmath={"contract", "nsz", "reassoc"})
def _centroid_and_bandwidth(S_TF: Real) -> Double:
    """Centroid and bandwidth in bins, shape (2, T)."""
    count, bins = S_TF.shape
    shape = np.zeros((2, count))
    for t in range(count):
        total, first, second = 0.0, 0.0, 0.0
        for k in range(bins):
            weight = np.float64(S_TF[t, k])
            total += weight
            first += weight * k
            second += weight * k * k
        if total >= TINY:
            centroid = first / total
            shape[0, t] = centroid
            shape[1, t] = np.sqrt(max(0.0, second / total - centroid * centroid))
    return shape


# Adds in the order and precision of librosa: if a few bins have most of the energy of a frame, the many weak
# bins only contribute their rounding errors.
@kernel("(float32[:, ::1], float64)")
def _rolloff(S_TF: Real, roll_percent: float) -> npt.NDArray[np.int64]:
    """First bin at which the running sum of a frame reaches the given share of the total, shape (T,)."""
    count, bins = S_TF.shape
    rolloff = np.empty(count, np.int64)
    columns = np.empty((bins, TILE), np.float32)
    running = columns.reshape(bins * TILE)
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        transpose_rows(S_TF, first, columns)
        for index in range(TILE, bins * TILE):
            running[index] += running[index - TILE]
        for t in range(TILE):
            share = np.float32(roll_percent) * columns[bins - 1, t]
            rolloff[first + t] = np.searchsorted(columns[:, t], share)
    return rolloff


def spectral_contrast(S_TF: Real, *, sr: int) -> Double:
    """Decibels from the valley to the peak of seven bands, lowest first, shape (7, T).

    As `librosa.feature.spectral_contrast` of magnitudes (Jiang et al. 2002), which converts them to decibels
    as if they were powers.
    """
    bands = _bands(sr, 2 * (S_TF.shape[1] - 1))
    valleys, peaks = np.empty((len(bands), len(S_TF))), np.empty((len(bands), len(S_TF)))
    for valley, peak, (start, end, count) in zip(valleys, peaks, bands, strict=True):
        ordered = np.sort(S_TF[:, start:end], axis=1)
        valley[:] = ordered[:, :count].mean(axis=1)
        peak[:] = ordered[:, -count:].mean(axis=1)
    return power_to_db(peaks) - power_to_db(valleys)


@lru_cache
def _bands(sr: int, n_fft: int) -> list[tuple[int, int, int]]:
    """First bin of each band, the bin after its last, and the number of bins of a valley or a peak."""
    freqs = fft_frequencies(sr, n_fft)
    edges = np.concatenate(([0.0], FMIN * 2.0 ** np.arange(OCTAVES + 1)))
    starts = np.searchsorted(freqs, edges[:-1], side="left")
    ends = np.searchsorted(freqs, edges[1:], side="right")
    # Like librosa: bands above the lowest also have the bin below their edge, and the highest has all bins
    # that are left. The others lose their last bin after the quantile has been counted.
    starts[1:] -= 1
    ends[-1] = len(freqs)
    counts = np.maximum(np.rint(QUANTILE * (ends - starts)).astype(np.int64), 1)
    ends[:-1] -= 1
    return list(zip(starts.tolist(), ends.tolist(), counts.tolist(), strict=True))
