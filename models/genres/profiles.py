"""Genre profiles from sums over (track, genre) pairs, separated by bucket of artists.

All pairs of an artist are in one bucket. So weights of the buckets define a resample of artists. Its
profiles are exact, and the rows are not read again.

A missing value is NaN and counts as the mean of its genre, so that it changes no mean. A covariance is
divided by the number of pairs that have both values.

Shape suffixes: N pairs, F numeric inputs, D encoded inputs, B buckets, G genres, H groups of genres.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_array

from genremill.infra.errors import UsageError
from genremill.models.covariance import positive

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

PRIOR_PAIRS = 3
"""Pairs with the overall mean that are added to each genre. On the Spotify table, clusters of one half of the
artists then explain .64 of the variance between genres in the other half; with 0 it is .60, with 20 .59."""


def with_spread(rank_NF: NDArray[Any], squared_F: NDArray[np.bool_]) -> Floats:
    """Ranks r in [0, 1] as 2r - 1, followed by the squares of the inputs in `squared_F`.

    The mean of the square separates genres at both ends of an input from genres in its middle, and clusters
    of the Spotify table are more stable (mean adjusted Rand index of halves of the artists .62 instead of
    .55). The square of popularity makes them less stable (.45 instead of .59).

    >>> with_spread(np.array([[0.0, 0.5], [0.5, 0.5], [0.75, 1.0]]), np.array([True, False])).tolist()
    [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.5, 1.0, 0.25]]
    """
    signed_NF = 2.0 * rank_NF - 1.0
    return np.hstack([signed_NF, signed_NF[:, squared_F] ** 2])


@dataclass(frozen=True, eq=False)
class Profiles:
    """The profile of each genre that has a pair, genres sorted.

    Parameters
    ----------
    counts_G : pairs of each genre, above 0; fractions if artists are weighted
    means_GD : mean of the encoded inputs over a genre's pairs
    within_DD : covariance of the encoded inputs about their genre's mean, pooled over genres
    """

    genres: tuple[str, ...]
    counts_G: Floats
    means_GD: Floats
    within_DD: Floats

    def scaled(self) -> Floats:
        """Means scaled to [0, 1] over the genres in each input, shape (G, D), as in report A."""
        from sklearn.preprocessing import minmax_scale  # slow to import, and not needed for sums

        return np.asarray(minmax_scale(self._offsets()[0]))

    def whitened(self) -> Floats:
        """Whitened means, shape (G, D): their Euclidean distance is the Mahalanobis distance within genres.

        D pairs of uncorrelated inputs are added to the covariance, so that few pairs or collinear inputs do
        not make it singular.
        """
        offset_GD, spread_D = self._offsets()
        pairs, prior = self.counts_G.sum(), max(np.isfinite(spread_D).sum(), 1)
        within_DD = self.within_DD / np.outer(spread_D, spread_D)
        within_DD = (pairs * within_DD + prior * np.eye(len(spread_D))) / (pairs + prior)
        shrink_G = self.counts_G / (self.counts_G + PRIOR_PAIRS)
        shrunk_DG = (offset_GD / spread_D).T * shrink_G
        return np.asarray(solve_triangular(cholesky(within_DD, lower=True), shrunk_DG, lower=True)).T

    def _offsets(self) -> tuple[Floats, Floats]:
        """Means minus the grand mean, (G, D), and deviation over all pairs, (D,): 0 and ∞ for a constant."""
        pairs = self.counts_G.sum()
        grand_D = self.counts_G @ self.means_GD / pairs
        offset_GD = self.means_GD - grand_D
        total_D = np.diag(self.within_DD) + self.counts_G @ offset_GD**2 / pairs
        varies_D = total_D > 1e-12 * grand_D**2  # constants have rounding errors
        return np.where(varies_D, offset_GD, 0.0), np.sqrt(np.where(varies_D, total_D, np.inf))


@dataclass(frozen=True, eq=False)
class ProfileSums:
    """Sums from which profiles are computed: 8 × B × (G + G D + 2 D²) bytes for any number of tracks.

    Parameters
    ----------
    counts_BG : pairs of each genre in each bucket
    sums_BGD : sums of the encoded inputs over these pairs
    squares_BDD : sums of the outer products of the inputs with themselves, over the pairs of all genres
    lacking_BDD : pairs of all genres that lack one of two inputs
    """

    genres: tuple[str, ...]
    counts_BG: Floats
    sums_BGD: Floats
    squares_BDD: Floats
    lacking_BDD: Floats

    def __add__(self, other: "ProfileSums") -> "ProfileSums":
        if self.genres != other.genres:
            raise ValueError(f"sums over the genres {self.genres} and {other.genres} do not add up")
        return ProfileSums(
            self.genres,
            self.counts_BG + other.counts_BG,
            self.sums_BGD + other.sums_BGD,
            self.squares_BDD + other.squares_BDD,
            self.lacking_BDD + other.lacking_BDD,
        )

    def of_bucket(self, bucket: int) -> "ProfileSums":
        """The sums of one bucket, as a copy that does not keep the others in memory."""
        parts = (self.counts_BG, self.sums_BGD, self.squares_BDD, self.lacking_BDD)
        return ProfileSums(self.genres, *(part[[bucket]] for part in parts))

    def grouped(self, group_of: Mapping[str, str]) -> "ProfileSums":
        """The sums over groups of genres instead of genres; genres without a group are left out."""
        groups = tuple(sorted(set(group_of.values())))
        row = {group: index for index, group in enumerate(groups)}
        listed = [(row[group_of[genre]], g) for g, genre in enumerate(self.genres) if genre in group_of]
        shape = len(groups), len(self.genres)
        members_HG = csr_array((np.ones(len(listed)), tuple(zip(*listed, strict=True))), shape=shape)
        return ProfileSums(
            groups,
            self.counts_BG @ members_HG.T,
            np.stack([members_HG @ sums_GD for sums_GD in self.sums_BGD]),
            self.squares_BDD,
            self.lacking_BDD,
        )

    def even_weights(self) -> Floats:
        """Equal weights (B,) of all artists: 1 for a bucket with a pair, else 0."""
        return np.where(self.counts_BG.any(axis=1), 1.0, 0.0)

    def profiles(self, weights_B: Floats) -> Profiles:
        """Profiles of the genres with pairs, weighted by bucket. Raises `UsageError` if there is no pair."""
        counts_G: Floats = weights_B @ self.counts_BG
        present = [g for g in sorted(range(len(self.genres)), key=self.genres.__getitem__) if counts_G[g]]
        if not present:
            raise UsageError("no genre profile can be computed: there are no (track, genre) pairs")
        counts_G = counts_G[present]
        sums_GD = np.tensordot(weights_B, self.sums_BGD, 1)[present]
        means_GD = sums_GD / counts_G[:, None]
        scatter_DD = np.tensordot(weights_B, self.squares_BDD, 1) - means_GD.T @ sums_GD
        lacking_DD = np.tensordot(weights_B, self.lacking_BDD, 1)
        known_DD = counts_G.sum() - lacking_DD
        within_DD = scatter_DD / np.where(known_DD > 0, known_DD, 1.0)
        within_DD = positive(within_DD) if lacking_DD.any() else within_DD
        return Profiles(tuple(self.genres[g] for g in present), counts_G, means_GD, within_DD)


def most_telling(x_NF: NDArray[Any], genre_N: NDArray[Any], count: int) -> tuple[int, ...]:
    """Indices of the inputs that separate genres best (F test). A missing value is replaced by the mean."""
    from sklearn.feature_selection import f_classif

    missing_NF = np.isnan(x_NF)
    if missing_NF.any():
        mean_F = np.where(missing_NF, 0, x_NF).sum(axis=0) / np.maximum((~missing_NF).sum(axis=0), 1)
        x_NF = np.where(missing_NF, mean_F, x_NF)
    varying = np.flatnonzero(np.ptp(x_NF, axis=0) > 0)
    with np.errstate(invalid="ignore", divide="ignore"):  # one genre, or values constant within each
        ratio = np.nan_to_num(f_classif(x_NF[:, varying], genre_N)[0])
    return tuple(np.sort(varying[np.argsort(-ratio, kind="stable")[:count]]).tolist())


def genre_means(parts: Iterable[tuple[Floats, Integers]], genres: int, width: int) -> Floats:
    """Mean of the known inputs of each genre, (G, D), over batches of encoded inputs and indices of genres.

    If none is known for a genre, it is the mean over all genres, or else 0.
    """
    sums_GD, known_GD = np.zeros((2, genres, width))
    for x_ND, genre_N in parts:
        known_ND = ~np.isnan(x_ND)
        members = csr_array((np.ones(len(x_ND)), (genre_N, np.arange(len(x_ND)))), shape=(genres, len(x_ND)))
        sums_GD += members @ np.where(known_ND, x_ND, 0)
        known_GD += members @ known_ND.astype(np.float64)
    overall_D = sums_GD.sum(axis=0) / np.maximum(known_GD.sum(axis=0), 1)
    return np.where(known_GD > 0, sums_GD / np.maximum(known_GD, 1), overall_D)


def partial_sums(
    x_ND: NDArray[Any],
    genre_N: Integers,
    bucket_N: Integers,
    genres: tuple[str, ...],
    buckets: int,
    means_GD: Floats | None = None,
) -> ProfileSums:
    """Sums over a batch of pairs: encoded inputs, index into `genres`, and bucket of the track's artist.

    `means_GD` replace missing inputs.
    """
    x_ND = x_ND.astype(np.float64)
    pairs, width = x_ND.shape
    lacking_BDD = np.zeros((buckets, width, width))
    known_ND = ~np.isnan(x_ND)
    if means_GD is not None and not known_ND.all():
        x_ND = np.where(known_ND, x_ND, means_GD[genre_N])
        for bucket in np.unique(bucket_N):
            own_ND = known_ND[bucket_N == bucket].astype(np.float64)
            lacking_BDD[bucket] = len(own_ND) - own_ND.T @ own_ND
    cells = buckets * len(genres)
    cell_N = bucket_N * len(genres) + genre_N
    members = csr_array((np.ones(pairs), (cell_N, np.arange(pairs))), shape=(cells, pairs))
    ends = np.bincount(bucket_N, minlength=buckets).cumsum()
    by_bucket = np.split(x_ND[np.argsort(bucket_N, kind="stable")], ends[:-1])
    return ProfileSums(
        genres,
        np.bincount(cell_N, minlength=cells).reshape(buckets, -1).astype(np.float64),
        (members @ x_ND).reshape(buckets, -1, width),
        np.stack([rows_ND.T @ rows_ND for rows_ND in by_bucket]),
        lacking_BDD,
    )
