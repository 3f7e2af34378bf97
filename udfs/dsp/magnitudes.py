"""Magnitude spectra of a signal whose phases nobody asks for."""

import numpy as np

from genremill.udfs.dsp.spectra import Real, frames, hann
from genremill.udfs.feature_sets.base import Signal

FRAMES_AT_ONCE = 32
"""Frames in one FFT call: windowed frames and spectra of so many stay in a core's L2 cache."""


def magnitudes(y: Signal, *, n_fft: int, hop_length: int) -> Real:
    """Magnitude of the spectrum of each frame, centred, the signal's ends padded with zeros; shape (T, F).

    As `np.abs(librosa.stft(…))`: transformed in double precision, rounded to single.
    """
    y_T = frames(np.pad(y, n_fft // 2), n_fft, hop_length)
    S_TF = np.empty((len(y_T), n_fft // 2 + 1), np.float32)
    # Buffers that are used again: memory fresh from the system costs more than the transform.
    windowed = np.empty((FRAMES_AT_ONCE, n_fft))
    double = np.empty((FRAMES_AT_ONCE, n_fft // 2 + 1), np.complex128)
    single = np.empty(double.shape, np.complex64)
    for start in range(0, len(y_T), FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, len(y_T) - start)
        np.multiply(y_T[start : start + count], hann(n_fft), out=windowed[:count])
        single[:count] = np.fft.rfft(windowed[:count], out=double[:count])
        np.abs(single[:count], out=S_TF[start : start + count])
    return S_TF
