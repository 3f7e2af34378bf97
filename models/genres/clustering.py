"""Clusters of genres: their number, members, stability and names.

Shape suffixes: G genres, H groups of genres, D encoded inputs.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from genremill.infra.errors import UsageError
from genremill.models.genres.cluster_method import Method, Trial
from genremill.models.genres.partitions import (
    Partition,
    bootstrap_agreement,
    halves_agreement,
    partitions,
    points,
)
from genremill.models.genres.profiles import Floats, Profiles, ProfileSums

FEWEST, MOST = 12, 24
"""Numbers of clusters to try if none is given. Fewer clusters are more stable, but less informative."""
NAMED_AFTER = 3
MOST_POINTS = 1_000
"""Most genres that are clustered individually: consensus takes 40 s for these, and an hour for 10,000."""


@dataclass(frozen=True)
class Clustering:
    """Genre to cluster id, and how stable the clusters are.

    Parameters
    ----------
    assignment : genre to id, genres sorted; 0 is the largest cluster, ties are sorted by name
    names : by id; the genres nearest to the center of the cluster
    silhouette : mean over genres (or over groups of genres, if there are too many genres), -1 to 1. Do not
        compare it between methods with different inputs. None for one cluster, or one cluster per genre
    stability : mean adjusted Rand index of fits on two artist-disjoint halves; None for a map
    bootstrap : mean adjusted Rand index between this fit and fits on resampled artists; None for a map
    trials : all numbers of clusters that were tried; empty for a map
    unknown : genres of the map that are not in the catalog
    """

    method: Method
    assignment: dict[str, int]
    names: tuple[str, ...]
    silhouette: float | None
    stability: float | None = None
    bootstrap: float | None = None
    trials: tuple[Trial, ...] = ()
    unknown: tuple[str, ...] = ()


def cluster_genres(
    sums: ProfileSums, method: Method, clusters: int | None = None, seed: int = 0
) -> Clustering:
    """Clusters genres into the given number of clusters, or the most stable number of `candidates`."""
    profiles = sums.profiles(sums.even_weights())
    points_GD = points(profiles, method)
    sizes = _sizes(method, clusters, len(profiles.genres))
    group_of = fine_groups(profiles, points_GD, max(MOST_POINTS, 2 * sizes[-1]), seed)
    gathered = sums.grouped(group_of)
    weights_B = gathered.even_weights()
    fits = partitions(gathered, weights_B, method, sizes, seed)
    stability_K = halves_agreement(gathered, method, sizes, seed)
    points_HD = points(gathered.profiles(weights_B), method)
    trials = tuple(
        Trial(len(set(fit.values())), silhouette(points_HD, fit), score)
        for fit, score in zip(fits, stability_K.tolist(), strict=True)
    )
    best = stability_K.argmax()
    assignment = numbered({genre: fits[best][group_of[genre]] for genre in profiles.genres})
    names = cluster_names(profiles, points_GD, assignment)
    bootstrap = bootstrap_agreement(gathered, method, fits[best], sizes[best], seed)
    return Clustering(
        method, assignment, names, trials[best].silhouette, trials[best].stability, bootstrap, trials
    )


def fine_groups(profiles: Profiles, points_GD: Floats, most: int, seed: int) -> dict[str, str]:
    """Genre to the first genre of its group; a group is clustered as one point, to save time and memory.

    If there are at most `most` genres, each is a group.
    """
    if len(profiles.genres) <= most:
        return {genre: genre for genre in profiles.genres}
    model = KMeans(most, n_init=1, random_state=seed).fit(points_GD, sample_weight=profiles.counts_G)
    _, first_H, group_G = np.unique(model.labels_, return_index=True, return_inverse=True)
    return {genre: profiles.genres[g] for genre, g in zip(profiles.genres, first_H[group_G], strict=True)}


def manual_clusters(sums: ProfileSums, cluster_of: Mapping[str, str]) -> Clustering:
    """The clusters of the genres in a map of genre to cluster name. Raises `UsageError` if none is in it."""
    profiles = sums.profiles(sums.even_weights())
    listed_G = [genre in cluster_of for genre in profiles.genres]
    if not any(listed_G):
        raise UsageError(
            f"--map lists none of the {len(profiles.genres)} genres, such as {profiles.genres[0]!r}"
        )
    assignment = numbered({genre: cluster_of[genre] for genre in profiles.genres if genre in cluster_of})
    name_of = {number: cluster_of[genre] for genre, number in assignment.items()}
    names = tuple(name_of[number] for number in range(len(name_of)))
    unknown = tuple(sorted(cluster_of.keys() - set(profiles.genres)))
    score = silhouette(points(profiles, Method.MANUAL)[listed_G], assignment)
    return Clustering(Method.MANUAL, assignment, names, score, unknown=unknown)


def candidates(genres: int) -> range:
    """Numbers of clusters to try: 12 to 24, at most half the number of genres.

    >>> candidates(114), candidates(30), candidates(10), candidates(1)
    (range(12, 25), range(12, 16), range(5, 6), range(1, 2))
    """
    half = max(genres // 2, 1)
    return range(min(FEWEST, half), min(MOST, half) + 1)


def numbered(cluster_of: Mapping[str, Hashable]) -> Partition:
    """The same clusters, numbered by descending size, then by the first genre's name. Genres are sorted."""
    members: dict[Hashable, list[str]] = {}
    for genre in sorted(cluster_of):
        members.setdefault(cluster_of[genre], []).append(genre)
    ordered = sorted(members.values(), key=lambda genres: (-len(genres), genres[0]))
    return dict(sorted((genre, number) for number, genres in enumerate(ordered) for genre in genres))


def silhouette(points_GD: Floats, partition: Partition) -> float | None:
    """Mean silhouette of the genres; None for one cluster, or one cluster per genre."""
    labels = list(partition.values())
    several = 1 < len(set(labels)) < len(labels)
    return float(silhouette_score(points_GD, labels)) if several else None


def cluster_names(profiles: Profiles, points_GD: Floats, assignment: Partition) -> tuple[str, ...]:
    """A unique name for each cluster: the genres nearest to its center (weighted by pairs), nearest first."""
    label_G = np.array(list(assignment.values()))
    names: list[str] = []
    for number in range(label_G.max() + 1):
        members = np.flatnonzero(label_G == number)
        center_D = np.average(points_GD[members], axis=0, weights=profiles.counts_G[members])
        nearest = np.argsort(((points_GD[members] - center_D) ** 2).sum(axis=1), kind="stable")
        name = " / ".join(profiles.genres[index] for index in members[nearest[:NAMED_AFTER]])
        # Clusters are disjoint, so names can only repeat if a genre is itself called "a / b".
        names.append(f"{name} ({number})" if name in names else name)
    return tuple(names)


def _sizes(method: Method, clusters: int | None, genres: int) -> range:
    if method is Method.AFFINITY:
        if clusters is not None:
            raise UsageError(f"--clusters {clusters}: affinity chooses the number itself; leave the flag out")
        return range(1, 2)
    if clusters is None:
        return candidates(genres)
    if not 1 <= clusters <= genres:
        raise UsageError(f"--clusters {clusters}: expected 1 to {genres}, the number of genres with tracks")
    return range(clusters, clusters + 1)
