"""Onset strength and tempo, equal to those of `librosa.beat.beat_track`, without tracking beats.

Shape suffixes: T frames, M mel bands, N samples of a padded window, F bins of its spectrum.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import Double, Real, hann

AC_SECONDS = 8.0
"""Length of the window of the autocorrelation."""
START_BPM = 120.0
MAX_BPM = 320.0
FRAMES_AT_ONCE = 64


def onset_strength(log_mel_TM: Real, *, n_fft: int, hop_length: int) -> Real:
    """Median rise of the mel bands from frame to frame, in dB, never negative, shape (T,).

    As `librosa.onset.onset_strength` with the median as aggregate, shifted to the middle of the frames.
    """
    rises = np.maximum(np.float32(0), log_mel_TM[1:] - log_mel_TM[:-1])
    strength = np.zeros(len(log_mel_TM), np.float32)
    shift = 1 + n_fft // (2 * hop_length)
    strength[shift:] = _medians(rises)[: max(0, len(strength) - shift)]
    return strength


def _medians(rows: Real) -> Real:
    """Median of each row; for short rows, sorting is faster than `np.median`."""
    ordered, half = np.sort(rows, axis=1), rows.shape[1] // 2
    if rows.shape[1] % 2:
        return ordered[:, half]
    return (ordered[:, half - 1] + ordered[:, half]) * np.float32(0.5)


def tempo(onsets: Real, *, sr: int, hop_length: int) -> float:
    """Beats per minute of an onset strength, 0 if it is zero everywhere; as `librosa.beat.beat_track`.

    The most likely lag of the mean tempogram under a log-normal prior around 120.
    """
    if not onsets.any():
        return 0.0
    length = int(AC_SECONDS * sr // hop_length)
    bpm, log_prior = tempo_prior(sr, hop_length, length)
    return float(bpm[np.argmax(np.log1p(1e6 * mean_tempogram(onsets, length)) + log_prior)])


@lru_cache
def tempo_prior(sr: int, hop_length: int, length: int) -> tuple[Double, Double]:
    """Beats per minute of each lag (infinite for lag 0) and their log probability, both of shape (length,).

    The prior is log-normal around 120 beats per minute, and zero above 320.
    """
    with np.errstate(divide="ignore"):
        bpm = 60.0 * sr / (hop_length * np.arange(length))
    log_prior = -0.5 * (np.log2(bpm) - np.log2(START_BPM)) ** 2
    log_prior[: np.argmax(bpm < MAX_BPM)] = -np.inf
    return bpm, log_prior


def mean_tempogram(onsets: Real, length: int) -> Double:
    """Mean over frames of the autocorrelation around each frame, relative to lag 0; shape (length,).

    As the mean over time of `librosa.feature.tempogram`, but it averages spectra and inverts only once.
    """
    padded = np.pad(onsets, length // 2, mode="linear_ramp", end_values=0)
    n_fft = scipy.fft.next_fast_len(2 * length - 1, real=True)
    windows_TN, energy_T = np.zeros((FRAMES_AT_ONCE, n_fft)), np.zeros(FRAMES_AT_ONCE)
    total = np.zeros(n_fft // 2 + 1)
    for start in range(0, len(onsets), FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, len(onsets) - start)
        _window(padded[start : start + count + length - 1], hann(length), windows_TN, energy_T)
        _add_power(scipy.fft.rfft(windows_TN[:count]), energy_T, total)
    mean: Double = scipy.fft.irfft(total, n_fft)[:length] / len(onsets)
    return mean


@kernel(
    "(float32[::1], float64[::1], float64[:, ::1], float64[::1])", fastmath={"contract", "nsz", "reassoc"}
)
def _window(x: Real, window: Double, windows_TN: Double, energy_T: Double) -> None:
    """Fills `windows_TN` with windows that are one sample apart, and `energy_T` with their energies."""
    length = len(window)
    for t in range(len(x) - length + 1):
        energy = 0.0
        for n in range(length):
            value = x[t + n] * window[n]
            windows_TN[t, n] = value
            energy += value * value
        energy_T[t] = energy


@kernel("(complex128[:, ::1], float64[::1], float64[::1])", fastmath={"contract", "nsz"})
def _add_power(spectra_TF: npt.NDArray[np.complex128], energy_T: Double, total: Double) -> None:
    """Adds the power spectrum of each frame, relative to its energy, to `total`."""
    count, bins = spectra_TF.shape
    for t in range(count):
        if energy_T[t] > 0:
            share = 1 / energy_T[t]
            for k in range(bins):
                total[k] += share * (spectra_TF[t, k].real ** 2 + spectra_TF[t, k].imag ** 2)
