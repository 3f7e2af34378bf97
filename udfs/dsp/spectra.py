"""Windowed spectra of a signal, equal to librosa 0.11's to the last bit.

Frames come first, shape (frames, bins), so that the values of a frame are neighbors in memory; librosa has
bins first. Shape suffixes: T frames, F bins of the spectrum.
"""

import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.feature_sets.base import Signal

Real = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]
Double = npt.NDArray[np.float64]
Level = TypeVar("Level", Real, Double)

FRAMES_AT_ONCE = 32
"""Frames in one FFT call: the windowed frames and their spectra fit into the L2 cache of a core."""
TINY = np.finfo(np.float32).tiny


@cache
def librosa_filters() -> ModuleType:
    """The module `librosa.filters`, imported without scipy.signal, which takes most of a second to import.

    librosa only uses scipy.signal for windows that are given by name; scipy imports it at the first use.
    """
    placeholder = ModuleType("scipy.signal")
    loaded = sys.modules.setdefault("scipy.signal", placeholder)
    try:
        return import_module("librosa.filters")
    finally:
        if loaded is placeholder:
            del sys.modules["scipy.signal"]


@lru_cache
def hann(n_fft: int) -> Double:
    """The periodic Hann window, shape (n_fft,), equal to scipy.signal's to the last bit."""
    return np.asarray(0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n_fft + 1)[:-1]), np.float64)


@lru_cache
def fft_frequencies(sr: int, n_fft: int) -> Double:
    """Center of each bin in Hz, shape (F,)."""
    return np.asarray(np.fft.rfftfreq(n_fft, 1 / sr), np.float64)


def frames(y: Signal, frame_length: int, hop_length: int) -> Signal:
    """Overlapping frames of `y` as a view, shape (T, frame_length)."""
    return np.lib.stride_tricks.sliding_window_view(y, frame_length)[::hop_length]


def stft(y: Signal, *, n_fft: int, hop_length: int) -> Complex:
    """Spectrum of each centered frame, with zeros beyond the ends of the signal, shape (T, F)."""
    D_TF = np.empty((1 + len(y) // hop_length, n_fft // 2 + 1), np.complex64)
    for start, block_TF in _blocks(y, n_fft, hop_length):
        D_TF[start : start + len(block_TF)] = block_TF
    return D_TF


def magnitudes(y: Signal, *, n_fft: int, hop_length: int) -> Real:
    """Magnitudes of `stft`, shape (T, F), without holding the complex spectrum in memory."""
    S_TF = np.empty((1 + len(y) // hop_length, n_fft // 2 + 1), np.float32)
    single = np.empty((FRAMES_AT_ONCE, n_fft // 2 + 1), np.complex64)
    for start, block_TF in _blocks(y, n_fft, hop_length):
        rounded_TF = single[: len(block_TF)]
        rounded_TF[:] = block_TF
        np.abs(rounded_TF, out=S_TF[start : start + len(block_TF)])
    return S_TF


def _blocks(y: Signal, n_fft: int, hop_length: int) -> Iterator[tuple[int, npt.NDArray[np.complex128]]]:
    """First frame and spectra of some frames at a time; the next block overwrites them.

    As in librosa, transforms are in double precision, and results are rounded to single precision.
    """
    y_TN = frames(np.pad(y, n_fft // 2), n_fft, hop_length)
    # The buffers are reused: to get new memory from the system takes longer than the transform.
    windowed = np.empty((FRAMES_AT_ONCE, n_fft))
    spectra = np.empty((FRAMES_AT_ONCE, n_fft // 2 + 1), np.complex128)
    for start in range(0, len(y_TN), FRAMES_AT_ONCE):
        count = min(FRAMES_AT_ONCE, len(y_TN) - start)
        windowed[:count] = y_TN[start : start + count]
        windowed[:count] *= hann(n_fft)  # faster in two steps than a product of mixed precision
        yield start, np.fft.rfft(windowed[:count], out=spectra[:count])


def power_to_db(S: Level) -> Level:
    """Decibels of powers, at most 80 below the largest; same shape and precision as S."""
    db: Level = np.log10(np.maximum(S, 1e-10))
    db *= 10
    np.maximum(db, db.max() - 80, out=db)
    return db
