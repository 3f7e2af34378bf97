"""How far a model's confidence can be trusted: calibration error, reliability, abstention.

Shape suffixes: N answers, B bins, K kept points.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genremill.models.held_out import Floats, Integers

BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of like confidence: how sure the model was, and how often it was right."""

    answers: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class CoveragePoint:
    """What share of all answers is at least this confident, and how often those are right."""

    confidence: float
    coverage: float
    accuracy: float


def equal_mass_bins(confidence_N: Floats, bins: int = BINS) -> Integers:
    """The bin of each answer, 0 the least confident; bins hold equally many answers, but equals share a bin.

    >>> equal_mass_bins(np.array([0.9, 0.1, 0.4, 0.8]), bins=2)
    array([1, 0, 0, 1])
    """
    edges_B = np.quantile(confidence_N, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges_B, confidence_N, side="left").astype(np.int64)


def expected_calibration_error(gap_RB: Floats, answers_R: Floats) -> Floats:
    """Mean over all answers of a bin's |confidence - accuracy|, from a bin's summed (confidence - right).

    Two answers of confidence .9, both right, and two of .7, of which one is right, are off by .1 and .2:

    >>> expected_calibration_error(np.array([0.9 * 2 - 2, 0.7 * 2 - 1]), np.array(4.0)).round(6)
    np.float64(0.15)
    """
    error_R: Floats = np.abs(gap_RB).sum(axis=-1) / answers_R
    return error_R


def reliability(confidence_N: Floats, right_N: NDArray[Any], bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Mean confidence and accuracy of each bin of equal mass, the least confident first.

    >>> reliability(np.array([0.9, 0.7, 0.9, 0.7]), np.array([1, 0, 1, 1]), bins=2)[0]
    ReliabilityBin(answers=2, confidence=0.7, accuracy=0.5)
    """
    bin_N = equal_mass_bins(confidence_N, bins)
    members = [bin_N == index for index in np.unique(bin_N)]
    return tuple(
        ReliabilityBin(int(of.sum()), float(confidence_N[of].mean()), float(right_N[of].mean()))
        for of in members
    )


def coverage_curve(
    confidence_N: Floats, right_N: NDArray[Any], points: int = 100
) -> tuple[CoveragePoint, ...]:
    """Accuracy of the answers above each confidence, from the surest to all of them.

    >>> curve = coverage_curve(np.array([0.9, 0.6, 0.6, 0.8]), np.array([1, 0, 0, 1]))
    >>> [(point.coverage, point.accuracy) for point in curve]
    [(0.25, 1.0), (0.5, 1.0), (1.0, 0.5)]
    """
    confidence_K, group_N, size_K = np.unique(-confidence_N, return_inverse=True, return_counts=True)
    answers_K = np.cumsum(size_K)
    right_K = np.cumsum(np.bincount(group_N, weights=right_N))
    kept = np.unique(np.searchsorted(answers_K, np.linspace(1 / points, 1, points) * len(confidence_N)))
    return tuple(
        CoveragePoint(
            confidence=float(-confidence_K[k]),
            coverage=float(answers_K[k] / len(confidence_N)),
            accuracy=float(right_K[k] / answers_K[k]),
        )
        for k in kept
    )
