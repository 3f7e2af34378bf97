"""Centroid, bandwidth and rolloff of a spectrum, equal to librosa 0.11's but many times faster.

Shape suffixes: T frames, F bins of the spectrum.
"""

import numpy as np
import numpy.typing as npt

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import TILE, at_least_a_tile, transpose_rows
from genremill.udfs.dsp.spectra import TINY, Double, Real


def spectral_shape(S_TF: Real, *, sr: int, roll_percent: float = 0.85) -> tuple[Double, Double, Double]:
    """Centroid, bandwidth and rolloff in Hz of a magnitude spectrum, each of shape (T,).

    As `librosa.feature.spectral_centroid`, `spectral_bandwidth` and `spectral_rolloff`.
    """
    bin_width = sr / (2 * (S_TF.shape[1] - 1))
    centroid, bandwidth = _centroid_and_bandwidth(S_TF) * bin_width
    rolloff = _rolloff(at_least_a_tile(S_TF), roll_percent)[: len(S_TF)] * bin_width
    return centroid, bandwidth, rolloff


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
