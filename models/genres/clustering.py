"""Clusters of genres: how many, which, how sure, and what they are called.

Shape suffixes: G genres, H groups of genres, D encoded inputs.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from genremill.infra.errors import UsageError
from genremill.models.genres.cluster_method import Method, Trial
from genremill.models.genres.partitions import Partition, partitions, points
from genremill.models.genres.profiles import Floats, Profiles, ProfileSums
from genremill.models.genres.stability import bootstrap_agreement, halves_agreement

FEWEST, MOST = 12, 24
"""Numbers of clusters that are tried where none is asked for; fewer are always more stable, and say less."""
NAMED_AFTER = 3
MOST_POINTS = 1_000
"""Genres that are clustered one by one: consensus takes 40 s for so many, and an hour for 10,000."""


@dataclass(frozen=True)
class Clustering:
    """Genre to cluster id, and how far to trust it.

    Parameters
    ----------
    assignment : genre to id, genres sorted; 0 is the largest cluster, and of equals the first by name
    names : by id; a cluster is called after the genres nearest to its center
    silhouette : mean over genres, -1 to 1, in the space that the method clusters in, so not to be compared
        between methods of different inputs; None for one cluster, or as many clusters as genres; over
        groups of genres where these were clustered in place of too many genres
    stability : mean adjusted Rand index of fits on two artist-disjoint halves; None for a map
    bootstrap : mean adjusted Rand index of fits on resampled artists with this one; None for a map
    trials : the numbers of clusters that were tried, this one among them; none for a map
    unknown : genres of the map that the catalog lacks
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
    """The clusters a method finds; as many as asked for, else the most stable number (`candidates`)."""
    profiles = sums.profiles(sums.even_weights())
    points_GD = points(profiles, method)
    sizes = _sizes(method, clusters, len(profiles.genres))
    group_of = fine_groups(profiles, points_GD, max(MOST_POINTS, 2 * sizes[-1]), seed)
    gathered = sums.grouped(group_of)
    weights_B = gathered.even_weights()
    fits = partitions(gathered, weights_B, method, sizes, seed)
    stability = halves_agreement(gathered, method, sizes, seed).tolist()
    points_HD = points(gathered.profiles(weights_B), method)
    trials = tuple(
        Trial(len(set(fit.values())), silhouette(points_HD, fit), score)
        for fit, score in zip(fits, stability, strict=True)
    )
    best = int(np.argmax(stability))
    assignment = numbered({genre: fits[best][group_of[genre]] for genre in profiles.genres})
    return Clustering(
        method,
        assignment,
        cluster_names(profiles, points_GD, assignment),
        trials[best].silhouette,
        trials[best].stability,
        bootstrap_agreement(gathered, method, fits[best], sizes[best], seed),
        trials,
    )


def fine_groups(profiles: Profiles, points_GD: Floats, most: int, seed: int) -> dict[str, str]:
    """Genre to the group of genres that is clustered as one point; each is its own up to `most` genres.

    What follows takes time and memory with the square of the points. A group is called after its first genre.
    """
    if len(profiles.genres) <= most:
        return {genre: genre for genre in profiles.genres}
    found = KMeans(most, n_init=1, random_state=seed).fit(points_GD, sample_weight=profiles.counts_G)
    _, first_H, group_G = np.unique(found.labels_, return_index=True, return_inverse=True)
    return {
        genre: profiles.genres[first_H[group]] for genre, group in zip(profiles.genres, group_G, strict=True)
    }


def manual_clusters(sums: ProfileSums, cluster_of: Mapping[str, str]) -> Clustering:
    """The clusters of a map of genre to cluster name; genres it does not list are in none."""
    profiles = sums.profiles(sums.even_weights())
    listed_G = np.array([genre in cluster_of for genre in profiles.genres])
    named = {genre: cluster_of[genre] for genre in profiles.genres if genre in cluster_of}
    if not named:
        raise UsageError(
            f"--map lists none of the {len(profiles.genres)} genres, such as {profiles.genres[0]!r}"
        )
    assignment = numbered(named)
    name_of = {assignment[genre]: name for genre, name in named.items()}
    return Clustering(
        Method.MANUAL,
        assignment,
        tuple(name_of[number] for number in sorted(name_of)),
        silhouette(points(profiles, Method.MANUAL)[listed_G], assignment),
        unknown=tuple(sorted(cluster_of.keys() - set(profiles.genres))),
    )


def candidates(genres: int) -> range:
    """Numbers of clusters to choose from: 12 to 24, at most half the genres.

    >>> candidates(114), candidates(30), candidates(10), candidates(1)
    (range(12, 25), range(12, 16), range(5, 6), range(1, 2))
    """
    half = max(genres // 2, 1)
    return range(min(FEWEST, half), min(MOST, half) + 1)


def numbered(cluster_of: Mapping[str, Hashable]) -> Partition:
    """The same clusters numbered by falling size, of equals by the first genre's name; genres sorted.

    >>> numbered({"rock": 7, "pop": 3, "jazz": 7})
    {'jazz': 0, 'pop': 1, 'rock': 0}
    """
    members: dict[Hashable, list[str]] = {}
    for genre in sorted(cluster_of):
        members.setdefault(cluster_of[genre], []).append(genre)
    ordered = sorted(members.values(), key=lambda genres: (-len(genres), genres[0]))
    return dict(sorted((genre, number) for number, genres in enumerate(ordered) for genre in genres))


def silhouette(points_GD: Floats, partition: Partition) -> float | None:
    """Mean silhouette of the genres; None where their clusters are one, or as many as they are."""
    labels = list(partition.values())
    if not 1 < len(set(labels)) < len(labels):
        return None
    return float(silhouette_score(points_GD, labels))


def cluster_names(profiles: Profiles, points_GD: Floats, assignment: Partition) -> tuple[str, ...]:
    """Each cluster's genres nearest to its center (weighted by pairs), nearest first; no name comes twice."""
    label_G = np.array(list(assignment.values()))
    names: list[str] = []
    for number in range(label_G.max() + 1):
        members = np.flatnonzero(label_G == number)
        center_D = np.average(points_GD[members], axis=0, weights=profiles.counts_G[members])
        nearest = np.argsort(((points_GD[members] - center_D) ** 2).sum(axis=1), kind="stable")
        name = " / ".join(profiles.genres[at] for at in members[nearest[:NAMED_AFTER]])
        # Genres are in one cluster each, so only a genre that is itself called "a / b" can repeat a name.
        names.append(f"{name} ({number})" if name in names else name)
    return tuple(names)


def _sizes(method: Method, clusters: int | None, genres: int) -> range:
    if method is Method.AFFINITY:
        if clusters is not None:
            raise UsageError(f"--clusters {clusters}: affinity finds their number itself; expected none")
        return range(1, 2)
    if clusters is None:
        return candidates(genres)
    if not 1 <= clusters <= genres:
        raise UsageError(
            f"--clusters {clusters}: expected 1 to {genres}, the number of genres that have tracks"
        )
    return range(clusters, clusters + 1)
