"""Stability of the genre clusters by method: two fits on artist-disjoint halves of the Spotify table.

The figures are the mean adjusted Rand index over ten pairs of halves, and its ratio to the KMeans of report
A. Inputs are encoded as in the job. Affinity Propagation chooses its number of clusters, so it has no row.

Run: python -m tests.bench.bench_stability [dataset.csv]
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from genremill.models.encoders.table import TableEncoder
from genremill.models.features import FeatureSpec, Scaling
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.partitions import halves_agreement
from genremill.models.genres.profiles import Integers, ProfileSums, partial_sums
from genremill.udfs.profile_sums import encoded

DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TABLE = DATA / "spotify-tracks" / "dataset.csv"
CATEGORICAL = ("key", "time_signature")
NUMERIC = (
    *("popularity", "duration_ms", "explicit", "danceability", "energy", "loudness", "mode", "speechiness"),
    *("acousticness", "instrumentalness", "liveness", "valence", "tempo"),
)
METHODS = (Method.KMEANS, Method.SPECTRAL, Method.AGGLOMERATIVE, Method.CONSENSUS)
SIZES = (12, 16, 20, 24)
BUCKETS = 64
SEED = 2024  # no choice was made on these halves


def read_pairs(path: Path) -> pd.DataFrame:
    """Distinct (track, genre) pairs, with a track's highest popularity."""
    rows = pd.read_csv(path).query("duration_ms > 0")
    rows["popularity"] = rows.groupby("track_id")["popularity"].transform("max")
    return rows.drop_duplicates(["track_id", "track_genre"])


def artist_buckets(pairs: pd.DataFrame) -> Integers:
    """The bucket of each pair; first artists that share a recording (all features equal) share a bucket."""
    artist_N, names = pd.factorize(pairs["artists"].str.split(";").str[0].str.strip().str.casefold())
    features = [*NUMERIC[1:], *CATEGORICAL]
    recording_N = pairs.groupby(features, sort=False).ngroup().to_numpy() + len(names)
    size = int(recording_N.max()) + 1
    edges = coo_array((np.ones(len(pairs)), (artist_N, recording_N)), shape=(size, size))
    count, component = connected_components(edges, directed=False)
    bucket_of = np.random.default_rng(SEED).integers(BUCKETS, size=count)
    bucket_N: Integers = bucket_of[component[artist_N]]
    return bucket_N


def profile_sums(pairs: pd.DataFrame, scaling: Scaling, use_popularity: bool) -> ProfileSums:
    """Sums of the encoded inputs, by bucket of artists."""
    numeric = NUMERIC if use_popularity else NUMERIC[1:]
    specs = tuple(
        FeatureSpec(name, name in CATEGORICAL, name == "popularity") for name in (*numeric, *CATEGORICAL)
    )
    x_NF = pairs[[spec.name for spec in specs]].to_numpy(np.float32)
    genre_N, genres = pd.factorize(pairs["track_genre"], sort=True)
    x_ND = encoded(TableEncoder.fit(x_NF, specs, scaling), x_NF)
    return partial_sums(x_ND, genre_N, artist_buckets(pairs), tuple(genres), BUCKETS)


def main() -> None:
    """Prints the tables."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE
    if not path.exists():
        print(f"skipped: no Spotify table at {path}; give its path as the argument")
        return
    pairs = read_pairs(path)
    for use_popularity in (False, True):
        print(f"{len(pairs):,} pairs, {'with' if use_popularity else 'without'} popularity")
        print("method".ljust(16) + "".join(f"{f'k={size}':>8}{'ratio':>8}" for size in SIZES))
        report_a = np.ones(len(SIZES))
        for method in METHODS:
            scaling = Scaling.RANK if method.ranked else Scaling.STANDARD
            sums = profile_sums(pairs, scaling, use_popularity)
            score = halves_agreement(sums, method, SIZES, SEED)
            report_a = score if method is Method.KMEANS else report_a
            figures = zip(score, score / report_a, strict=True)
            print(f"{method:16}" + "".join(f"{ari:8.2f}{ratio:8.2f}" for ari, ratio in figures))


if __name__ == "__main__":
    main()
