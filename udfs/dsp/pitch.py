"""Tuning, pitch classes of spectra and constant-Q transforms, and tonal centroids, equal to librosa 0.11's.

Shape suffixes: T frames, F bins of the spectrum, C pitch classes. Without a suffix, frames come last, as in
librosa.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import TINY, Double, Real, fft_frequencies, hann, librosa_filters


def estimate_tuning(P_TF: Real, *, sr: int) -> float:
    """Deviation from A = 440 Hz in semitones, in [-0.5, 0.5); as `librosa.estimate_tuning`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    low, high = np.searchsorted(fft_frequencies(sr, n_fft), (150.0, 4000.0))
    floor_T = np.float32(0.1) * P_TF.max(axis=1)
    pitches, strengths = _spectral_peaks(P_TF, floor_T, int(low), int(high), float(sr), n_fft)
    if not len(pitches):
        return 0.0
    pitches = pitches[strengths >= np.median(strengths)]
    deviations = np.mod(12 * np.log2(pitches / 27.5), 1.0)
    deviations[deviations >= 0.5] -= 1.0
    counts, edges = np.histogram(deviations, np.linspace(-0.5, 0.5, 101))
    return float(edges[np.argmax(counts)])


# No fastmath: the histogram of pitches must fall into the same bins as librosa's.
@kernel("(float32[:, ::1], float32[::1], int64, int64, float64, int64)")
def _spectral_peaks(
    P_TF: Real, floor_T: Real, low: int, high: int, sr: float, n_fft: int
) -> tuple[Real, Real]:
    """Frequency in Hz and power of the peaks of each frame that are above the floor of the frame.

    As `librosa.piptrack` finds them in bins `low` to `high`: interpolated by parabolas.
    """
    count = len(P_TF)
    is_peak = np.empty(high - low, np.uint8)
    most = count * (high - low + 1) // 2 + 1
    pitches, strengths = np.empty(most, np.float32), np.empty(most, np.float32)
    peaks = 0
    for t in range(count):
        here_F, floor = P_TF[t, low:high], floor_T[t]
        before_F, after_F = P_TF[t, low - 1 : high - 1], P_TF[t, low + 1 : high + 1]
        # A loop of its own, because it can be vectorized; peaks are rare.
        for k in range(high - low):
            is_peak[k] = (here_F[k] > floor) & (here_F[k] > before_F[k]) & (here_F[k] >= after_F[k])
        for k in range(high - low):
            if is_peak[k]:
                here, before, after = here_F[k], before_F[k], after_F[k]
                bend = np.float64(np.float32(after + before)) - 2.0 * here
                slope = np.float64(np.float32(after - before)) / 2
                shift = np.float32(0)
                if abs(slope) < abs(bend):
                    shift = np.float32(-slope / bend)
                rise = np.float32(np.float32(after - before) / np.float32(2))
                pitches[peaks] = (low + k + shift) * sr / n_fft
                strengths[peaks] = here + np.float32(np.float32(0.5) * rise * shift)
                peaks += 1
    return pitches[:peaks], strengths[:peaks]


@lru_cache(maxsize=256)
def chroma_filters(sr: int, n_fft: int, *, tuning: float, n_chroma: int = 12) -> Real:
    """Gaussian filters from bins to pitch classes, C first, shape (C, F)."""
    filters_CF: Real = librosa_filters().chroma(sr=sr, n_fft=n_fft, tuning=tuning, n_chroma=n_chroma)
    return filters_CF


def chroma(P_TF: Real, *, sr: int, tuning: float, n_chroma: int = 12) -> Real:
    """Power in each pitch class, relative to the strongest of the frame, shape (T, C); as `chroma_stft`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    raw_TC: Real = P_TF @ chroma_filters(sr, n_fft, tuning=tuning, n_chroma=n_chroma).T
    largest = raw_TC.max(axis=1, keepdims=True)
    raw_TC /= np.where(largest < TINY, np.float32(1), largest)
    return raw_TC


def chroma_cqt(transform: Real) -> Real:
    """Energy of the pitch classes from C on, relative to the strongest of the frame, shape (12, frames).

    `transform` is a constant-Q transform that starts at C1, with 12 bins per octave.
    """
    classes = _pitch_classes(transform)
    return _normalized(classes, classes.max(axis=0))


def chroma_cens(transform: Real) -> Real:
    """Chroma energy normalized statistics: quantized and smoothed chroma, shape (12, frames).

    Mueller and Ewert, Chroma Toolbox (2011).
    """
    classes = _pitch_classes(transform)
    shares = _normalized(classes, classes.sum(axis=0, dtype=np.float64))
    levels = np.zeros_like(shares)
    for step in (0.4, 0.2, 0.1, 0.05):
        levels += shares > np.float32(step)
    window = hann(42)[1:]  # 41 frames, symmetric
    smooth = scipy.ndimage.convolve1d(levels / 4, window / window.sum(), axis=1, mode="constant")
    return _normalized(smooth, np.sqrt(np.square(smooth, dtype=np.float64).sum(axis=0)))


def tonnetz(chroma: Real) -> Double:
    """Tonal centroids: fifths, minor and major thirds, each as x and y, shape (6, frames).

    Harte, Sandler and Gasser, Detecting Harmonic Change in Musical Audio (2006).
    """
    shares = _normalized(chroma, chroma.sum(axis=0, dtype=np.float64))
    steps = np.multiply.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12.0))
    steps[::2] -= 0.5
    radii = np.array([1, 1, 1, 1, 0.5, 0.5])[:, np.newaxis]
    return np.asarray((radii * np.cos(np.pi * steps)) @ shares.astype(np.float64), np.float64)


def _pitch_classes(transform: Real) -> Real:
    return np.asarray(transform.reshape(-1, 12, transform.shape[1]).sum(axis=0), np.float32)


def _normalized(rows: Real, norm: npt.NDArray[np.floating]) -> Real:
    """Each frame divided by its norm; a frame without energy stays as it is."""
    return (rows / np.where(norm < TINY, 1.0, norm)).astype(np.float32)
