"""The tempogram, and its energy at musical fractions and multiples of the tempo, equal to librosa 0.11's.

Shape suffixes: T frames, L lags, R ratios.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft

from genremill.udfs.dsp.rhythm import tempo_prior
from genremill.udfs.dsp.spectra import Double, Real, hann

LAGS = 384
"""Frames of the window of the autocorrelation."""
RATIOS = (4, 8 / 3, 3, 2, 4 / 3, 3 / 2, 1, 2 / 3, 3 / 4, 1 / 2, 1 / 3, 3 / 8, 1 / 4)
"""Multiples of the tempo (Prockup et al., Modeling Genre with the Music Genome Project, 2015)."""
FRAMES_AT_ONCE = 128


def onset_strength(log_mel_MT: Real, *, n_fft: int, hop_length: int) -> Real:
    """Mean rise of the mel bands from frame to frame, in dB, never negative, shape (T,).

    As `librosa.onset.onset_strength` of a log-power mel spectrogram with bands first.
    """
    rises = np.maximum(0.0, log_mel_MT[:, 1:] - log_mel_MT[:, :-1]).mean(axis=0)
    strength: Real = np.pad(rises, (1 + n_fft // (2 * hop_length), 0))[: log_mel_MT.shape[1]]
    return strength


def tempogram_ratio(onsets: Real, *, sr: int, hop_length: int) -> Double:
    """Tempogram of each frame at `RATIOS` of its most likely tempo, shape (R, T).

    As `librosa.feature.tempogram_ratio`: 0 if the tempogram does not reach a ratio.
    """
    windows_TL = _windows(onsets)
    _, log_prior_L = tempo_prior(sr, hop_length, LAGS)
    lower_LR, upper_LR, share_LR = _neighbors(sr, hop_length)
    ratios_RT = np.empty((len(RATIOS), len(onsets)))
    for start in range(0, len(onsets), FRAMES_AT_ONCE):
        tempogram_TL = _tempogram(windows_TL[start : start + FRAMES_AT_ONCE])
        likeliest_T = np.argmax(np.log1p(1e6 * tempogram_TL) + log_prior_L, axis=1)
        lower_TR = np.take_along_axis(tempogram_TL, lower_LR[likeliest_T], axis=1)
        upper_TR = np.take_along_axis(tempogram_TL, upper_LR[likeliest_T], axis=1)
        share_TR = share_LR[likeliest_T]
        between_TR = lower_TR + (upper_TR - lower_TR) * share_TR
        ratios_RT[:, start : start + FRAMES_AT_ONCE] = np.where(np.isnan(share_TR), 0.0, between_TR).T
    return ratios_RT


def tempogram(onsets: Real) -> Double:
    """Autocorrelation of the onsets around each frame, relative to its largest value, shape (T, L)."""
    windows_TL = _windows(onsets)
    parts = range(0, len(windows_TL), FRAMES_AT_ONCE)
    return np.concatenate([_tempogram(windows_TL[start : start + FRAMES_AT_ONCE]) for start in parts])


def _windows(onsets: Real) -> Real:
    """The onsets around each frame; beyond the ends they fall to zero, shape (T, L)."""
    padded = np.pad(onsets, LAGS // 2, mode="linear_ramp", end_values=0)
    return np.lib.stride_tricks.sliding_window_view(padded, LAGS)[: len(onsets)]


def _tempogram(windows_TL: Real) -> Double:
    """Autocorrelation of each window of onsets, relative to its largest value, shape (T, L)."""
    n_fft = scipy.fft.next_fast_len(2 * LAGS - 1, real=True)
    spectrum = scipy.fft.rfft(windows_TL * hann(LAGS), n_fft)
    lags_TL = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, n_fft)[:, :LAGS]
    largest = np.abs(lags_TL).max(axis=1, keepdims=True)
    tempogram: Double = lags_TL / np.where(largest < np.finfo(np.float64).tiny, 1.0, largest)
    return tempogram


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
