"""The held-out pairs on which a model version is measured.

Shape suffixes: P pairs of (track, label), T tracks, C classes.
"""

import enum
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from genremill.infra.errors import UsageError
from genremill.models.evaluation.split import SplitBy

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class NothingHeldOut(UsageError):
    """There is no held-out track on which to measure a model."""


class Labels(enum.StrEnum):
    """The kind of a model's classes."""

    GENRE = "genre"
    CLUSTER = "cluster"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """P held-out pairs of T tracks, and the predictions for the tracks.

    Parameters
    ----------
    probabilities_TC : float32, finite; each row sums to 1
    pair_track_P, pair_label_P : index of the track and the class of a pair; every track has a pair
    artist_T : id of the track's group of connected artists, a number or a string; the bootstrap unit
    unseen_T : True if none of the credited artists of a track is in train
    cluster_of_class_C : index into `cluster_names`, -1 for a class without cluster; None without genre map
    together_CC : see `confidences`; None if no track has two labels
    """

    split: SplitBy
    classes: tuple[str, ...]
    probabilities_TC: NDArray[np.float32]
    pair_track_P: Integers
    pair_label_P: Integers
    artist_T: NDArray[Any]
    unseen_T: Flags
    cluster_of_class_C: Integers | None = None
    cluster_names: tuple[str, ...] = ()
    together_CC: csc_array | None = None

    def __post_init__(self) -> None:
        tracks, classes = self.probabilities_TC.shape
        lengths = (len(self.classes), len(self.artist_T), len(self.unseen_T), len(self.pair_label_P))
        expected = (classes, tracks, tracks, len(self.pair_track_P))
        if lengths != expected:
            raise UsageError(
                f"held-out sample: classes, artists, unseen flags, labels are {lengths}, expected {expected}"
            )
        if not np.isfinite(self.probabilities_TC).all():
            raise UsageError("held-out sample: the model gave probabilities that are not finite numbers")
        if len(np.unique(self.pair_track_P)) != tracks:
            raise UsageError(f"held-out sample: some of its {tracks} tracks have no label")

    @cached_property
    def top_T(self) -> Integers:
        """The most probable class of each track; the first class of a tie."""
        top_T: Integers = self.probabilities_TC.argmax(axis=1)
        return top_T

    @cached_property
    def confidence_T(self) -> Floats:
        """The probability that the top tag of each track is one of its labels."""
        return confidences(self.probabilities_TC, self.top_T, self.together_CC)

    @cached_property
    def truth_TC(self) -> Flags:
        """True if a class is one of a track's labels."""
        truth_TC = np.zeros(self.probabilities_TC.shape, dtype=np.bool_)
        truth_TC[self.pair_track_P, self.pair_label_P] = True
        return truth_TC

    @cached_property
    def right_T(self) -> Flags:
        """True if a track's top tag is one of its labels."""
        return self.truth_TC[np.arange(len(self.top_T)), self.top_T]

    def only(self, keep_T: Flags) -> "HeldOut":
        """The sample restricted to the tracks where keep_T is True."""
        keep_P = keep_T[self.pair_track_P]
        new_index_T = np.cumsum(keep_T) - 1
        return replace(
            self,
            probabilities_TC=self.probabilities_TC[keep_T],
            pair_track_P=new_index_T[self.pair_track_P[keep_P]],
            pair_label_P=self.pair_label_P[keep_P],
            artist_T=self.artist_T[keep_T],
            unseen_T=self.unseen_T[keep_T],
        )

    def units(self) -> "HeldOut":
        """The sample by track; by pair for a split by `rows`, where other labels can be in train."""
        if self.split is not SplitBy.ROWS:
            return self
        return replace(
            self,
            probabilities_TC=self.probabilities_TC[self.pair_track_P],
            pair_track_P=np.arange(len(self.pair_track_P)),
            artist_T=self.artist_T[self.pair_track_P],
            unseen_T=self.unseen_T[self.pair_track_P],
            together_CC=None,
        )


def confidences(p_TC: NDArray[np.float32], top_T: Integers, together_CC: csc_array | None) -> Floats:
    """The probability that the top tag of a track is one of its labels, shape (T,).

    `together_CC` is the share of tracks with the row's label that also have the column's: 1 on the diagonal.

    >>> dance_and_club = csc_array([[1, 0.9], [0.6, 1]])
    >>> confidences(np.array([[0.5, 0.5]], np.float32), np.array([0]), dance_and_club).round(3)
    array([0.8])
    """
    p_T: Floats = np.take_along_axis(p_TC, top_T[:, None], axis=1)[:, 0].astype(np.float64)
    if together_CC is None:
        return p_T
    chance_T: Floats = together_CC[:, top_T].T.multiply(p_TC).sum(axis=1)
    return chance_T.clip(p_T, 1)
