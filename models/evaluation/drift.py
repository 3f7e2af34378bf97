"""Drift between two distributions: histograms, and the population stability index.

Shape suffixes: N values, E edges, B bins, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.models.ranges import Count

QUANTILES = 10
"""Number of quantile intervals between the edges of a histogram."""
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
        """A histogram with quantiles of the values as edges. NaN is left out.

        >>> Histogram.of(np.array([1.0, 1.0, 2.0]))
        Histogram(edges=(1.0, 2.0), counts=(0, 2, 0, 1, 0))
        """
        known_N = values_N[~np.isnan(values_N)]
        if not len(known_N):
            return cls((), (0,))
        edges_E = np.unique(np.quantile(known_N, np.linspace(0, 1, QUANTILES + 1), method="lower"))
        return cls(tuple(edges_E.tolist()), tuple(_counts(edges_E, known_N).tolist()))

    def shift(self, values_N: npt.NDArray[np.floating]) -> float:
        """Population stability index of other values against this histogram."""
        known_N = values_N[~np.isnan(values_N)]
        return stability_index(self.counts, _counts(np.array(self.edges), known_N).tolist())


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
