"""Pitch classes of spectra and of constant-Q transforms, and tonal centroids, equal to librosa 0.11's.

Shape suffixes: T frames, F bins of the spectrum, C pitch classes. Without a suffix, frames come last, as in
librosa.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from genremill.udfs.dsp.librosa_filters import librosa_filters
from genremill.udfs.dsp.spectra import TINY, Real, hann

CENS_STEPS = (0.4, 0.2, 0.1, 0.05)
CENS_FRAMES = 41


@lru_cache(maxsize=256)
def chroma_filters(sr: int, n_fft: int, *, tuning: float = 0.0, n_chroma: int = 12) -> Real:
    """Gaussian filters from bins to pitch classes, C first, shape (C, F)."""
    chroma: Real = librosa_filters().chroma(sr=sr, n_fft=n_fft, tuning=tuning, n_chroma=n_chroma)
    return chroma


def chroma(P_TF: Real, *, sr: int, tuning: float, n_chroma: int = 12) -> Real:
    """Power in each pitch class, relative to the strongest of the frame, shape (T, C); as `chroma_stft`."""
    n_fft = 2 * (P_TF.shape[1] - 1)
    raw_TC: Real = P_TF @ chroma_filters(sr, n_fft, tuning=tuning, n_chroma=n_chroma).T
    largest = raw_TC.max(axis=1, keepdims=True)
    raw_TC /= np.where(largest < TINY, np.float32(1), largest)
    return raw_TC


def chroma_cqt(transform: Real) -> Real:
    """Energy of the pitch classes from C on, relative to the strongest of the frame, shape (12, frames).

    `transform` is a constant-Q transform that starts at C1, with 12 bins per octave or a multiple of 12.
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
    for step in CENS_STEPS:
        levels += shares > np.float32(step)
    window = hann(CENS_FRAMES + 1)[1:]
    smooth = scipy.ndimage.convolve1d(levels / 4, window / window.sum(), axis=1, mode="constant")
    return _normalized(smooth, np.sqrt(np.square(smooth, dtype=np.float64).sum(axis=0)))


def tonnetz(chroma: Real) -> npt.NDArray[np.float64]:
    """Tonal centroids: fifths, minor and major thirds, each as x and y, shape (6, frames).

    Harte, Sandler and Gasser, Detecting Harmonic Change in Musical Audio (2006).
    """
    shares = _normalized(chroma, chroma.sum(axis=0, dtype=np.float64))
    steps = np.multiply.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12.0))
    steps[::2] -= 0.5
    radii = np.array([1, 1, 1, 1, 0.5, 0.5])[:, np.newaxis]
    centroids: npt.NDArray[np.float64] = (radii * np.cos(np.pi * steps)) @ shares.astype(np.float64)
    return centroids


def _pitch_classes(transform: Real, n_octaves: int = 7) -> Real:
    bins, frames = transform.shape
    bins_per_class = bins // n_octaves // 12
    centered = np.roll(transform, bins_per_class // 2, axis=0)
    classes: Real = centered.reshape(n_octaves, 12, bins_per_class, frames).sum(axis=(0, 2))
    return classes


def _normalized(rows: Real, norm: npt.NDArray[np.floating]) -> Real:
    """Each frame divided by its norm; a frame without energy stays as it is."""
    return (rows / np.where(norm < TINY, 1.0, norm)).astype(np.float32)
