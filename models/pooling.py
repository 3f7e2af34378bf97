"""One answer a track from the answers of its windows.

Shape suffixes: R windows of all tracks, T tracks, C classes.
"""

import enum

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]

TIE_VOTE = 0.01
"""What the mean probability counts in a vote, where a window counts 1: it decides between equal shares."""


class Pooling(enum.StrEnum):
    """How the answers of a track's windows become one."""

    MEAN = "mean"  # of the probabilities
    VOTE = "vote"  # share of the windows whose likeliest class it is; of equal shares the greater mean


def pooled(p_RC: Probabilities, windows_T: npt.NDArray[np.int64], pooling: Pooling) -> Probabilities:
    """Probability of each class for each track, shape (T, C), from those of its windows.

    The windows of a track follow one another; `windows_T`, each 1 or more, says how many they are.

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
    likeliest_RC = p_RC.argmax(axis=1)[:, None] == np.arange(p_RC.shape[1])
    votes_TC = np.add.reduceat(likeliest_RC.astype(np.float32), first_T, axis=0)
    share_TC = (votes_TC + TIE_VOTE * mean_TC) / (windows_T1 + TIE_VOTE)
    return share_TC.astype(np.float32)
