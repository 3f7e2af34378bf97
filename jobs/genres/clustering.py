"""Clusters the genres of (track, genre) pairs and publishes the map, or stages it once tags are current."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import GENRE_MAP, GENRE_PROFILES
from genremill.jobs.genres.sources import BUCKETS, ClusterInputs, Config
from genremill.jobs.snapshot_details import GenreMapDetails
from genremill.models.encoders.table import TableEncoder, with_limits
from genremill.models.features import FeatureSpec, Scaling
from genremill.models.genres.clustering import Clustering, cluster_genres, manual_clusters
from genremill.models.genres.profiles import Floats, Integers, ProfileSums, genre_means, most_telling
from genremill.models.training import manifest
from genremill.udfs.arrow_rows import BatchFunction, matrix
from genremill.udfs.profile_sums import COLUMNS, SCHEMA, encoded, encoded_names, gather, make_sum

FIT_ROWS, FIT_VALUES = 200_000, 32_000_000
"""Limits of the sample on which the encoder is fitted: pairs, and values in them."""
MEANS_ROWS = 10_000
"""Pairs whose inputs are encoded at once for the means of the genres."""
MARGIN = 1.1
"""Pairs to sort, as a multiple of the sample: hashes vary; 10 % is 7 standard deviations of 5,000 pairs."""
MAX_VALUES = 128
"""Largest number of values in a profile: the sums grow with its square, to 50 MB at 128."""


def fit(spark: SparkSession, work: command.Run, inputs: ClusterInputs, pairs: DataFrame) -> command.Outcome:
    """Clusters the genres of the pairs, and publishes their profiles and the map; a dry run only clusters."""
    cfg, counts = inputs.settings, pairs.groupBy("genre").count().collect()
    genres, total = tuple(sorted(row["genre"] for row in counts)), sum(row["count"] for row in counts)
    sample = _sample(pairs, total, len(inputs.features.features))
    encoder, positions = _fit_encoder(sample, inputs.features.features, cfg)
    summed = make_sum(encoder, positions, genres, _means(sample, encoder, positions, genres))
    sums = _sums(spark, work, pairs, summed, genres, len(encoded_names(encoder)))
    if inputs.manual is None:
        clustering = cluster_genres(sums, cfg.method, cfg.clusters, cfg.seed)
    else:
        clustering = manual_clusters(sums, inputs.manual)
    _log(clustering)
    details = GenreMapDetails(
        method=clustering.method.value,
        clusters=len(clustering.names),
        genres=len(clustering.assignment),
        silhouette=clustering.silhouette,
        stability=clustering.stability,
        bootstrap_ari=clustering.bootstrap,
        trials=clustering.trials,
        unknown_genres=clustering.unknown,
        inputs=tuple(encoded_names(encoder)),
    )
    summary = records.to_builtins(details)
    del summary["inputs"]
    if work.dry_run:
        return command.Outcome(summary, f"dry run: {len(clustering.names)} clusters, nothing written")
    names, method = clustering.names, clustering.method.value
    map_rows = [(genre, number, names[number], method) for genre, number in clustering.assignment.items()]
    for contract, rows in ((GENRE_PROFILES, _profile_rows(sums)), (GENRE_MAP, map_rows)):
        df = spark.createDataFrame(rows, contract.schema).coalesce(1)
        snapshot = snapshots.write(work, contract, df, inputs.made_from, details)
        summary["current"] = work.warehouse.publish(contract.name, snapshot)
    if not summary["current"]:
        LOGGER.info("the genre map of run %s is %s", work.run_id, snapshots.STAGED)
    return command.Outcome(summary, _text(clustering))


def _sample(pairs: DataFrame, total: int, features: int) -> pa.Table:
    """Genre and values of some pairs, drawn by hash; raises `UsageError` if there are none."""
    rows = min(FIT_ROWS, FIT_VALUES // features)
    # The first rows in hash order have small hashes. Without this filter, each task would sort all its rows.
    near = pairs.where(F.col("order") < MARGIN * rows / total) if total > MARGIN * rows else pairs
    sample = near.orderBy("order").limit(rows).select("genre", "values").toArrow()
    if not len(sample):
        raise UsageError(
            "there are no genre profiles to cluster: no track of the train split has a genre and features. "
            "`ingest --columns.genre` names the column of genres; `score --model` works without genres"
        )
    return sample


def _fit_encoder(
    sample: pa.Table, features: tuple[FeatureSpec, ...], cfg: Config
) -> tuple[TableEncoder, tuple[int, ...]]:
    """An encoder fitted on a sample of the pairs, and the positions of the features that it encodes.

    With the protocol of the reports, `--fit-on all`, the features have no limits.
    """
    x_NF = matrix(sample.column("values")).astype(np.float32)
    positions = tuple(range(len(features)))
    if len(features) > MAX_VALUES:
        positions = most_telling(x_NF, sample.column("genre").to_numpy(), MAX_VALUES)
        text = "profiles use %d of %d values: those that separate the genres best"
        LOGGER.info(text, MAX_VALUES, len(features))
    x_NF, kept = x_NF[:, positions], tuple(features[position] for position in positions)
    if cfg.fit_on == "train":
        kept = with_limits(x_NF, kept)
    return TableEncoder.fit(x_NF, kept, Scaling.RANK if cfg.method.ranked else Scaling.STANDARD), positions


def _means(
    sample: pa.Table, encoder: TableEncoder, positions: tuple[int, ...], genres: tuple[str, ...]
) -> Floats:
    """The encoded inputs that stand for missing ones: means of each genre, shape (G, D)."""
    number = {genre: index for index, genre in enumerate(genres)}

    def encoded_parts() -> Iterator[tuple[Floats, Integers]]:
        for part in sample.to_batches(MEANS_ROWS):
            genre_N = np.array([number[genre] for genre in part.column("genre").to_pylist()])
            yield encoded(encoder, matrix(part.column("values")).astype(np.float32)[:, positions]), genre_N

    return genre_means(encoded_parts(), len(genres), len(encoded_names(encoder)))


def _sums(
    spark: SparkSession,
    work: command.Run,
    pairs: DataFrame,
    summed: BatchFunction,
    genres: tuple[str, ...],
    width: int,
) -> ProfileSums:
    """Sums by bucket of artists and genre.

    Pairs are partitioned by bucket, so that each bucket gives one row. The driver reads the rows from disk
    one by one: those of 10,000 genres would fill the heap of its JVM.
    """
    tasks = min(BUCKETS, 4 * spark.sparkContext.defaultParallelism)
    by_bucket = pairs.select("genre", "bucket", "values").repartition(tasks, "bucket")
    path = snapshots.write_scratch(work, by_bucket.mapInArrow(summed, SCHEMA), "sums")
    store, folder = storage.arrow(path)
    with manifest.storage_errors(path):
        dataset = ds.dataset(folder, filesystem=store, format="parquet")
        batches = dataset.to_batches(COLUMNS, batch_size=1, batch_readahead=0, fragment_readahead=0)
        rows = (tuple(row.values()) for batch in batches for row in batch.to_pylist())
        return gather(rows, genres, width, BUCKETS)


def _profile_rows(sums: ProfileSums) -> list[tuple[Any, ...]]:
    profiles = sums.profiles(sums.even_weights())
    columns = zip(profiles.genres, profiles.counts_G, profiles.means_GD, strict=True)
    return [(genre, int(count), means.tolist()) for genre, count, means in columns]


def _log(clustering: Clustering) -> None:
    """Logs why there are this many clusters."""
    for trial in clustering.trials if len(clustering.trials) > 1 else ():
        silhouette = "–" if trial.silhouette is None else f"{trial.silhouette:.3f}"
        LOGGER.info("%d clusters: stability %.3f, silhouette %s", trial.clusters, trial.stability, silhouette)
    if unknown := clustering.unknown:
        LOGGER.warning("the map lists %d genres that no track has: %s", len(unknown), ", ".join(unknown))
    if clustering.stability is not None:
        text = "%d clusters by %s: stability %.3f between halves of the artists, %.3f under resampling"
        clusters, method = len(clustering.names), clustering.method.value
        LOGGER.info(text, clusters, method, clustering.stability, clustering.bootstrap)


def _text(clustering: Clustering) -> str:
    sizes = Counter(clustering.assignment.values())
    lines = [f"genre_map: {len(clustering.assignment)} genres in {len(clustering.names)} clusters"]
    lines += [
        f"{number:>3}  {sizes[number]:>3} genres  {name}" for number, name in enumerate(clustering.names)
    ]
    return "\n".join(lines)
