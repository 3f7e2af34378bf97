"""Drift between two distributions: histograms, the population stability index, and heavy tails.

Shape suffixes: N values, E edges, B bins, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.models.ranges import Count

DECILES = np.linspace(0.1, 0.9, 9)
TAIL = 0.001
"""Share of the values below the first edge of a histogram, and above the last one."""
CHANCE = 1e-6
"""Probability with which a tail of an equal distribution is taken for a heavier one."""
MAJOR_SHIFT, MAJOR_TAIL = 0.25, 0.005
"""A tail that has gained this share of the values counts as much as a major shift of the distribution."""
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

    def shift(self, values_N: npt.NDArray[np.floating]) -> float:
        """How far other values have drifted from this histogram. NaN is left out.

        It is the population stability index, or the `tail_index` of the heavier tail if that is larger. The
        stability index alone hardly sees a few extreme values: 1 % of them raise it by less than 0.1.
        """
        known_N = values_N[~np.isnan(values_N)]
        counts_B = _counts(np.array(self.edges), known_N)
        totals = sum(self.counts), len(known_N)
        tails = (tail_index((self.counts[end], int(counts_B[end])), totals) for end in (0, -1))
        return max(stability_index(self.counts, counts_B.tolist()), *tails)


def tail_index(tail: tuple[int, int], totals: tuple[int, int]) -> float:
    """The index of a tail, from the number of its values and of all values, before and now.

    It is 0 unless chance explains the tail of now with a probability of less than `CHANCE`. For two samples
    of one continuous distribution, the number of new values beyond the (k + 1)-th largest earlier one has a
    negative hypergeometric distribution. The negative binomial distribution, which is used here, is wider.

    >>> tail_index((5, 15), (5000, 5000)), round(tail_index((5, 55), (5000, 5000)), 2)
    (0.0, 0.5)
    """
    from scipy.special import nbdtrc  # here: it takes long

    (before, now), (of_before, of_now) = tail, totals
    gained = now / max(of_now, 1) - before / max(of_before, 1)
    if gained <= 0 or not of_before or nbdtrc(now - 1, before + 1, of_before / (of_before + of_now)) > CHANCE:
        return 0.0
    return MAJOR_SHIFT * gained / MAJOR_TAIL


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


def _counts(edges_E: npt.NDArray[np.float64], values_N: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    below_N, up_to_N = (np.searchsorted(edges_E, values_N, side=side) for side in ("left", "right"))
    return np.bincount(below_N + up_to_N, minlength=2 * len(edges_E) + 1)
