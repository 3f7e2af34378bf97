"""Groups genres into clusters, by the profiles of their tracks.

Reads: `tracks`. Writes: `genre_profiles`, `genre_map` (current at the end).

    spark-submit jobs/cluster.py --warehouse file:///data/warehouse --method consensus
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import yaml
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import spark_session
from genremill.infra.version import code_version
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command
from genremill.jobs.contracts import GENRE_MAP, GENRE_PROFILES, Split, Table, schema_hash
from genremill.jobs.splits import unit_hash
from genremill.jobs.training_pairs import TableInputs, pairs_of, rule_of
from genremill.models.clustering import Clustering, cluster_genres, manual_clusters
from genremill.models.partitions import Method
from genremill.models.profiles import ProfileSums
from genremill.models.report_a_map import REPORT_A_MAP
from genremill.models.table_encoder import Scaling, TableEncoder
from genremill.udfs.profile_sums import SCHEMA, encoded_names, gathered, summer

BUCKETS = 64
"""Buckets of artists that stability is measured by resampling of."""
FIT_ROWS = 200_000
"""Pairs that ranks and categories are fitted on at most, drawn by stable hash."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How genres are grouped."""

    method: Method = Method.CONSENSUS
    """consensus stays most alike from night to night; manual takes a map."""
    inputs: str = "table"
    """Inputs that the profiles are of."""
    clusters: int | None = None
    """Number of clusters [the most stable from 12 to 24, at most half the genres]."""
    fit_on: Literal["train", "all"] = "train"
    """Pairs the profiles are taken over; all is the reports' protocol, and lets test rows in."""
    map: str | None = None
    """For manual: a YAML file of `genre: cluster`, or report-a; genres not listed are dropped."""
    use_popularity: bool = False
    """Let popularity into the profiles, as the reports do."""
    seed: int = 0
    """Fixes what the methods draw."""


def transform(tracks: DataFrame, snapshot: Snapshot, fit_on: str) -> DataFrame:
    """The pairs that profiles are taken over: genre, bucket of the artist, table_features."""
    pairs = pairs_of(tracks, rule_of(snapshot))
    if fit_on == "train":
        pairs = pairs.where(F.col("split") == Split.TRAIN.value)
    bucket = F.pmod(F.xxhash64("artist_id"), F.lit(BUCKETS)).cast("int")
    return pairs.where(F.size("table_features") > 0).select(
        "genre", bucket.alias("bucket"), "table_features", unit_hash(0, "track_id", "genre").alias("order")
    )


def inputs(warehouse: Warehouse, cfg: Config) -> dict[str, str]:
    """What the result depends on."""
    tracks = warehouse.require("tracks", "ingest --tracks …")
    made_from = {"tracks": tracks.run_id, "settings": json.dumps(dataclasses.asdict(cfg), sort_keys=True)}
    if cfg.map and cfg.map != "report-a":
        made_from["map"] = storage.inventory(storage.absolute_uri(cfg.map)).digest
    return made_from


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Sums profiles up in Spark, clusters them on the driver, and publishes the map."""
    _check(cfg)
    made_from = inputs(work.warehouse, cfg)
    cluster_of = _read_map(cfg.map) if cfg.map else None
    snapshot = work.warehouse.require("tracks", "ingest --tracks …")
    pairs = transform(spark.read.parquet(work.warehouse.path(snapshot.path)), snapshot, cfg.fit_on)
    table = TableInputs.of(snapshot, cfg.use_popularity)
    encoder = _fit(pairs, table, cfg.method)
    sums = _sums(pairs, table, encoder)
    if cluster_of is None:
        found = cluster_genres(sums, cfg.method, cfg.clusters, cfg.seed)
    else:
        found = manual_clusters(sums, cluster_of)
    _explain(found)
    summary = _summary(found)
    if work.dry_run:
        return command.Outcome(summary, f"dry run: {len(found.names)} clusters, nothing written")
    details = summary | {"inputs": encoded_names(encoder)}
    for contract, rows in ((GENRE_PROFILES, _profile_rows(sums)), (GENRE_MAP, _map_rows(found))):
        _publish(spark, work, contract, rows, made_from, details)
    return command.Outcome(summary, _text(found))


def _check(cfg: Config) -> None:
    if (cfg.method is Method.MANUAL) != (cfg.map is not None):
        raise UsageError("--method manual and --map FILE|report-a belong together; expected both or neither")
    if cfg.inputs != "table":
        raise UsageError(f"--inputs {cfg.inputs}: expected table, the one input there is")


def _read_map(source: str) -> dict[str, str]:
    """Genre to cluster name, from a YAML file or the map of report A."""
    if source == "report-a":
        return REPORT_A_MAP
    uri = storage.absolute_uri(source)
    if not storage.exists(uri):
        raise UsageError(f"--map {source}: no such file; expected YAML of `genre: cluster`, or report-a")
    try:
        found = yaml.safe_load(storage.read_bytes(uri))
    except yaml.YAMLError as err:
        raise UsageError(f"--map {source} is not plain YAML: {err}") from err
    if not isinstance(found, dict) or not all(isinstance(name, str | int) for name in found.values()):
        raise UsageError(f"--map {source}: expected YAML of `genre: cluster`, one line a genre")
    return {str(genre): str(name) for genre, name in found.items()}


def _fit(pairs: DataFrame, table: TableInputs, method: Method) -> TableEncoder:
    """Ranks and categories, fitted on a sample of the pairs."""
    sample = (
        pairs.select(table.column().alias("x"), "order")
        .orderBy("order")
        .limit(FIT_ROWS)
        .select("x")
        .toArrow()
    )
    if not len(sample):
        raise UsageError(
            "no track to take a genre profile of: the train split has no labelled track with features"
        )
    flat = sample.column("x").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    rows = flat.astype(np.float32).reshape(len(sample), -1)
    return TableEncoder.fit(rows, table.features, Scaling.RANK if method.ranked else Scaling.STANDARD)


def _sums(pairs: DataFrame, table: TableInputs, encoder: TableEncoder) -> ProfileSums:
    """Sums by bucket and genre. Pairs go to executors by bucket, so that each bucket gives one row."""
    genres = tuple(row["genre"] for row in pairs.select("genre").distinct().orderBy("genre").collect())
    tasks = min(BUCKETS, 4 * pairs.sparkSession.sparkContext.defaultParallelism)
    by_bucket = pairs.select("genre", "bucket", "table_features").repartition(tasks, "bucket")
    rows = by_bucket.mapInArrow(summer(encoder, table.positions, genres, BUCKETS), SCHEMA).collect()
    return gathered([tuple(row) for row in rows], genres, len(encoded_names(encoder)), BUCKETS)


def _profile_rows(sums: ProfileSums) -> list[tuple[Any, ...]]:
    profiles = sums.profiles(sums.even_weights())
    found = zip(profiles.genres, profiles.counts_G, profiles.means_GD, strict=True)
    return [(genre, int(count), means.tolist()) for genre, count, means in found]


def _map_rows(found: Clustering) -> list[tuple[Any, ...]]:
    return [
        (genre, number, found.names[number], found.method.value) for genre, number in found.assignment.items()
    ]


def _publish(
    spark: SparkSession,
    work: command.Run,
    contract: Table,
    rows: list[tuple[Any, ...]],
    made_from: dict[str, str],
    details: dict[str, Any],
) -> None:
    path = work.warehouse.run_path(contract.name, work.run_id)
    spark.createDataFrame(rows, contract.schema).coalesce(1).write.parquet(path)
    snapshot = Snapshot(
        run_id=work.run_id,
        path=f"{contract.name}/run={work.run_id}",
        rows=contract.checked_rows(spark, path),
        schema_hash=schema_hash(contract.schema),
        inputs=made_from,
        code_version=code_version(),
        written_at=storage.utc_now(),
        details=details,
    )
    work.warehouse.finish(contract.name, snapshot)
    work.warehouse.publish(contract.name, snapshot)


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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        with spark_session("genremill cluster") as spark:
            return run(spark, work, cfg)

    return command.main("cluster", __doc__, Config, job, argv)


if __name__ == "__main__":
    sys.exit(main())
