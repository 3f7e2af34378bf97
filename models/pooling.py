"""Combines the predictions for the windows of a track into one prediction.

Shape suffixes: R windows of all tracks, T tracks, C classes.
"""

import enum

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]

TIE_VOTE = 0.01
"""Weight of the mean probability in a vote, where each window has weight 1. It breaks ties."""


class Pooling(enum.StrEnum):
    """How the predictions for the windows of a track are combined."""

    MEAN = "mean"  # mean of the probabilities
    VOTE = "vote"  # share of windows in which the class is the most probable; the mean breaks ties


def pooled(p_RC: Probabilities, windows_T: npt.NDArray[np.int64], pooling: Pooling) -> Probabilities:
    """Probability of each class for each track, shape (T, C).

    The windows of a track are consecutive rows. `windows_T` is their number, 1 or more.

    >>> p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], np.float32)
    >>> pooled(p, np.array([3]), Pooling.MEAN).round(2)
    array([[0.57, 0.43]], dtype=float32)
    >>> pooled(p, np.array([3]), Pooling.VOTE).round(2)
    array([[0.33, 0.67]], dtype=float32)
    """
    if not len(windows_T):
        return np.zeros((0, p_RC.shape[1]), np.float32)
    first_T = np.cumsum(windows_T) - windows_T
    windows_T1 = windows_T[:, None]
    mean_TC = np.add.reduceat(p_RC, first_T, axis=0) / windows_T1
    if pooling is Pooling.MEAN:
        return mean_TC.astype(np.float32)
    top_RC = p_RC.argmax(axis=1)[:, None] == np.arange(p_RC.shape[1])
    votes_TC = np.add.reduceat(top_RC.astype(np.float32), first_T, axis=0)
    share_TC = (votes_TC + TIE_VOTE * mean_TC) / (windows_T1 + TIE_VOTE)
    return share_TC.astype(np.float32)
