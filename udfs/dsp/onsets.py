"""Strength of onsets of notes and beats, and the frames with an onset, as `librosa.onset` finds them.

Shape suffixes: T frames, M mel bands.
"""

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp.moments import median
from genremill.udfs.dsp.spectra import TINY, Real

Frames = npt.NDArray[np.intp]

BEFORE_S, AROUND_S = 0.03, 0.1
"""An onset is the strongest frame of the last `BEFORE_S`, and exceeds the mean from `AROUND_S` before to
`AROUND_S` after it by `DELTA` (Böck, Krebs and Schedl, ISMIR 2012). Both times are in seconds."""
DELTA = 0.07
"""Relative to the range of the strength."""


def onset_strength(log_mel_TM: Real, *, n_fft: int, hop_length: int, by_median: bool = False) -> Real:
    """Mean or median rise of the mel bands from frame to frame, in dB, never negative, shape (T,).

    As `librosa.onset.onset_strength`, shifted to the middle of the frames.
    """
    rises_TM = np.maximum(0, log_mel_TM[1:] - log_mel_TM[:-1])
    rises_T = median(rises_TM).astype(np.float32) if by_median else rises_TM.mean(axis=1)
    return np.pad(rises_T, (1 + n_fft // (2 * hop_length), 0))[: len(log_mel_TM)]


def onset_frames(strength_T: Real, *, sr: int, hop_length: int, wait_s: float) -> Frames:
    """The frames with an onset, at least `wait_s` apart, in order; none if the strength is constant."""
    x_T = strength_T - strength_T.min()
    x_T /= x_T.max() + TINY
    if not x_T.any():
        return np.empty(0, np.intp)
    # librosa rounds down: 0.03 s at 43 frames per second are one frame.
    before, around, wait = (int(seconds * sr // hop_length) for seconds in (BEFORE_S, AROUND_S, wait_s))
    padded_T = np.pad(x_T, (before, 0), constant_values=-np.inf)
    highest_T = np.lib.stride_tricks.sliding_window_view(padded_T, before + 1).max(axis=1)
    sums_T = np.concatenate(([0.0], np.cumsum(x_T, dtype=np.float64)))
    index_T = np.arange(len(x_T))
    first_T, end_T = np.maximum(index_T - around, 0), np.minimum(index_T + around + 1, len(x_T))
    means_T = (sums_T[end_T] - sums_T[first_T]) / (end_T - first_T)
    return apart(np.flatnonzero((x_T == highest_T) & (x_T >= means_T + DELTA)), wait)


def apart(frames: Frames, wait: int) -> Frames:
    """Drops each frame that is at most `wait` frames after the last frame kept; `frames` must rise.

    >>> apart(np.array([3, 5, 6, 9]), wait=2).tolist()
    [3, 6, 9]
    """
    kept: list[int] = []
    for frame in frames.tolist():
        if not kept or frame - kept[-1] > wait:
            kept.append(frame)
    return np.array(kept, np.intp)
