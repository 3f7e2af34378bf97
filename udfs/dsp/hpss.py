"""Harmonic and percussive part of a signal, equal to `librosa.effects.hpss`.

Smoothing a magnitude spectrum along time keeps the harmonic part, along frequency the percussive part.
Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
Shape suffixes: T frames, F bins, N samples of a frame.
"""

from functools import lru_cache

import numpy as np
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.medians import medians_along_rows, medians_down_columns
from genremill.udfs.dsp.spectra import TINY, Complex, Real, hann
from genremill.udfs.feature_sets.base import Signal

FRAMES_AT_ONCE = 16
"""Frames in one inverse FFT call: the frames and their spectra fit into the L2 cache of a core."""


def hpss(y: Signal, D_TF: Complex, S_TF: Real, *, hop_length: int) -> tuple[Signal, Signal]:
    """Harmonic and percussive part of `y`, each of shape (n,), from its centered STFT and the magnitudes."""
    n_fft = 2 * (S_TF.shape[1] - 1)
    harmonic_TF, percussive_TF = medians_down_columns(S_TF), medians_along_rows(S_TF)
    sums = np.zeros(n_fft + hop_length * (len(D_TF) - 1), np.float32)
    window = hann(n_fft).astype(np.float32)
    for start in range(0, len(D_TF), FRAMES_AT_ONCE):
        block = slice(start, start + FRAMES_AT_ONCE)
        masked_TF = np.empty_like(D_TF[block])
        _mask(D_TF[block], harmonic_TF[block], percussive_TF[block], masked_TF)
        frames_TN = scipy.fft.irfft(masked_TF, n_fft, overwrite_x=True)
        _overlap_add(frames_TN, window, sums[start * hop_length :], hop_length)
    inside = slice(n_fft // 2, n_fft // 2 + len(y))
    harmonic: Signal = sums[inside] * _window_gain(n_fft, hop_length, len(D_TF))[inside]
    # The two masks add up to one, and the inverse STFT of the whole spectrum is the signal.
    return harmonic, y - harmonic


@kernel(
    "(complex64[:, ::1], float32[:, ::1], float32[:, ::1], complex64[:, ::1])",
    fastmath={"contract", "nnan", "nsz"},
)
def _mask(D_TF: Complex, harmonic_TF: Real, percussive_TF: Real, masked_TF: Complex) -> None:
    """Fills `masked_TF` with the harmonic share h² / (h² + p²) of the spectrum: one half if both are 0."""
    count, bins = D_TF.shape
    share_F = np.empty(bins, np.float32)
    one, half = np.float32(1), np.float32(0.5)
    for t in range(count):
        for k in range(bins):
            h, p = harmonic_TF[t, k], percussive_TF[t, k]
            larger = max(h, p)
            # Relative to the larger one, because squares could underflow.
            ratio = min(h, p) / max(larger, TINY)
            larger_share = one / (one + ratio * ratio)
            share = larger_share if h > p else one - larger_share
            share_F[k] = share if larger >= TINY else half
        for k in range(bins):
            masked_TF[t, k] = complex(D_TF[t, k].real * share_F[k], D_TF[t, k].imag * share_F[k])


@kernel("(float32[:, ::1], float32[::1], float32[::1], int64)", fastmath={"contract", "nsz"})
def _overlap_add(frames_TN: Real, window: Real, sums: Real, hop_length: int) -> None:
    """Adds windowed frames at their positions in the signal."""
    count, length = frames_TN.shape
    for t in range(count):
        for n in range(length):
            sums[t * hop_length + n] += window[n] * frames_TN[t, n]


@lru_cache(maxsize=8)
def _window_gain(n_fft: int, hop_length: int, count: int) -> Real:
    """Reciprocal of the sum of the squared windows of `count` overlapping frames, shape (samples,)."""
    squares = np.zeros(n_fft + hop_length * (count - 1), np.float32)
    window: Real = np.square(hann(n_fft)).astype(np.float32)
    for t in range(count):
        squares[t * hop_length :][:n_fft] += window
    return np.reciprocal(np.where(squares > TINY, squares, 1), dtype=np.float32)
