"""From which confidence on a model tags: thresholds by cluster that reach a precision on held-out tracks.

Shape suffixes: T tracks, from the surest to the least sure, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genremill.models.evaluation.held_out import Flags, Floats, HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import Cluster, Thresholds

CREDIBLE_ARTISTS = 100
"""Artists whose tracks say as much of a cluster's precision as those of all clusters do: k in `credible`.

Measured on the Spotify table's clusters over split seeds: 108 and more. From 25 to 400 tags miss the
precision by as little; from fewer, fewer tracks are tagged.
"""
UNREACHED = 2.0
"""The threshold where no confidence will do: every answer's is below it."""


@dataclass(frozen=True)
class TagFigures:
    """What becomes of held-out tracks in `tags`: shares of them, and how often a tag is any of the labels."""

    tagged: float
    abstained: float
    outlier: float
    precision: float | None


def fitted_thresholds(
    held_out: HeldOut, cluster_of_class: list[Cluster | None], precision: float
) -> Thresholds:
    """The lowest confidences from which on the answers of a cluster are right as often as asked for.

    How often is a credibility estimate, see `credible`: a cluster's own precision leans on that of all
    tracks, and theirs on the mean confidence. So the threshold of a cluster with few artists is that of all.
    """
    order_T = np.argsort(-held_out.confidence_T, kind="stable")
    confidence_T, artist_T = held_out.confidence_T[order_T], held_out.artist_T[order_T]
    right_T, top_T = held_out.right_T[order_T], held_out.top_T[order_T]
    of_equals_last_T = np.append(confidence_T[1:] < confidence_T[:-1], True)
    gap_T = right_T - confidence_T

    def lowest(precision_T: Floats) -> float:
        reached = np.flatnonzero(of_equals_last_T & (precision_T >= precision))
        return float(confidence_T[reached[-1]]) if len(reached) else UNREACHED

    stated_T = np.cumsum(confidence_T) / np.arange(1, len(order_T) + 1)
    overall_T = credible(np.ones_like(right_T), right_T, gap_T, artist_T, stated_T)
    names = {one.name for one in cluster_of_class if one is not None}
    name_T = np.array([one.name if one else None for one in cluster_of_class], dtype=object)[top_T]
    by_cluster = {
        name: lowest(credible(name_T == name, right_T, gap_T, artist_T, overall_T)) for name in sorted(names)
    }
    return Thresholds(precision, lowest(overall_T), by_cluster)


def credible(
    member_T: Flags, right_T: Flags, gap_T: Floats, artist_T: NDArray[Any], collective_T: Floats
) -> Floats:
    """Share of a group's answers that are right, from the first to each: its own share and the collective's.

    Bühlmann's credibility premium (1967): Z own + (1 - Z) collective with Z = n / (n + k), where k is the
    variance of one observation over the variance between groups. An observation is an artist, whose tracks
    are right and wrong together: n counts the group's artists so far. The collective's share is moved by the
    mean gap (right - confidence) of the whole group, as far as all its artists make that credible: else the
    few surest answers of a group that is mostly wrong would pass as the collective's.

    One artist, of whom all three answers are right, against a collective that is right half the time:

    >>> right = np.array([True, True, True])
    >>> credible(right, right, np.zeros(3), np.array(["x", "x", "x"]), np.full(3, 0.5)).round(3)
    array([0.505, 0.505, 0.505])
    """
    first_T = np.zeros_like(member_T)
    members = np.flatnonzero(member_T)
    first_T[members[np.unique(artist_T[members], return_index=True)[1]]] = True
    weight_T = _credibility(np.cumsum(first_T))
    own_T = np.cumsum(member_T & right_T) / np.maximum(np.cumsum(member_T), 1)
    moved_T = collective_T + (weight_T[-1] * gap_T[members].mean() if len(members) else 0.0)
    estimate_T: Floats = weight_T * own_T + (1 - weight_T) * moved_T
    return estimate_T


def _credibility(artists: NDArray[np.int64]) -> Floats:
    return artists / (artists + CREDIBLE_ARTISTS)


def tag_figures(held_out: HeldOut, outlier_T: Flags, abstained_T: Flags) -> TagFigures | None:
    """What becomes of the tracks of a sample, given which are outliers and where the model abstains."""
    if held_out.split is SplitBy.ROWS:
        return None
    tagged_T = ~(outlier_T | abstained_T)
    return TagFigures(
        tagged=float(tagged_T.mean()),
        abstained=float((abstained_T & ~outlier_T).mean()),
        outlier=float(outlier_T.mean()),
        precision=float(held_out.right_T[tagged_T].mean()) if tagged_T.any() else None,
    )
