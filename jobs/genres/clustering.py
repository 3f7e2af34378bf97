"""One clustering from its pairs to the published map."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import yaml
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs import cluster, command, snapshots
from genremill.jobs.contracts import GENRE_MAP, GENRE_PROFILES
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.snapshot_details import GenreMapDetails
from genremill.models.encoders.table import TableEncoder
from genremill.models.features import Scaling
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.clustering import Clustering, cluster_genres, manual_clusters
from genremill.models.genres.profiles import ProfileSums, most_telling
from genremill.models.genres.report_a_map import REPORT_A_MAP
from genremill.models.training import shards
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.profile_sums import SCHEMA, encoded_names, gathered, summer

FIT_ROWS, FIT_VALUES = 200_000, 32_000_000
"""Pairs, and values in them, that ranks and categories are fitted on at most, drawn by stable hash."""
MARGIN = 1.1
"""How many more than those are looked at: seven standard deviations of a draw of 5,000."""
MAX_VALUES = 128
"""Values that profiles are of at most: the sums grow with their square, to 50 MB at 128."""


def fit(
    spark: SparkSession,
    work: command.Run,
    cfg: cluster.Config,
    pairs: DataFrame,
    inputs: ModelInputs,
    made_from: dict[str, str],
) -> command.Outcome:
    """Clusters the genres of the pairs, and publishes their profiles and the map."""
    cluster_of = _read_map(cfg.map) if cfg.map else None
    counts = pairs.groupBy("genre").count().collect()
    genres = tuple(sorted(row["genre"] for row in counts))
    encoder, positions = _fit(pairs, sum(row["count"] for row in counts), inputs, cfg.method)
    sums = _sums(spark, work, pairs, genres, positions, encoder)
    if cluster_of is None:
        found = cluster_genres(sums, cfg.method, cfg.clusters, cfg.seed)
    else:
        found = manual_clusters(sums, cluster_of)
    _explain(found)
    summary = _summary(found)
    if work.dry_run:
        return command.Outcome(summary, f"dry run: {len(found.names)} clusters, nothing written")
    details = GenreMapDetails(**summary, inputs=tuple(encoded_names(encoder)))
    for contract, rows in ((GENRE_PROFILES, _profile_rows(sums)), (GENRE_MAP, _map_rows(found))):
        df = spark.createDataFrame(rows, contract.schema).coalesce(1)
        work.warehouse.publish(contract.name, snapshots.write(work, contract, df, made_from, details))
    return command.Outcome(summary, _text(found))


def _read_map(source: str) -> dict[str, str]:
    """Genre to cluster name, from a YAML file or the map of report A."""
    if source == "report-a":
        return REPORT_A_MAP
    uri = storage.absolute_uri(source)
    if not storage.is_object(uri):
        raise UsageError(f"--map {source}: no such file; expected YAML of `genre: cluster`, or report-a")
    try:
        found = yaml.safe_load(storage.read_bytes(uri))
    except yaml.YAMLError as err:
        raise UsageError(f"--map {source} is not plain YAML: {err}") from err
    if not isinstance(found, dict) or not all(isinstance(name, str | int) for name in found.values()):
        raise UsageError(f"--map {source}: expected YAML of `genre: cluster`, one line a genre")
    return {str(genre): str(name) for genre, name in found.items()}


def _fit(
    pairs: DataFrame, total: int, inputs: ModelInputs, method: Method
) -> tuple[TableEncoder, tuple[int, ...]]:
    """Ranks and categories, fitted on a sample of the pairs, and the places of the values they are of."""
    rows = min(FIT_ROWS, FIT_VALUES // len(inputs.features))
    # The first of an order by hash lie near its start: without this, each task would sort as many again.
    near = pairs.where(F.col("order") < MARGIN * rows / total) if total > MARGIN * rows else pairs
    sample = near.orderBy("order").limit(rows).select("genre", "values").toArrow()
    if not len(sample):
        raise UsageError(
            "no track to take a genre profile of: the train split has no labelled track with features; "
            "--columns.genre names the column of labels, and `score --model` tags without any"
        )
    x_NF = matrix(sample.column("values")).astype(np.float32)
    positions = tuple(range(len(inputs.features)))
    if len(positions) > MAX_VALUES:
        positions = most_telling(x_NF, sample.column("genre").to_numpy(), MAX_VALUES)
        LOGGER.info("profiles of the %d values of %d that tell most of the genre", MAX_VALUES, x_NF.shape[1])
    features = tuple(inputs.features[at] for at in positions)
    scaling = Scaling.RANK if method.ranked else Scaling.STANDARD
    return TableEncoder.fit(x_NF[:, positions], features, scaling), positions


def _sums(
    spark: SparkSession,
    work: command.Run,
    pairs: DataFrame,
    genres: tuple[str, ...],
    positions: tuple[int, ...],
    encoder: TableEncoder,
) -> ProfileSums:
    """Sums by bucket and genre. Pairs go to executors by bucket, so that each bucket gives one row.

    The rows are read from disk one by one, and not through the driver's JVM: of 10,000 genres they would fill
    its heap.
    """
    tasks = min(cluster.BUCKETS, 4 * spark.sparkContext.defaultParallelism)
    by_bucket = pairs.select("genre", "bucket", "values").repartition(tasks, "bucket")
    path = snapshots.write_scratch(
        work, by_bucket.mapInArrow(summer(encoder, positions, genres), SCHEMA), "sums"
    )
    store, folder = storage.arrow(path)
    with shards.storage_errors(path):
        batches = ds.dataset(folder, filesystem=store, format="parquet").to_batches(
            columns=["bucket", "counts", "sums", "squares"],
            batch_size=1,
            batch_readahead=0,
            fragment_readahead=0,
        )
        rows = (tuple(row.values()) for batch in batches for row in batch.to_pylist())
        return gathered(rows, genres, len(encoded_names(encoder)), cluster.BUCKETS)


def _profile_rows(sums: ProfileSums) -> list[tuple[Any, ...]]:
    profiles = sums.profiles(sums.even_weights())
    found = zip(profiles.genres, profiles.counts_G, profiles.means_GD, strict=True)
    return [(genre, int(count), means.tolist()) for genre, count, means in found]


def _map_rows(found: Clustering) -> list[tuple[Any, ...]]:
    return [
        (genre, number, found.names[number], found.method.value) for genre, number in found.assignment.items()
    ]


def _explain(found: Clustering) -> None:
    """Why there are as many clusters as there are."""
    for trial in found.trials if len(found.trials) > 1 else ():
        silhouette = "–" if trial.silhouette is None else f"{trial.silhouette:.3f}"
        LOGGER.info("%d clusters: stability %.3f, silhouette %s", trial.clusters, trial.stability, silhouette)
    if found.unknown:
        LOGGER.warning(
            "the map lists %d genres that the catalog lacks: %s", len(found.unknown), ", ".join(found.unknown)
        )
    if found.stability is not None:
        LOGGER.info(
            "%d clusters by %s: stability %.3f between halves of the artists, %.3f under resampling",
            *(len(found.names), found.method.value, found.stability, found.bootstrap),
        )


def _summary(found: Clustering) -> dict[str, Any]:
    return {
        "method": found.method.value,
        "clusters": len(found.names),
        "genres": len(found.assignment),
        "silhouette": found.silhouette,
        "stability": found.stability,
        "bootstrap_ari": found.bootstrap,
        "trials": [dataclasses.asdict(trial) for trial in found.trials],
        "unknown_genres": list(found.unknown),
    }


def _text(found: Clustering) -> str:
    sizes = [list(found.assignment.values()).count(number) for number in range(len(found.names))]
    lines = [
        f"{number:>3}  {size:>3} genres  {name}"
        for number, (size, name) in enumerate(zip(sizes, found.names, strict=True))
    ]
    return "\n".join([f"genre_map: {len(found.assignment)} genres in {len(found.names)} clusters", *lines])
