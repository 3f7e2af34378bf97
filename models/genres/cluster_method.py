"""The ways of putting genres into clusters, by name."""

import enum
from dataclasses import dataclass


class Method(enum.StrEnum):
    """How genres are put into clusters."""

    CONSENSUS = "consensus"  # mean of Ward trees over resampled artists, profiles whitened
    KMEANS = "kmeans"  # this and the next two on MinMax-scaled means, as report A does
    SPECTRAL = "spectral"
    AFFINITY = "affinity"  # finds the number of clusters itself
    AGGLOMERATIVE = "agglomerative"  # Ward's linkage, on the same means
    MANUAL = "manual"  # given by a map

    @property
    def ranked(self) -> bool:
        """Whether profiles are to be of ranks, not raw values; categories are indicators in either case."""
        return self in (Method.CONSENSUS, Method.MANUAL)


@dataclass(frozen=True)
class Trial:
    """A number of clusters that was tried, and how good it is."""

    clusters: int
    silhouette: float | None
    stability: float
