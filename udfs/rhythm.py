"""Onset strength and tempo, equal to what `librosa.beat.beat_track` finds without tracking any beat.

Shape suffixes: T frames, M mel bands, W frames of an autocorrelation window.
"""

from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal

from genremill.udfs.spectra import Double, Real

AC_SECONDS = 8.0
"""Length of the window within which onsets are compared with themselves."""
START_BPM = 120.0
MAX_BPM = 320.0
FRAMES_AT_ONCE = 64


def onset_strength(log_mel_TM: Real, *, n_fft: int, hop_length: int) -> Real:
    """Median rise of the mel bands from frame to frame, in dB, never negative, shape (T,).

    As `librosa.onset.onset_strength` with its median for an aggregate: shifted to the middle of the frames.
    """
    rises = np.maximum(np.float32(0), log_mel_TM[1:] - log_mel_TM[:-1])
    strength = np.zeros(len(log_mel_TM), np.float32)
    shift = 1 + n_fft // (2 * hop_length)
    strength[shift:] = _medians(rises)[: max(0, len(strength) - shift)]
    return strength


def _medians(rows: Real) -> Real:
    """Median of each row. Sorting short rows is faster than `np.median`, which selects."""
    ordered, half = np.sort(rows, axis=1), rows.shape[1] // 2
    if rows.shape[1] % 2:
        return ordered[:, half]
    return (ordered[:, half - 1] + ordered[:, half]) * np.float32(0.5)


def tempo(onsets: Real, *, sr: int, hop_length: int) -> float:
    """Beats a minute of an onset strength, 0 where it is zero throughout; as `librosa.beat.beat_track`.

    The likeliest lag of the mean tempogram under a log-normal prior around 120.
    """
    if not onsets.any():
        return 0.0
    length = int(AC_SECONDS * sr // hop_length)
    bpm, log_prior = _tempo_prior(sr, hop_length, length)
    return float(bpm[np.argmax(np.log1p(1e6 * mean_tempogram(onsets, length)) + log_prior)])


@lru_cache
def _tempo_prior(sr: int, hop_length: int, length: int) -> tuple[Double, Double]:
    """Beats a minute of each lag, and the logarithm of how likely they are."""
    with np.errstate(divide="ignore"):
        bpm = 60.0 * sr / (hop_length * np.arange(length))
    log_prior = -0.5 * (np.log2(bpm) - np.log2(START_BPM)) ** 2
    log_prior[: np.argmax(bpm < MAX_BPM)] = -np.inf
    return bpm, log_prior


def mean_tempogram(onsets: Real, length: int) -> Double:
    """Autocorrelation of the onsets around each frame, relative to that at lag 0, averaged; shape (length,).

    As the mean over time of `librosa.feature.tempogram`: the spectra are averaged, and inverted once.
    """
    padded = np.pad(onsets, length // 2, mode="linear_ramp", end_values=0)
    windows_TW = np.lib.stride_tricks.sliding_window_view(padded, length)[: len(onsets)]
    hann: Double = scipy.signal.get_window("hann", length, fftbins=True)
    n_fft = scipy.fft.next_fast_len(2 * length - 1, real=True)
    total = np.zeros(n_fft // 2 + 1)
    for start in range(0, len(onsets), FRAMES_AT_ONCE):
        windowed = windows_TW[start : start + FRAMES_AT_ONCE] * hann
        energy = np.einsum("tw,tw->t", windowed, windowed)
        spectrum = scipy.fft.rfft(windowed, n_fft)
        share = np.divide(1.0, energy, out=np.zeros_like(energy), where=energy > 0)
        total += share @ (spectrum.real**2 + spectrum.imag**2)
    mean: Double = scipy.fft.irfft(total, n_fft)[:length] / len(onsets)
    return mean
