"""Harmonic and percussive part of a signal, equal to `librosa.effects.hpss`: medians, soft masks, inverse STFT.

A magnitude spectrum smoothed along time keeps what is harmonic, along frequency what is percussive.
Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
Shape suffixes: T frames, F bins, N samples of a frame.
"""

from functools import lru_cache

import numpy as np
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.feature_set import Signal
from genremill.udfs.medians import medians_along_rows, medians_down_columns
from genremill.udfs.spectra import FRAMES_AT_ONCE, TINY, Complex, Real, hann


def hpss(y: Signal, D_TF: Complex, S_TF: Real, *, hop_length: int) -> tuple[Signal, Signal]:
    """Harmonic and percussive part of `y`, each of shape (n,), from its centred STFT and the magnitude of it."""
    n_fft = 2 * (S_TF.shape[1] - 1)
    harmonic_TF, percussive_TF = medians_down_columns(S_TF), medians_along_rows(S_TF)
    sums = np.zeros(n_fft + hop_length * (len(D_TF) - 1), np.float32)
    window = hann(n_fft).astype(np.float32)
    for start in range(0, len(D_TF), FRAMES_AT_ONCE):
        block = slice(start, start + FRAMES_AT_ONCE)
        masked_TF = np.empty_like(D_TF[block])
        _mask(
            D_TF[block].view(np.float32), harmonic_TF[block], percussive_TF[block], masked_TF.view(np.float32)
        )
        frames_TN = scipy.fft.irfft(masked_TF, n_fft, overwrite_x=True)
        _overlap_add(frames_TN, window, sums[start * hop_length :], hop_length)
    inside = slice(n_fft // 2, n_fft // 2 + len(y))
    harmonic: Signal = sums[inside] * _window_gain(n_fft, hop_length, len(D_TF))[inside]
    # The masks add up to one, and the inverse STFT of the whole is the signal.
    return harmonic, y - harmonic


@kernel("(float32[:, ::1], float32[:, ::1], float32[:, ::1], float32[:, ::1])", fastmath={"contract", "nsz"})
def _mask(D_TF: Real, harmonic_TF: Real, percussive_TF: Real, masked_TF: Real) -> None:
    """Harmonic share of a spectrum, real and imaginary parts in turn: h² / (h² + p²), a half where both are 0."""
    count, bins = harmonic_TF.shape
    for t in range(count):
        for k in range(bins):
            h, p = harmonic_TF[t, k], percussive_TF[t, k]
            largest = max(h, p)
            scale = np.float32(1) / largest if largest >= TINY else np.float32(0)
            h, p = h * scale, p * scale
            share = h * h / (h * h + p * p) if largest >= TINY else np.float32(0.5)
            masked_TF[t, 2 * k] = D_TF[t, 2 * k] * share
            masked_TF[t, 2 * k + 1] = D_TF[t, 2 * k + 1] * share


@kernel("(float32[:, ::1], float32[::1], float32[::1], int64)", fastmath={"contract", "nsz"})
def _overlap_add(frames_TN: Real, window: Real, sums: Real, hop_length: int) -> None:
    """Adds windowed frames where they belong."""
    count, length = frames_TN.shape
    for t in range(count):
        for n in range(length):
            sums[t * hop_length + n] += window[n] * frames_TN[t, n]


@lru_cache(maxsize=8)
def _window_gain(n_fft: int, hop_length: int, count: int) -> Real:
    """What undoes the window's squares where `count` frames overlap, shape (samples,)."""
    squares = np.zeros(n_fft + hop_length * (count - 1), np.float32)
    window = np.square(hann(n_fft)).astype(np.float32)
    for t in range(count):
        squares[t * hop_length :][:n_fft] += window
    return np.float32(1) / np.where(squares > TINY, squares, np.float32(1))
