"""The `features` cache: one folder per fingerprint of the settings, to which runs only add rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import records, storage
from genremill.infra.readers import warehouse_reader
from genremill.infra.warehouse import Warehouse
from genremill.jobs.contracts import FEATURES, REJECTS
from genremill.jobs.features.set_record import (
    RECORD,
    VARIANT_KEYS,
    FeatureSetRecord,
    folder_of,
)


@dataclass(frozen=True, kw_only=True)
class CachedSet(FeatureSetRecord):
    """A feature set in the cache, with the runs that had added rows to it when it was looked up."""

    fingerprint: str
    folder: str
    runs: tuple[str, ...]
    """Ids of the runs, oldest first."""

    @property
    def state(self) -> str:
        """The fingerprint and the runs, as the record of a job's inputs holds them."""
        return f"{self.fingerprint}: {len(self.runs)} runs to {self.runs[-1] if self.runs else 'none'}"

    def read(self, spark: SparkSession) -> DataFrame:
        """The rows of `runs`, which may contain duplicates and rows of replaced audio, with their `run`."""
        return _read_runs(spark, self.folder, self.runs)

    def windows(self, spark: SparkSession, tracks: DataFrame) -> DataFrame:
        """(track_id, windows) of the `tracks` that have features; see `windows_by_track`."""
        return windows_by_track(tracks, self.read(spark))


def cached_sets(warehouse: Warehouse) -> list[CachedSet]:
    """All feature sets of a warehouse; those that `extract` used last come last."""
    sets = []
    for name in storage.folders(warehouse.path("features")):
        fingerprint = name.removeprefix("fingerprint=")
        folder = folder_of(warehouse, fingerprint)
        path = f"{folder}/{RECORD}"
        if fingerprint != name and storage.is_object(path):
            record = records.from_json(storage.read_bytes(path), FeatureSetRecord, path)
            runs = tuple(runs_of(warehouse, fingerprint))
            sets.append(CachedSet(**vars(record), fingerprint=fingerprint, folder=folder, runs=runs))
    return sorted(sets, key=_age)


def _age(cached: CachedSet) -> tuple[str, ...]:
    return cached.used_by, cached.used_at or cached.created_at, cached.fingerprint


def filled_sets(warehouse: Warehouse) -> list[CachedSet]:
    """The feature sets that have rows of original audio, oldest first."""
    return [cached for cached in cached_sets(warehouse) if cached.runs and cached.variant is None]


def variants(warehouse: Warehouse, of: CachedSet) -> dict[str, CachedSet]:
    """The feature sets of augmented audio that have rows and the same other settings as `of`, by variant."""
    found = {}
    for cached in cached_sets(warehouse):
        others = {name: value for name, value in cached.made_with.items() if name not in VARIANT_KEYS}
        if cached.runs and cached.name == f"{of.name}~{cached.variant}" and others == of.made_with:
            found[str(cached.variant)] = cached
    return found


def runs_of(warehouse: Warehouse, fingerprint: str) -> list[str]:
    """Ids of the runs that have added rows under a fingerprint, oldest first."""
    return warehouse.run_ids("features", f"fingerprint={fingerprint}")


def rejects(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    """The rejects of all runs."""
    folders = [warehouse.run_path("rejects", run_id) for run_id in warehouse.run_ids("rejects")]
    if not folders:
        return spark.createDataFrame([], REJECTS.schema)
    return warehouse_reader(spark).schema(REJECTS.schema).parquet(*folders)


def rows_of(spark: SparkSession, warehouse: Warehouse, fingerprint: str) -> DataFrame:
    """All rows that are under a fingerprint now, duplicates and replaced audio included, with their `run`."""
    return _read_runs(spark, folder_of(warehouse, fingerprint), runs_of(warehouse, fingerprint))


def _read_runs(spark: SparkSession, folder: str, runs: Sequence[str]) -> DataFrame:
    if not runs:
        return spark.createDataFrame([], FEATURES.schema).withColumn("run", F.lit(""))
    paths = [f"{folder}/run={run}" for run in runs]
    reader = warehouse_reader(spark).schema(FEATURES.schema)
    rows = reader.option("recursiveFileLookup", "true").parquet(*paths)
    return rows.select("*", F.regexp_extract("_metadata.file_path", r"/run=([^/]+)/", 1).alias("run"))


def windows_by_track(tracks: DataFrame, features: DataFrame) -> DataFrame:
    """(track_id, windows) of the `tracks` that have features; windows is array<array<float>>, in order.

    A track gets the rows of the newest run that has rows for its current audio_uri. If the audio was replaced
    by audio that cannot be read, these are the rows of the last audio that could be read.
    """
    rows = features.join(tracks.select("track_id", "audio_uri"), ["track_id", "audio_uri"], "left_semi")
    # A run may hold a window twice. Each window is taken once, then the windows of the newest run.
    by_run = rows.groupBy("track_id", "run", "window").agg(F.first("values").alias("values"))
    in_order = F.sort_array(F.collect_list(F.struct("window", "values")))
    by_run = by_run.groupBy("track_id", "run").agg(in_order.alias("rows"))
    newest_run = by_run.groupBy("track_id").agg(F.max_by("rows", "run").alias("rows"))
    return newest_run.select("track_id", F.transform("rows", lambda row: row["values"]).alias("windows"))
