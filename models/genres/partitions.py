"""Partitions of genres by their profiles, and their stability on other samples of artists.

The methods are those of report A and a consensus over resampled artists. Stability is the adjusted Rand index
of two partitions: 1 for equal ones, 0 for random ones.

Shape suffixes: G genres, D encoded inputs, B buckets of artists, R resamples, K numbers of clusters.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.cluster.hierarchy import cophenet, cut_tree, linkage
from sklearn.cluster import AffinityPropagation, AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score

from genremill.infra.errors import UsageError
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.profiles import Floats, Integers, Profiles, ProfileSums

ROUNDS = 64
"""Number of resamples of a consensus; 128 are not more stable."""
HALVINGS = RESAMPLES = 10
"""Number of pairs of halves, and of resamples, on which the stability of a partition is measured."""

Partition = dict[str, int]
"""Genre to the number of its cluster, in no particular order."""


def points(profiles: Profiles, method: Method) -> Floats:
    """The genres as the points that a method clusters, shape (G, D)."""
    return profiles.whitened() if method.ranked else profiles.scaled()


def partitions(
    sums: ProfileSums, weights_B: Floats, method: Method, sizes: Sequence[int], seed: int
) -> list[Partition]:
    """A partition of the genres for each number of clusters, which is reduced to the number of genres.

    Affinity Propagation ignores the number.
    """
    profiles = sums.profiles(weights_B)
    sizes = [min(size, len(profiles.genres)) for size in sizes]
    if len(profiles.genres) == 1:
        return [{profiles.genres[0]: 0} for _ in sizes]
    if method is Method.CONSENSUS:
        tree = consensus_tree(sums, weights_B, seed)
        labels = [cut_tree(tree, size)[:, 0] for size in sizes]
    else:
        labels = [_labels(points(profiles, method), method, size, seed) for size in sizes]
    return [dict(zip(profiles.genres, label_G.tolist(), strict=True)) for label_G in labels]


def _labels(points_GD: Floats, method: Method, size: int, seed: int) -> Integers:
    match method:
        case Method.KMEANS:
            model = KMeans(size, random_state=seed)
        case Method.SPECTRAL:
            model = SpectralClustering(size, random_state=seed)
        case Method.AGGLOMERATIVE:
            model = AgglomerativeClustering(size)
        case Method.AFFINITY:
            model = AffinityPropagation(random_state=seed)
        case _:
            raise UsageError(f"--method {method} cannot fit clusters: expected --map")
    return np.asarray(model.fit_predict(points_GD))


def consensus_tree(sums: ProfileSums, weights_B: Floats, seed: int) -> Floats:
    """The average-linkage tree of all genres over resampled artists, in the format of scipy's `linkage`.

    Co-association (Fred and Jain, "Combining multiple clusterings using evidence accumulation", 2005): the
    fewer clusters are left when a Ward tree joins two genres, the larger their distance. The square root
    gives coarse cuts more weight than fine ones.
    """
    total = 0.0
    for drawn_B in resampled(weights_B, ROUNDS, np.random.default_rng((seed, 0))):
        tree = linkage(sums.profiles(drawn_B).whitened(), "ward")
        left = np.arange(len(tree), 0, -1)
        tree[:, 2] = np.sqrt(len(tree) + 1) - np.sqrt(left)
        total = total + cophenet(tree)
    return np.asarray(linkage(total / ROUNDS, "average"))


def resampled(weights_B: Floats, rounds: int, rng: np.random.Generator) -> Floats:
    """Weights of resampled buckets, (R, B): the Bayesian bootstrap (Rubin, 1981). No pair is dropped."""
    return weights_B * rng.exponential(size=(rounds, len(weights_B)))


def agreement(first: Partition, second: Partition) -> float:
    """Adjusted Rand index over common genres (Hubert and Arabie, 1985); 0 if there are fewer than two."""
    genres = sorted(first.keys() & second.keys())
    if len(genres) < 2:
        return 0.0
    return float(adjusted_rand_score([first[genre] for genre in genres], [second[genre] for genre in genres]))


def halves(sums: ProfileSums, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Weights (B,) of two halves of the buckets, without common artists; `HALVINGS` times."""
    rng = np.random.default_rng((seed, 1))
    weights_B = sums.even_weights()
    held = np.flatnonzero(weights_B)
    for _ in range(HALVINGS):
        first_B = np.zeros(len(weights_B))
        first_B[rng.permutation(held)[: len(held) // 2]] = 1.0
        yield first_B, weights_B - first_B


def halves_agreement(sums: ProfileSums, method: Method, sizes: Sequence[int], seed: int) -> Floats:
    """Mean agreement, (K,), of the partitions fitted on two artist-disjoint halves; 0 for a single bucket."""
    if sums.even_weights().sum() < 2:
        return np.zeros(len(sizes))
    scores = []
    for halves_B in halves(sums, seed):
        first, second = (partitions(sums, half_B, method, sizes, seed) for half_B in halves_B)
        scores.append([agreement(*pair) for pair in zip(first, second, strict=True)])
    mean_K: Floats = np.mean(scores, axis=0)
    return mean_K


def bootstrap_agreement(sums: ProfileSums, method: Method, fitted: Partition, size: int, seed: int) -> float:
    """Mean agreement of a partition of all artists with partitions of resampled artists."""
    drawn_RB = resampled(sums.even_weights(), RESAMPLES, np.random.default_rng((seed, 2)))
    refitted = [partitions(sums, drawn_B, method, [size], seed)[0] for drawn_B in drawn_RB]
    return float(np.mean([agreement(fitted, other) for other in refitted]))
