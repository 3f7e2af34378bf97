"""Partitions of genres by their profiles: the methods of report A, and a consensus over resampled artists.

Shape suffixes: G genres, D encoded inputs, B buckets of artists, R resamples.
"""

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import cophenet, cut_tree, linkage
from sklearn.cluster import AffinityPropagation, AgglomerativeClustering, KMeans, SpectralClustering

from genremill.infra.errors import UsageError
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.profiles import Floats, Integers, Profiles, ProfileSums

ROUNDS = 64
"""Number of resamples of a consensus; 128 are not more stable."""

Partition = dict[str, int]
"""Genre to the number of its cluster, in no particular order."""


def points(profiles: Profiles, method: Method) -> Floats:
    """The genres as the points that a method clusters, shape (G, D)."""
    return profiles.whitened() if method.ranked else profiles.scaled()


def partitions(
    sums: ProfileSums, weights_B: Floats, method: Method, sizes: Sequence[int], seed: int
) -> list[Partition]:
    """A partition of the genres for each number of clusters, at most as many clusters as genres with pairs.

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
        points_GD = points(profiles, method)
        labels = [_labels(points_GD, method, size, seed) for size in sizes]
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
    labels_G: Integers = model.fit_predict(points_GD)
    return labels_G


def consensus_tree(sums: ProfileSums, weights_B: Floats, seed: int) -> Floats:
    """The average-linkage tree of all genres over resampled artists, in the format of scipy's `linkage`.

    Co-association (Fred and Jain, "Combining multiple clusterings using evidence accumulation", 2005) over
    all cuts of Ward trees: the fewer clusters are left when a tree joins two genres, the larger their
    distance. The square root gives coarse cuts more weight than fine ones.
    """
    total = 0.0
    for drawn_B in resampled(weights_B, ROUNDS, np.random.default_rng((seed, 0))):
        tree = linkage(sums.profiles(drawn_B).whitened(), "ward")
        left = np.arange(len(tree), 0, -1)
        tree[:, 2] = np.sqrt(len(tree) + 1) - np.sqrt(left)
        total = total + cophenet(tree)
    mean_tree: Floats = linkage(total / ROUNDS, "average")
    return mean_tree


def resampled(weights_B: Floats, rounds: int, rng: np.random.Generator) -> Floats:
    """Weights of resampled buckets, shape (R, B): the Bayesian bootstrap (Rubin, 1981).

    The variance is that of drawing buckets with replacement, but every genre keeps all its pairs.
    """
    return weights_B * rng.exponential(size=(rounds, len(weights_B)))
