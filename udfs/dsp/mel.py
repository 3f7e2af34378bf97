"""Mel spectra and their cepstral coefficients, equal to librosa 0.11's but many times faster.

Shape suffixes: T frames, F bins of the spectrum, M mel bands.
"""

import warnings
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import TILE, tile_padded, transpose_back, transpose_rows
from genremill.udfs.dsp.spectra import Real, librosa_filters

Indices = npt.NDArray[np.int64]

Bands = tuple[Real, Indices, Indices]
"""Filters of mel bands, shape (M, F), and the first bin of each band and the bin after its last."""
BINS_AT_ONCE = 4
"""Bins of a mel band that are added in one step."""


@lru_cache
def mel_bands(sr: int, n_fft: int, *, n_mels: int = 128) -> Bands:
    """Triangular filters of equal area from 0 Hz to sr/2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # low bands of a short window have no bin
        return bands_of(librosa_filters().mel(sr=sr, n_fft=n_fft, n_mels=n_mels))


def bands_of(filters_MF: Real) -> Bands:
    """The filters and their bins; each band has a multiple of `BINS_AT_ONCE` bins."""
    inside = filters_MF > 0
    widths = BINS_AT_ONCE * np.ceil(inside.sum(axis=1) / BINS_AT_ONCE).astype(np.int64)
    ends = np.minimum(inside.argmax(axis=1) + widths, inside.shape[1])
    return filters_MF, ends - widths, ends


def mel_spectrogram(P_TF: Real, *, sr: int, n_mels: int = 128) -> Real:
    """Power in at least 16 mel bands, shape (T, M); as `librosa.feature.melspectrogram`."""
    bands = mel_bands(sr, 2 * (P_TF.shape[1] - 1), n_mels=n_mels)
    return _mel_spectrogram(tile_padded(P_TF), *bands)[: len(P_TF)]


@kernel(
    "(float32[:, ::1], float32[:, ::1], int64[::1], int64[::1], float32[:, ::1])",
    fastmath={"contract", "nsz"},
)
def band_sums(columns: Real, weights_MF: Real, starts: Indices, ends: Indices, sums: Real) -> None:
    """Fills `sums`, shape (M, TILE), with the weighted sums over the rows of `columns`, shape (F, TILE).

    The weights of a band are zero outside its start and end.
    """
    for m in range(len(weights_MF)):
        sums[m, :] = 0
        for k in range(starts[m], ends[m], BINS_AT_ONCE):
            a, b, c, d = weights_MF[m, k : k + BINS_AT_ONCE]
            for t in range(TILE):
                first_two = a * columns[k, t] + b * columns[k + 1, t]
                last_two = c * columns[k + 2, t] + d * columns[k + 3, t]
                sums[m, t] += first_two + last_two


@kernel("(float32[:, ::1], float32[:, ::1], int64[::1], int64[::1])")
def _mel_spectrogram(P_TF: Real, weights_MF: Real, starts: Indices, ends: Indices) -> Real:
    (count, bins), bands = P_TF.shape, len(weights_MF)
    mel_TM = np.empty((count, bands), np.float32)
    columns, sums = np.empty((bins, TILE), np.float32), np.empty((bands, TILE), np.float32)
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        transpose_rows(P_TF, first, columns)
        band_sums(columns, weights_MF, starts, ends, sums)
        transpose_back(sums, mel_TM, first)
    return mel_TM


def mfcc(log_mel_TM: Real, *, n_mfcc: int = 20) -> Real:
    """Mel-frequency cepstral coefficients of a log-power mel spectrogram, shape (T, n_mfcc)."""
    return np.asarray(scipy.fft.dct(log_mel_TM, norm="ortho")[:, :n_mfcc], np.float32)
