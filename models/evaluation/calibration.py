"""Confidence of a model: its temperature and reliability, and the thresholds above which it tags.

Shape suffixes: T tracks (in `fitted_thresholds` the most confident first), C classes, N predictions, B bins,
K distinct confidences.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genremill.models.evaluation.held_out import Flags, Floats, HeldOut, Integers, confidences
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import Cluster, Thresholds

BINS = 15
KEPT = 0.8
"""Share of predictions that are kept in the metrics on abstention."""
MOST_TEMPERATURE = 4.0
"""Highest temperature; the lowest is its inverse."""
PRIOR_DEVIATION = 0.5
"""Standard deviation of the prior of log temperature. It keeps the temperature near 1 with few tracks."""

CREDIBLE_ARTISTS = 100
"""With this many artists, the precisions of a cluster and of all clusters have equal weight: k in `credible`.
Estimates of k on the Spotify table are 108 or more; from 25 to 400 the precision of tags hardly changes."""
UNREACHED = 2.0
"""The threshold if no confidence reaches the precision. All confidences are lower."""


@dataclass(frozen=True)
class TagFigures:
    """Shares of held-out tracks by their `status`, and the share of tags that are one of the labels."""

    tagged: float
    abstained: float
    outlier: float
    precision: float | None


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of similar confidence: their number, mean confidence and accuracy."""

    answers: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class CoveragePoint:
    """Share and accuracy of the predictions with at least this confidence."""

    confidence: float
    coverage: float
    accuracy: float


def tempered(p_TC: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities raised to 1 / temperature, then normalized. Their order does not change.

    For a single head, this divides the logits by the temperature (Guo et al. 2017, arXiv 1706.04599).

    >>> tempered(np.array([[0.8, 0.2]], np.float32), 2.0).round(3)
    array([[0.667, 0.333]], dtype=float32)
    """
    if temperature == 1:
        return p_TC
    with np.errstate(divide="ignore"):  # the logarithm of 0, which stays 0
        power_TC: NDArray[np.float32] = np.log(p_TC / p_TC.max(axis=1, keepdims=True))
    power_TC *= np.float32(1 / temperature)
    np.exp(power_TC, out=power_TC)
    power_TC /= power_TC.sum(axis=1, keepdims=True)
    return power_TC


def artist_weights(artist_T: NDArray[Any]) -> Floats:
    """Weights of tracks that give all artists the same total weight.

    >>> artist_weights(np.array(["a", "b", "a"])).tolist()
    [0.5, 1.0, 0.5]
    """
    _, artist_of_T, tracks_A = np.unique(artist_T, return_inverse=True, return_counts=True)
    return 1 / tracks_A[artist_of_T]


def fitted_temperature(held_out: HeldOut, weight_T: Floats | None = None) -> float:
    """The maximum a posteriori temperature, given which top tags are right; tracks weigh 1 by default."""
    weight_T = np.ones(len(held_out.top_T)) if weight_T is None else weight_T

    def loss(log_temperature: float) -> float:
        tempered_TC = tempered(held_out.probabilities_TC, math.exp(log_temperature))
        confidence_T = confidences(tempered_TC, held_out.top_T, held_out.together_CC)
        stated_T = np.clip(np.where(held_out.right_T, confidence_T, 1 - confidence_T), 1e-12, 1)
        return float(-(weight_T * np.log(stated_T)).sum() + 0.5 * (log_temperature / PRIOR_DEVIATION) ** 2)

    from scipy.optimize import minimize_scalar  # slow to import, and not needed for scoring

    most = math.log(MOST_TEMPERATURE)
    best = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-6})
    return round(math.exp(best.x), 4)


def equal_mass_bins(confidence_N: Floats, bins: int = BINS) -> Integers:
    """The bin of each prediction, 0 the least confident. Bins have equal size, except that ties share a bin.

    >>> equal_mass_bins(np.array([0.9, 0.1, 0.4, 0.8]), bins=2)
    array([1, 0, 0, 1])
    """
    edges_B = np.quantile(confidence_N, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges_B, confidence_N, side="left").astype(np.int64)


def reliability(confidence_N: Floats, right_N: NDArray[Any], bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Mean confidence and accuracy of each bin, the least confident first."""
    bin_N = equal_mass_bins(confidence_N, bins)
    members = [np.flatnonzero(bin_N == index) for index in np.unique(bin_N)]
    return tuple(
        ReliabilityBin(len(of), float(confidence_N[of].mean()), float(right_N[of].mean())) for of in members
    )


def surest(confidence_N: Floats, coverage: float = KEPT) -> Flags:
    """True for the most confident predictions, a share of `coverage`. Ties are kept, so it can be more.

    >>> surest(np.array([0.9, 0.2, 0.4, 0.8, 0.4]), coverage=0.6)
    array([ True, False,  True,  True,  True])
    """
    left_out = int((1 - coverage) * len(confidence_N) + 1e-9)
    kept_N: Flags = confidence_N >= np.sort(confidence_N)[left_out]
    return kept_N


def coverage_curve(
    confidence_N: Floats, right_N: NDArray[Any], points: int = 100
) -> tuple[CoveragePoint, ...]:
    """Accuracy of all predictions with at least a confidence, the highest confidence first."""
    confidence_K, group_N, size_K = np.unique(-confidence_N, return_inverse=True, return_counts=True)
    answers_K = np.cumsum(size_K)
    right_K = np.cumsum(np.bincount(group_N, weights=right_N))
    kept = np.unique(np.searchsorted(answers_K, np.linspace(1 / points, 1, points) * len(confidence_N)))
    points_K3 = np.stack([-confidence_K, answers_K / len(confidence_N), right_K / answers_K], axis=1)
    return tuple(CoveragePoint(*point) for point in points_K3[kept].tolist())


def fitted_thresholds(
    held_out: HeldOut, cluster_of_class: list[Cluster | None], precision: float
) -> Thresholds:
    """For each cluster, the lowest confidence from which on its predictions reach the precision.

    The precision of a cluster is shrunk toward that of all tracks, and this toward the mean confidence: see
    `credible`. So the threshold of a cluster with few artists is close to that of all tracks.
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
    """The figures of a sample, given its outliers and abstentions; None for a split by `rows`."""
    if held_out.split is SplitBy.ROWS:
        return None
    tagged_T = ~(outlier_T | abstained_T)
    return TagFigures(
        tagged=float(tagged_T.mean()),
        abstained=float((abstained_T & ~outlier_T).mean()),
        outlier=float(outlier_T.mean()),
        precision=float(held_out.right_T[tagged_T].mean()) if tagged_T.any() else None,
    )
