"""Drift between two distributions: histograms, the population stability index, and far values.

Shape suffixes: N values, E edges, B bins, F features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.models.ranges import Count

DECILES = np.linspace(0.1, 0.9, 9)
TAIL = 0.001
"""Share of the values below the first edge of a histogram, and above the last one."""
FAR_WEIGHT = 50
"""Index of far values by their share: 0.5 % count as much as a major shift of the distribution."""
PSEUDO_COUNT = 0.5
"""Added to each bin, so that an empty bin does not make the index infinite."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values at the edges, between them and outside of them.

    The bins are: below the first edge, equal to it, between the first and the second, and so on.
    """

    edges: tuple[float, ...]
    counts: tuple[Count, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != 2 * len(self.edges) + 1 or sorted(set(self.edges)) != list(self.edges):
            raise ValueError(
                f"{len(self.counts)} counts of {len(self.edges)} edges: expected rising edges, "
                "and twice as many counts and one"
            )

    @classmethod
    def of(cls, values_N: npt.NDArray[np.floating]) -> "Histogram":
        """A histogram whose edges are deciles of the values and the limits of both tails. NaN is left out.

        At least one value is in each tail, so a single extreme value does not move its limit.

        >>> Histogram.of(np.array([0.0, 1.0, 1.0, 2.0]))
        Histogram(edges=(1.0,), counts=(1, 2, 1))
        """
        known_N = np.sort(values_N[~np.isnan(values_N)])
        if not len(known_N):
            return cls((), (0,))
        tail = min(1 + int(TAIL * len(known_N)), (len(known_N) - 1) // 2)
        inner_N = known_N[tail : len(known_N) - tail]
        deciles = np.quantile(inner_N, DECILES, method="lower")
        edges_E = np.unique([inner_N[0], *deciles, inner_N[-1]])
        return cls(tuple(edges_E.tolist()), tuple(_counts(edges_E, known_N).tolist()))

    @property
    def far(self) -> tuple[float, float]:
        """Limits below and above which a value is far from the values of this histogram.

        They are two ranges of the edges away. If no edge is negative, the upper limit is three ranges away on
        the scale log(1 + x): durations have long tails. If nearly all values are equal, no value is far.

        >>> Histogram((-8.0, 2.0), (0, 1, 4998, 1, 0)).far, Histogram((0.0, 9.0), (0, 1, 4998, 1, 0)).far
        ((-28.0, 22.0), (-18.0, 9999.0))
        """
        if len(self.edges) < 2:
            return -math.inf, math.inf
        first, last = self.edges[0], self.edges[-1]
        reach, ratio = 2 * (last - first), (1 + last) / (1 + max(first, 0))
        return first - reach, last + reach if first < 0 else (1 + last) * ratio * ratio * ratio - 1

    def shift(self, values_N: npt.NDArray[np.floating]) -> float:
        """How far other values have drifted from this histogram. NaN is left out.

        It is the population stability index, or the index of the far values (their number less three standard
        errors) if that is larger. 1 % of far values raise the stability index by less than 0.1.
        """
        known_N = values_N[~np.isnan(values_N)]
        counts_B, far_B = (_counts(np.array(edges), known_N) for edges in (self.edges, self.far))
        far = int(far_B[0] + far_B[-1])
        far_index = FAR_WEIGHT * (far - 3 * math.sqrt(far)) / max(len(known_N), 1)
        return max(far_index, stability_index(_with_tails(self.counts), _with_tails(counts_B.tolist())))


def histograms(values_NF: npt.NDArray[np.floating]) -> list[Histogram]:
    """A histogram of each column."""
    return [Histogram.of(values_N) for values_N in values_NF.T]


def stability_index(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Population stability index: sum over bins of (q - p) ln(q / p) for expected shares p, actual shares q.

    Below .1 there is no shift, above .25 a major one (N. Siddiqi, "Credit Risk Scorecards", Wiley, 2006).
    It is 0 if either side is empty.

    >>> round(stability_index([500, 500], [500, 500]), 3), round(stability_index([500, 500], [900, 100]), 2)
    (0.0, 0.88)
    """
    p_B, q_B = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    if not p_B.sum() or not q_B.sum():
        return 0.0
    seen_B = (p_B > 0) | (q_B > 0)
    p_B, q_B = p_B[seen_B] + PSEUDO_COUNT, q_B[seen_B] + PSEUDO_COUNT
    p_B, q_B = p_B / p_B.sum(), q_B / q_B.sum()
    return float(((q_B - p_B) * np.log(q_B / p_B)).sum())


def _with_tails(counts: Sequence[int]) -> Sequence[float]:
    """The counts, with at least the share `TAIL` at both ends: a growing catalog has a few new extremes."""
    return max(counts[0], TAIL * sum(counts)), *counts[1:-1], max(counts[-1], TAIL * sum(counts))


def _counts(edges_E: npt.NDArray[np.float64], values_N: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    below_N, up_to_N = (np.searchsorted(edges_E, values_N, side=side) for side in ("left", "right"))
    return np.bincount(below_N + up_to_N, minlength=2 * len(edges_E) + 1)
