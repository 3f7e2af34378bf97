"""Where notes and beats begin, as `librosa.onset.onset_detect` finds it.

Shape suffix: T frames.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp.spectra import TINY, Real

Frames = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class PeakPicking:
    """When a frame of an onset strength is an onset (Böck, Krebs and Schedl, ISMIR 2012)."""

    before_s: float = 0.03
    """No frame so many seconds before is stronger,"""
    mean_s: float = 0.1
    """it stands over the mean of so many seconds before and after,"""
    delta: float = 0.07
    """by so much of the whole signal's range,"""
    wait_s: float = 0.03
    """and the last onset is longer ago than this."""


def onset_frames(strength_T: Real, *, sr: int, hop_length: int, picking: PeakPicking) -> Frames:
    """Frames in which something begins, rising; none where the strength is the same throughout."""
    x_T = strength_T - strength_T.min()
    x_T /= x_T.max() + TINY
    if not x_T.any():
        return np.empty(0, np.intp)

    def frames(seconds: float) -> int:
        # librosa rounds down, then up: 0.03 s of 43 frames a second are one frame.
        return int(np.ceil(seconds * sr // hop_length))

    before, around = frames(picking.before_s), frames(picking.mean_s)
    padded_T = np.pad(x_T, (before, 0), constant_values=-np.inf)
    highest_T = np.lib.stride_tricks.sliding_window_view(padded_T, before + 1).max(axis=1)
    sums_T = np.concatenate(([0.0], np.cumsum(x_T, dtype=np.float64)))
    at_T = np.arange(len(x_T))
    first_T, end_T = np.maximum(at_T - around, 0), np.minimum(at_T + around + 1, len(x_T))
    means_T = (sums_T[end_T] - sums_T[first_T]) / (end_T - first_T)
    is_peak_T = (x_T == highest_T) & (x_T >= means_T + picking.delta)
    return apart(np.flatnonzero(is_peak_T), frames(picking.wait_s))


def apart(frames: Frames, wait: int) -> Frames:
    """Those of rising frames that follow the last one kept by more than `wait`.

    >>> apart(np.array([3, 5, 6, 9]), wait=2).tolist()
    [3, 6, 9]
    """
    kept: list[int] = []
    for frame in frames.tolist():
        if not kept or frame - kept[-1] > wait:
            kept.append(frame)
    return np.array(kept, np.intp)
