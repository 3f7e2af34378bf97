"""Onsets of notes and beats, as `librosa.onset.onset_detect` finds them.

Shape suffix: T frames.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp.spectra import TINY, Real

Frames = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class PeakPicking:
    """The conditions under which a frame is an onset (Böck, Krebs and Schedl, ISMIR 2012)."""

    before_s: float = 0.03
    """No frame in this time before it is stronger."""
    mean_s: float = 0.1
    """It is stronger than the mean of this time before and after it,"""
    delta: float = 0.07
    """by at least this share of the range of the signal."""
    wait_s: float = 0.03
    """The last onset is longer ago than this."""


def onset_frames(strength_T: Real, *, sr: int, hop_length: int, picking: PeakPicking) -> Frames:
    """The frames with an onset, in rising order; none if the strength is constant."""
    x_T = strength_T - strength_T.min()
    x_T /= x_T.max() + TINY
    if not x_T.any():
        return np.empty(0, np.intp)

    def frames(seconds: float) -> int:
        # librosa rounds down, then up: 0.03 s at 43 frames per second are one frame.
        return int(np.ceil(seconds * sr // hop_length))

    before, around = frames(picking.before_s), frames(picking.mean_s)
    padded_T = np.pad(x_T, (before, 0), constant_values=-np.inf)
    highest_T = np.lib.stride_tricks.sliding_window_view(padded_T, before + 1).max(axis=1)
    sums_T = np.concatenate(([0.0], np.cumsum(x_T, dtype=np.float64)))
    index_T = np.arange(len(x_T))
    first_T, end_T = np.maximum(index_T - around, 0), np.minimum(index_T + around + 1, len(x_T))
    means_T = (sums_T[end_T] - sums_T[first_T]) / (end_T - first_T)
    is_peak_T = (x_T == highest_T) & (x_T >= means_T + picking.delta)
    return apart(np.flatnonzero(is_peak_T), frames(picking.wait_s))


def apart(frames: Frames, wait: int) -> Frames:
    """Drops each of some rising frames that is at most `wait` frames after the last one kept.

    >>> apart(np.array([3, 5, 6, 9]), wait=2).tolist()
    [3, 6, 9]
    """
    kept: list[int] = []
    for frame in frames.tolist():
        if not kept or frame - kept[-1] > wait:
            kept.append(frame)
    return np.array(kept, np.intp)
