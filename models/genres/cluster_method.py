"""The methods that cluster genres."""

import enum
from dataclasses import dataclass


class Method(enum.StrEnum):
    """How genres are clustered."""

    CONSENSUS = "consensus"  # mean of Ward trees over resampled artists, on whitened profiles
    KMEANS = "kmeans"  # k-means, spectral and affinity use MinMax-scaled means, as in report A
    SPECTRAL = "spectral"
    AFFINITY = "affinity"  # chooses the number of clusters itself
    AGGLOMERATIVE = "agglomerative"  # Ward's linkage, on the same means
    MANUAL = "manual"  # given by a map

    @property
    def ranked(self) -> bool:
        """Whether profiles use ranks instead of raw values. Categories are indicators in both cases."""
        return self in (Method.CONSENSUS, Method.MANUAL)


@dataclass(frozen=True)
class Trial:
    """A number of clusters that was tried, and its scores."""

    clusters: int
    silhouette: float | None
    stability: float
