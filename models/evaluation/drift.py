"""How far a distribution has moved from another: histograms, and the population stability index.

Shape suffixes: N values, E edges, B bins, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

QUANTILES = 10
"""Parts of equal mass that a histogram's edges part its values in."""
PSEUDO_COUNT = 0.5
"""Added to each bin, so that an empty one does not make the index infinite."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values between edges, at them, and beyond.

    Bins lie in turn: below the first edge, at it, between the first and the second, at the second, and so on.
    Each edge is a bin of its own, so that a value which many share is not parted from its like, and what lies
    beyond all that was seen is told.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values_N: npt.NDArray[np.floating]) -> "Histogram":
        """A histogram whose edges are the values' own quantiles; NaN is left out.

        >>> Histogram.of(np.array([1.0, 1.0, 2.0]))
        Histogram(edges=(1.0, 2.0), counts=(0, 2, 0, 1, 0))
        """
        known_N = values_N[~np.isnan(values_N)]
        if not len(known_N):
            return cls((), (0,))
        edges_E = np.unique(np.quantile(known_N, np.linspace(0, 1, QUANTILES + 1), method="lower"))
        return cls(tuple(edges_E.tolist()), tuple(_counts(edges_E, known_N).tolist()))

    def shift(self, values_N: npt.NDArray[np.floating]) -> float:
        """Population stability index of other values against these."""
        known_N = values_N[~np.isnan(values_N)]
        return stability_index(self.counts, _counts(np.array(self.edges), known_N).tolist())


def histograms(values_NF: npt.NDArray[np.floating]) -> list[Histogram]:
    """A histogram of each column."""
    return [Histogram.of(values_N) for values_N in values_NF.T]


def stability_index(expected: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index: sum over the bins of (q - p) ln(q / p), with shares p expected and q found.

    Under .1 counts as no shift, over .25 as a major one [1]_. Nothing on either side is no shift.

    References
    ----------
    .. [1] N. Siddiqi, "Credit Risk Scorecards", Wiley, 2006.

    >>> round(stability_index([500, 500], [500, 500]), 3), round(stability_index([500, 500], [900, 100]), 2)
    (0.0, 0.88)
    """
    p_B, q_B = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    seen_B = (p_B > 0) | (q_B > 0)
    if not p_B.sum() or not q_B.sum():
        return 0.0
    p_B, q_B = p_B[seen_B] + PSEUDO_COUNT, q_B[seen_B] + PSEUDO_COUNT
    p_B, q_B = p_B / p_B.sum(), q_B / q_B.sum()
    return float(((q_B - p_B) * np.log(q_B / p_B)).sum())


def _counts(edges_E: npt.NDArray[np.float64], values_N: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    place_N = np.searchsorted(edges_E, values_N, side="left") + np.searchsorted(
        edges_E, values_N, side="right"
    )
    return np.bincount(place_N, minlength=2 * len(edges_E) + 1)
