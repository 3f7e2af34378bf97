"""The `features` cache: append-only runs under the fingerprint of the settings that made them."""

import json
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.contracts import FEATURES, REJECTS

RECORD = "_feature_set.json"
VARIANT_KEYS = ("augment", "augment_revision")
"""Settings that a set of augmented audio has, and the set of the audio as it is has not."""


@dataclass(frozen=True)
class CachedSet:
    """A feature set that the warehouse has rows of."""

    name: str
    fingerprint: str
    value_names: tuple[str, ...]
    used_at: str
    """When `extract` last turned to these settings from others."""
    described: dict[str, Any]
    """The whole of `_feature_set.json`: settings, versions, shape, names of the values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row's values: (values,), (steps, channels) or (channels, height, width)."""
        return tuple(self.described["shape"])

    @property
    def is_vector(self) -> bool:
        """Whether each value is a feature with a name."""
        return len(self.shape) == 1

    @property
    def variant(self) -> str | None:
        """How the audio was changed; None where it is as it was found."""
        variant: str | None = self.described.get("settings", {}).get("augment")
        return variant


def folder_of(warehouse: Warehouse, fingerprint: str) -> str:
    """Where the runs of one fingerprint lie."""
    return warehouse.path("features", f"fingerprint={fingerprint}")


def cached_sets(warehouse: Warehouse) -> list[CachedSet]:
    """All feature sets of a warehouse, those last used at the end."""
    found = []
    for name in storage.folders(warehouse.path("features")):
        fingerprint = name.removeprefix("fingerprint=")
        record = f"{folder_of(warehouse, fingerprint)}/{RECORD}"
        if fingerprint == name or not storage.is_object(record):
            continue
        try:
            described = json.loads(storage.read_bytes(record))
            if not is_shape(described["shape"], described["values"]):
                raise ValueError(f"shape {described['shape']} of {len(described['values'])} named values")
            found.append(
                CachedSet(
                    described["name"],
                    fingerprint,
                    tuple(described["values"]),
                    described.get("used_at", described["created_at"]),
                    described,
                )
            )
        except (ValueError, KeyError, TypeError) as err:
            raise StorageError(f"{record} is not the record of a feature set: {err!r}") from err
    return sorted(found, key=lambda one: (one.used_at, one.fingerprint))


def is_shape(shape: list[Any], values: list[Any]) -> bool:
    """Whether it is the shape of a vector with these names of its values, a sequence or an image.

    >>> is_shape([2], ["rms", "zcr"]), is_shape([2], ["rms"]), is_shape([512, 24], [])
    (True, False, True)
    """
    sizes_are_whole = all(type(size) is int and size >= 1 for size in shape)
    return sizes_are_whole and (shape == [len(values)] if len(shape) == 1 else len(shape) in (2, 3))


def filled_sets(warehouse: Warehouse) -> list[CachedSet]:
    """Those feature sets that have rows of audio as it is, oldest first."""
    return [one for one in _with_rows(warehouse) if one.variant is None]


def variants(warehouse: Warehouse, of: CachedSet) -> dict[str, CachedSet]:
    """By variant, the sets of augmented audio that have rows and are otherwise made as `of` is."""
    return {
        one.variant: one
        for one in _with_rows(warehouse)
        if one.variant is not None
        and one.name == f"{of.name}~{one.variant}"
        and _made_by(one) == _made_by(of)
    }


def _made_by(one: CachedSet) -> dict[str, Any]:
    """What a set's values depend on, but for the variant."""
    settings = {key: value for key, value in one.described["settings"].items() if key not in VARIANT_KEYS}
    return {"settings": settings} | {key: one.described.get(key) for key in ("revision", "versions")}


def _with_rows(warehouse: Warehouse) -> list[CachedSet]:
    return [one for one in cached_sets(warehouse) if runs_of(warehouse, one.fingerprint)]


def newest(warehouse: Warehouse, name: str) -> CachedSet:
    """The newest fingerprint of a set; a set that the warehouse lacks is an error that names those it has."""
    sets = filled_sets(warehouse)
    named = [one for one in sets if one.name == name]
    if not named:
        there = ", ".join(sorted({one.name for one in sets})) or "none"
        raise UsageError(
            f"{warehouse.uri} has no features of the set {name!r}, there are: {there}; "
            f"`genremill extract --features {name}` makes them"
        )
    return named[-1]


def runs_of(warehouse: Warehouse, fingerprint: str) -> list[str]:
    """Ids of the runs that have rows under a fingerprint, oldest first."""
    return warehouse.run_ids("features", f"fingerprint={fingerprint}")


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the records of two fingerprints, as `what: before → now`.

    >>> differences({"settings": {"sr": 22050, "n_fft": 2048}}, {"settings": {"sr": 44100, "n_fft": 2048}})
    ['sr: 22050 → 44100']
    """
    groups = ("settings", "versions")
    flat_before, flat_now = (
        {"revision": one.get("revision")}
        | {key: value for name in groups for key, value in one.get(name, {}).items()}
        for one in (before, now)
    )
    return [
        f"{key}: {flat_before.get(key)} → {flat_now.get(key)}"
        for key in sorted(flat_before | flat_now)
        if flat_before.get(key) != flat_now.get(key)
    ]


def rejects(spark: SparkSession, warehouse: Warehouse) -> DataFrame:
    """All rejects of all runs."""
    folders = [warehouse.run_path("rejects", run_id) for run_id in warehouse.run_ids("rejects")]
    if not folders:
        return spark.createDataFrame([], REJECTS.schema)
    return spark.read.schema(REJECTS.schema).parquet(*folders)


def rows_of(spark: SparkSession, warehouse: Warehouse, fingerprint: str) -> DataFrame:
    """Every row under a fingerprint, duplicates and old audio included, with its `run`."""
    folder = folder_of(warehouse, fingerprint)
    if not runs_of(warehouse, fingerprint):
        return spark.createDataFrame([], FEATURES.schema).withColumn("run", F.lit(""))
    rows = spark.read.schema(FEATURES.schema).option("recursiveFileLookup", "true").parquet(folder)
    return rows.select("*", F.regexp_extract("_metadata.file_path", r"/run=([^/]+)/", 1).alias("run"))


def windows_by_track(tracks: DataFrame, features: DataFrame) -> DataFrame:
    """(track_id, windows) of `tracks` that have features: array<array<float>>, each window's values in order.

    A track's rows are those of the newest run that has any for its present audio_uri: where what lies there
    was replaced by what cannot be read, the last that could be.
    """
    rows = features.join(tracks.select("track_id", "audio_uri"), ["track_id", "audio_uri"], "left_semi")
    # The newest row of each window first; then the windows of the newest run alone.
    by_run = rows.groupBy("track_id", "run", "window").agg(F.first("values").alias("values"))
    by_run = by_run.groupBy("track_id", "run").agg(
        F.sort_array(F.collect_list(F.struct("window", "values"))).alias("rows")
    )
    newest_run = by_run.groupBy("track_id").agg(F.max_by("rows", "run").alias("rows"))
    return newest_run.select("track_id", F.transform("rows", lambda row: row["values"]).alias("windows"))
