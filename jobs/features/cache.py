"""The `features` cache: one folder per fingerprint of the settings, to which runs only add rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.contracts import FEATURES, REJECTS

RECORD = "_feature_set.json"
VARIANT_KEYS = ("augment", "augment_revision")
"""Settings that only the feature sets of augmented audio have."""


@dataclass(frozen=True)
class CachedSet:
    """A feature set in the cache, with the runs that had added rows to it when it was looked up."""

    name: str
    fingerprint: str
    value_names: tuple[str, ...]
    used_at: str
    """When `extract` last switched to these settings from other settings."""
    described: dict[str, Any]
    """The content of `_feature_set.json`: settings, versions, shape, names of the values."""
    folder: str
    runs: tuple[str, ...]
    """Ids of the runs, oldest first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row's values: (values,), (steps, channels) or (channels, height, width)."""
        return tuple(self.described["shape"])

    @property
    def is_vector(self) -> bool:
        """Whether each value is a feature with a name."""
        return len(self.shape) == 1

    @property
    def variant(self) -> str | None:
        """How the audio was augmented; None for the original audio."""
        variant: str | None = self.described.get("settings", {}).get("augment")
        return variant

    @property
    def state(self) -> str:
        """The fingerprint and the runs, as the record of a job's inputs holds them."""
        return f"{self.fingerprint}: {len(self.runs)} runs to {self.runs[-1] if self.runs else 'none'}"

    def read(self, spark: SparkSession) -> DataFrame:
        """The rows of `runs`, which may contain duplicates and rows of replaced audio, with their `run`."""
        return _read_runs(spark, self.folder, self.runs)


def folder_of(warehouse: Warehouse, fingerprint: str) -> str:
    """The folder of the runs of one fingerprint."""
    return warehouse.path("features", f"fingerprint={fingerprint}")


def cached_sets(warehouse: Warehouse) -> list[CachedSet]:
    """All feature sets of a warehouse; those that `extract` used last come last."""
    sets = []
    for name in storage.folders(warehouse.path("features")):
        fingerprint = name.removeprefix("fingerprint=")
        folder = folder_of(warehouse, fingerprint)
        record = f"{folder}/{RECORD}"
        if fingerprint == name or not storage.is_object(record):
            continue
        try:
            described = json.loads(storage.read_bytes(record))
            if not is_shape(described["shape"], described["values"]):
                raise ValueError(f"shape {described['shape']} of {len(described['values'])} named values")
            cached = CachedSet(
                name=described["name"],
                fingerprint=fingerprint,
                value_names=tuple(described["values"]),
                used_at=described.get("used_at", described["created_at"]),
                described=described,
                folder=folder,
                runs=tuple(runs_of(warehouse, fingerprint)),
            )
        except (ValueError, KeyError, TypeError) as err:
            raise StorageError(f"{record} is not the record of a feature set: {err!r}") from err
        sets.append(cached)
    return sorted(sets, key=lambda cached: (cached.used_at, cached.fingerprint))


def is_shape(shape: list[Any], values: list[Any]) -> bool:
    """Whether this is the shape of a vector with these value names, of a sequence or of an image.

    >>> is_shape([2], ["rms", "zcr"]), is_shape([2], ["rms"]), is_shape([512, 24], [])
    (True, False, True)
    """
    sizes_are_whole = all(type(size) is int and size >= 1 for size in shape)
    return sizes_are_whole and (shape == [len(values)] if len(shape) == 1 else len(shape) in (2, 3))


def filled_sets(warehouse: Warehouse) -> list[CachedSet]:
    """The feature sets that have rows of original audio, oldest first."""
    return [cached for cached in cached_sets(warehouse) if cached.runs and cached.variant is None]


def variants(warehouse: Warehouse, of: CachedSet) -> dict[str, CachedSet]:
    """The feature sets of augmented audio that have rows and the same other settings as `of`, by variant."""
    return {
        cached.variant: cached
        for cached in cached_sets(warehouse)
        if cached.runs
        and cached.variant is not None
        and cached.name == f"{of.name}~{cached.variant}"
        and _settings_without_variant(cached) == _settings_without_variant(of)
    }


def _settings_without_variant(cached: CachedSet) -> dict[str, Any]:
    """Everything that determines the values of a set, except the variant."""
    settings = {key: value for key, value in cached.described["settings"].items() if key not in VARIANT_KEYS}
    return {"settings": settings} | {key: cached.described.get(key) for key in ("revision", "versions")}


def newest(warehouse: Warehouse, name: str) -> CachedSet:
    """The newest fingerprint of a feature set; raises if the warehouse has no rows of it."""
    return newest_of(warehouse, filled_sets(warehouse), name)


def newest_of(warehouse: Warehouse, sets: Sequence[CachedSet], name: str) -> CachedSet:
    """The newest fingerprint of a feature set among `sets`, which are all that the warehouse has rows of."""
    named = [cached for cached in sets if cached.name == name]
    if not named:
        names = ", ".join(sorted({cached.name for cached in sets})) or "none"
        raise UsageError(
            f"{warehouse.uri} has no features of the set {name!r}; it has: {names}. "
            f"Run `genremill extract --features {name}`"
        )
    return named[-1]


def runs_of(warehouse: Warehouse, fingerprint: str) -> list[str]:
    """Ids of the runs that have added rows under a fingerprint, oldest first."""
    return warehouse.run_ids("features", f"fingerprint={fingerprint}")


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The differences between the records of two fingerprints, as `name: before → now`.

    >>> differences({"settings": {"sr": 22050, "n_fft": 2048}}, {"settings": {"sr": 44100, "n_fft": 2048}})
    ['sr: 22050 → 44100']
    """
    flat_before, flat_now = (
        {"revision": record.get("revision")} | record.get("settings", {}) | record.get("versions", {})
        for record in (before, now)
    )
    return [
        f"{key}: {flat_before.get(key)} → {flat_now.get(key)}"
        for key in sorted(flat_before | flat_now)
        if flat_before.get(key) != flat_now.get(key)
    ]


def rejects(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    """The rejects of all runs."""
    folders = [warehouse.run_path("rejects", run_id) for run_id in warehouse.run_ids("rejects")]
    if not folders:
        return spark.createDataFrame([], REJECTS.schema)
    return spark.read.schema(REJECTS.schema).parquet(*folders)


def rows_of(spark: SparkSession, warehouse: Warehouse, fingerprint: str) -> DataFrame:
    """All rows that are under a fingerprint now, duplicates and replaced audio included, with their `run`."""
    return _read_runs(spark, folder_of(warehouse, fingerprint), runs_of(warehouse, fingerprint))


def _read_runs(spark: SparkSession, folder: str, runs: Sequence[str]) -> DataFrame:
    if not runs:
        return spark.createDataFrame([], FEATURES.schema).withColumn("run", F.lit(""))
    paths = [f"{folder}/run={run}" for run in runs]
    rows = spark.read.schema(FEATURES.schema).option("recursiveFileLookup", "true").parquet(*paths)
    return rows.select("*", F.regexp_extract("_metadata.file_path", r"/run=([^/]+)/", 1).alias("run"))


def windows_by_track(tracks: DataFrame, features: DataFrame) -> DataFrame:
    """(track_id, windows) of the `tracks` that have features; windows is array<array<float>>, in order.

    A track gets the rows of the newest run that has rows for its current audio_uri. If the audio was replaced
    by audio that cannot be read, these are the rows of the last audio that could be read.
    """
    rows = features.join(tracks.select("track_id", "audio_uri"), ["track_id", "audio_uri"], "left_semi")
    # A run may hold a window twice. Each window is taken once, then the windows of the newest run.
    by_run = rows.groupBy("track_id", "run", "window").agg(F.first("values").alias("values"))
    by_run = by_run.groupBy("track_id", "run").agg(
        F.sort_array(F.collect_list(F.struct("window", "values"))).alias("rows")
    )
    newest_run = by_run.groupBy("track_id").agg(F.max_by("rows", "run").alias("rows"))
    return newest_run.select("track_id", F.transform("rows", lambda row: row["values"]).alias("windows"))
