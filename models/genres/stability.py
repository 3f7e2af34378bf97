"""Stability of a partition of genres under other artists: adjusted Rand indices (1 equal, 0 random).

Shape suffixes: B buckets of artists, K numbers of clusters.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.metrics import adjusted_rand_score

from genremill.models.genres.cluster_method import Method
from genremill.models.genres.partitions import Partition, partitions, resampled
from genremill.models.genres.profiles import Floats, ProfileSums

HALVINGS = 10
RESAMPLES = 10


def agreement(first: Partition, second: Partition) -> float:
    """Adjusted Rand index over common genres (Hubert and Arabie, 1985); 0 if there are fewer than two.

    >>> agreement({"rock": 0, "pop": 0, "jazz": 1}, {"rock": 5, "pop": 5, "jazz": 2, "folk": 2})
    1.0
    """
    genres = sorted(first.keys() & second.keys())
    if len(genres) < 2:
        return 0.0
    return float(adjusted_rand_score([first[genre] for genre in genres], [second[genre] for genre in genres]))


def halves(sums: ProfileSums, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Weights (B,) of two halves of the buckets, without common artists; `HALVINGS` times."""
    rng = np.random.default_rng((seed, 1))
    held = np.flatnonzero(sums.even_weights())
    for _ in range(HALVINGS):
        first_B = np.zeros(len(sums.counts_BG))
        first_B[rng.permutation(held)[: len(held) // 2]] = 1.0
        yield first_B, sums.even_weights() - first_B


def halves_agreement(sums: ProfileSums, method: Method, sizes: Sequence[int], seed: int) -> Floats:
    """Mean agreement, shape (K,), of the partitions fitted on two artist-disjoint halves.

    This is stricter than comparing samples of 80 %, which share most rows. All 0 for fewer than two buckets.
    """
    if sums.even_weights().sum() < 2:
        return np.zeros(len(sizes))
    scores = [
        [
            agreement(first, second)
            for first, second in zip(
                partitions(sums, first_B, method, sizes, seed),
                partitions(sums, second_B, method, sizes, seed),
                strict=True,
            )
        ]
        for first_B, second_B in halves(sums, seed)
    ]
    mean_K: Floats = np.mean(scores, axis=0)
    return mean_K


def bootstrap_agreement(sums: ProfileSums, method: Method, fitted: Partition, size: int, seed: int) -> float:
    """Mean agreement of a partition of all artists with partitions of resampled artists."""
    drawn_RB = resampled(sums.even_weights(), RESAMPLES, np.random.default_rng((seed, 2)))
    return float(
        np.mean(
            [agreement(fitted, partitions(sums, drawn_B, method, [size], seed)[0]) for drawn_B in drawn_RB]
        )
    )
