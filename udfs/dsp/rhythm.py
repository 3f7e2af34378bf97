"""Tempo and tempograms, equal to librosa 0.11's. The tempo is that of `librosa.beat.beat_track`.

Shape suffixes: T frames, N samples of a padded window, F bins of its spectrum, L lags, R ratios.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import Double, Real, hann

AC_SECONDS = 8.0
"""Length of the window of the autocorrelation whose mean gives the tempo."""
LAGS = 384
"""Frames of the window of the autocorrelation in a tempogram."""
RATIOS = (4, 8 / 3, 3, 2, 4 / 3, 3 / 2, 1, 2 / 3, 3 / 4, 1 / 2, 1 / 3, 3 / 8, 1 / 4)
"""Multiples of the tempo (Prockup et al., Modeling Genre with the Music Genome Project, 2015)."""
WINDOWS_AT_ONCE = 64
TEMPOGRAM_FRAMES_AT_ONCE = 128


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
    log_prior = -0.5 * (np.log2(bpm) - np.log2(120.0)) ** 2
    log_prior[: np.argmax(bpm < 320.0)] = -np.inf
    return bpm, log_prior


def mean_tempogram(onsets: Real, length: int) -> Double:
    """Mean over frames of the autocorrelation around each frame, relative to lag 0; shape (length,).

    As the mean over time of `librosa.feature.tempogram`, but it averages spectra and inverts only once.
    """
    padded = _padded(onsets, length)
    n_fft = scipy.fft.next_fast_len(2 * length - 1, real=True)
    windows_TN, energy_T = np.zeros((WINDOWS_AT_ONCE, n_fft)), np.zeros(WINDOWS_AT_ONCE)
    total = np.zeros(n_fft // 2 + 1)
    for start in range(0, len(onsets), WINDOWS_AT_ONCE):
        count = min(WINDOWS_AT_ONCE, len(onsets) - start)
        _window(padded[start : start + count + length - 1], hann(length), windows_TN, energy_T)
        _add_power(scipy.fft.rfft(windows_TN[:count]), energy_T, total)
    return np.asarray(scipy.fft.irfft(total, n_fft)[:length] / len(onsets), np.float64)


def _padded(onsets: Real, length: int) -> Real:
    """The onsets, extended at both ends by half a window in which they fall linearly to 0."""
    return np.pad(onsets, length // 2, mode="linear_ramp", end_values=0)


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


def tempogram_ratio(onsets: Real, *, sr: int, hop_length: int) -> Double:
    """Tempogram of each frame at `RATIOS` of its most likely tempo, shape (R, T).

    As `librosa.feature.tempogram_ratio`: 0 if the tempogram does not reach a ratio.
    """
    _, log_prior_L = tempo_prior(sr, hop_length, LAGS)
    lower_LR, upper_LR, share_LR = _neighbors(sr, hop_length)
    ratios = []
    for tempogram_TL in _tempograms(onsets):
        likeliest_T = np.argmax(np.log1p(1e6 * tempogram_TL) + log_prior_L, axis=1)
        lower_TR = np.take_along_axis(tempogram_TL, lower_LR[likeliest_T], axis=1)
        upper_TR = np.take_along_axis(tempogram_TL, upper_LR[likeliest_T], axis=1)
        between_TR = lower_TR + (upper_TR - lower_TR) * share_LR[likeliest_T]
        ratios.append(np.where(np.isnan(between_TR), 0.0, between_TR).T)
    return np.concatenate(ratios, axis=1)


def tempogram(onsets: Real) -> Double:
    """Autocorrelation of the onsets around each frame, relative to its largest value, shape (T, L)."""
    return np.concatenate(list(_tempograms(onsets)))


def _tempograms(onsets: Real) -> Iterator[Double]:
    """The tempogram of some frames at a time."""
    windows_TL = np.lib.stride_tricks.sliding_window_view(_padded(onsets, LAGS), LAGS)[: len(onsets)]
    n_fft = scipy.fft.next_fast_len(2 * LAGS - 1, real=True)
    for start in range(0, len(onsets), TEMPOGRAM_FRAMES_AT_ONCE):
        windowed_TL = windows_TL[start : start + TEMPOGRAM_FRAMES_AT_ONCE] * hann(LAGS)
        spectrum = scipy.fft.rfft(windowed_TL, n_fft)
        lags_TL = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, n_fft)[:, :LAGS]
        largest = np.abs(lags_TL).max(axis=1, keepdims=True)
        yield lags_TL / np.where(largest < np.finfo(np.float64).tiny, 1.0, largest)


@lru_cache
def _neighbors(sr: int, hop_length: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Double]:
    """For each lag and ratio, the two lags nearest in tempo, and the position between them; shapes (L, R).

    The position is NaN if the tempogram does not reach the tempo.
    """
    tempi, _ = tempo_prior(sr, hop_length, LAGS)
    rising = tempi[:0:-1]
    with np.errstate(invalid="ignore"):
        target = np.multiply.outer(tempi, RATIOS)
        above = np.clip(np.searchsorted(rising, target), 1, len(rising) - 1)
        share = (target - rising[above - 1]) / (rising[above] - rising[above - 1])
    share[(target < rising[0]) | (target > rising[-1])] = np.nan
    # The first of `rising` is the longest lag, LAGS - 1.
    return LAGS - above, LAGS - 1 - above, share
