"""Confidence thresholds per cluster that reach a precision on held-out tracks.

Shape suffixes: T tracks, the most confident first, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genremill.models.evaluation.held_out import Flags, Floats, HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import Cluster, Thresholds

CREDIBLE_ARTISTS = 100
"""With this many artists, the precisions of a cluster and of all clusters have equal weight: k in `credible`.
On the Spotify table it is 108 or more; from 25 to 400 the precision of tags hardly changes."""
UNREACHED = 2.0
"""The threshold if no confidence reaches the precision. All confidences are lower."""


@dataclass(frozen=True)
class TagFigures:
    """Shares of held-out tracks by their result in `tags`, and how often a tag is one of the labels."""

    tagged: float
    abstained: float
    outlier: float
    precision: float | None


def fitted_thresholds(
    held_out: HeldOut, cluster_of_class: list[Cluster | None], precision: float
) -> Thresholds:
    """The lowest confidence of each cluster from which its predictions reach the precision.

    The precision of a cluster is a credibility estimate (see `credible`), which moves it towards that of all
    tracks, and theirs towards the mean confidence. A cluster of few artists gets the threshold of all tracks.
    """
    order_T = np.argsort(-held_out.confidence_T, kind="stable")
    confidence_T, artist_T = held_out.confidence_T[order_T], held_out.artist_T[order_T]
    right_T, top_T = held_out.right_T[order_T], held_out.top_T[order_T]
    last_of_ties_T = np.append(confidence_T[1:] < confidence_T[:-1], True)
    gap_T = right_T - confidence_T

    def lowest(precision_T: Floats) -> float:
        reached = np.flatnonzero(last_of_ties_T & (precision_T >= precision))
        return float(confidence_T[reached[-1]]) if len(reached) else UNREACHED

    stated_T = np.cumsum(confidence_T) / np.arange(1, len(order_T) + 1)
    overall_T = credible(np.ones_like(right_T), right_T, gap_T, artist_T, stated_T)
    name_T = np.array([cluster and cluster.name for cluster in cluster_of_class], dtype=object)[top_T]
    by_cluster = {
        name: lowest(credible(name_T == name, right_T, gap_T, artist_T, overall_T))
        for name in sorted({cluster.name for cluster in cluster_of_class if cluster})
    }
    return Thresholds(precision, lowest(overall_T), by_cluster)


def credible(
    member_T: Flags, right_T: Flags, gap_T: Floats, artist_T: NDArray[Any], collective_T: Floats
) -> Floats:
    """Running precision of the predictions of a group, estimated from its own and the collective precision.

    Bühlmann's credibility premium (1967): Z own + (1 - Z) collective with Z = n / (n + k). n is the number of
    artists of the group so far, because tracks of an artist are correlated. k is the variance of an artist
    divided by the variance between groups. The collective precision is shifted by Z times the mean gap
    (right - confidence) of the group: otherwise the most confident predictions of a group that is mostly
    wrong would get the collective precision.

    One artist with three right predictions, and a collective precision of one half:

    >>> right = np.array([True, True, True])
    >>> credible(right, right, np.zeros(3), np.array(["x", "x", "x"]), np.full(3, 0.5)).round(3)
    array([0.505, 0.505, 0.505])
    """
    first_T = np.zeros_like(member_T)
    members = np.flatnonzero(member_T)
    first_T[members[np.unique(artist_T[members], return_index=True)[1]]] = True
    artists_T = np.cumsum(first_T)
    weight_T = artists_T / (artists_T + CREDIBLE_ARTISTS)
    own_T = np.cumsum(member_T & right_T) / np.maximum(np.cumsum(member_T), 1)
    moved_T = collective_T + (weight_T[-1] * gap_T[members].mean() if len(members) else 0.0)
    return weight_T * own_T + (1 - weight_T) * moved_T


def tag_figures(held_out: HeldOut, outlier_T: Flags, abstained_T: Flags) -> TagFigures | None:
    """The figures of a sample, given which tracks are outliers and where the model abstains."""
    if held_out.split is SplitBy.ROWS:
        return None
    tagged_T = ~(outlier_T | abstained_T)
    return TagFigures(
        tagged=float(tagged_T.mean()),
        abstained=float((abstained_T & ~outlier_T).mean()),
        outlier=float(outlier_T.mean()),
        precision=float(held_out.right_T[tagged_T].mean()) if tagged_T.any() else None,
    )
