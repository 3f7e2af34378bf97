"""Makes one track from the rows of a track_id, groups tracks, and compares a run with the current one."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from genremill.infra import storage
from genremill.infra.errors import AuditRefused
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.recordings import track_groups
from genremill.jobs.contracts import MAPS, quoted
from genremill.jobs.snapshot_details import Feature

VECTOR_FEATURES = 8
"""Tracks with equal feature vectors are one recording only if there are at least this many features."""
OTHER_CATALOG = "If this is another catalog, give it a warehouse of its own with --warehouse"
DEPENDENT = ("recording_id", "artist_id", "split", "source_rows")
"""Columns of a track that can change because other tracks changed."""


@dataclass(frozen=True)
class TrackChanges:
    """Numbers of tracks that are new, changed or missing."""

    before: int
    new: int
    changed: int
    """Tracks with a different title, genre, feature or other value of their own."""
    vanished: int

    def check(self, source: object, max_vanished: float, summary: dict[str, object]) -> None:
        """Raises `AuditRefused` if too many of the current tracks are missing from the table."""
        share = self.vanished / self.before if self.before else 0.0
        if share > max_vanished:
            raise AuditRefused(
                f"{source}: {self.vanished:,} of {self.before:,} current tracks are missing, "
                f"a share of {share:.3f}; expected at most --max-vanished {max_vanished:g}. "
                f"`tracks` is unchanged. {OTHER_CATALOG}",
                summary,
            )

    def __str__(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.vanished:,} vanished tracks"


def unique_tracks(rows: DataFrame, positions: Sequence[int], kept: Sequence[str]) -> DataFrame:
    """One row per track_id, with all its genres; if good rows differ, the one with the largest values.

    `positions` says where the features are in `numbers`. A value that is not a number becomes null.
    """
    own = ("popularity", "duration_s", "table_features", "title", "album", "artists", "audio_uri", *MAPS)
    values = (*own, *map(quoted, kept))
    numbers = [F.get("numbers", F.lit(position)) for position in positions]
    features = F.array(*(F.when(~F.isnan(number), number) for number in numbers)).cast("array<float>")
    good = rows.where(F.col("problem").isNull()).withColumn("table_features", features)
    by_track = good.groupBy("track_id")
    merged = by_track.agg(
        F.max(F.struct(*values)).alias("row"),
        F.array_sort(F.array_distinct(F.flatten(F.collect_set("genres")))).alias("genres"),
        F.count("*").alias("source_rows"),
    )
    tracks = merged.select("track_id", "row.*", "genres", "source_rows")
    # Lists of structs until here, because Spark compares no maps.
    return tracks.withColumns({name: F.map_from_entries(name) for name in MAPS})


def grouped(work: command.Run, tracks: DataFrame, features: Sequence[Feature]) -> DataFrame:
    """Adds recording_id and artist_id: the smallest track_id of the recording and of the artist."""
    groups = track_groups(tracks, _vector(features), functools.partial(snapshots.checkpoint, work))
    ids = tracks.select("track_id", F.xxhash64("track_id").alias("node"))
    smallest = F.min("track_id").over(Window.partitionBy("group"))
    for name, members in zip(("recording_id", "artist_id"), groups, strict=True):
        ids = ids.join(members, "node", "left").withColumn("group", F.coalesce("component", "node"))
        ids = ids.withColumn(name, smallest).drop("component", "group")
    return tracks.join(ids.drop("node"), "track_id", "inner")


def _vector(features: Sequence[Feature]) -> Column:
    """The values that are equal for two releases of a recording: all features but popularity.

    Null if there are too few values to tell recordings apart.
    """
    positions = [n for n, feature in enumerate(features) if not feature.is_popularity]
    if len(positions) < VECTOR_FEATURES:
        return F.lit(None)
    missing = F.lit(math.nan).cast("float")  # hashes leave out nulls
    values = F.array(*(F.coalesce(F.get("table_features", F.lit(n)), missing) for n in positions))
    filled = F.size(F.filter(values, lambda value: ~F.isnan(value)))
    return F.when(filled >= VECTOR_FEATURES, values)


def counts(tracks: DataFrame) -> dict[str, object]:
    """Numbers of tracks, recordings, artists, labeled tracks, and of tracks by split."""
    row = tracks.agg(
        F.count("*").alias("tracks"),
        F.count_distinct("recording_id").alias("recordings"),
        F.count_distinct("artist_id").alias("artists"),
        F.count_if(F.size("genres") > 0).alias("labelled"),  # a key of the JSON summary
    ).first()
    by_split = {row["split"]: row["count"] for row in tracks.groupBy("split").count().collect()}
    return (row.asDict() if row else {}) | {"splits": dict(sorted(by_split.items()))}


def changes_since(
    spark: SparkSession,
    warehouse: Warehouse,
    made: Snapshot,
    current: Current | None,
    rejected_ids: DataFrame,
) -> TrackChanges | None:
    """How a run differs from the current one; None if there is no current run, or its files were removed.

    A track whose row was rejected has not vanished from the table.
    """
    if current is None or not storage.exists(warehouse.path(current.snapshot.path)):
        return None
    before = _hashed(snapshots.read(spark, warehouse, current.snapshot), "before")
    after = _hashed(snapshots.read(spark, warehouse, made), "after")
    named = rejected_ids.select("track_id", F.lit(True).alias("rejected")).distinct()
    both = after.join(before, "track_id", "full_outer").join(named, "track_id", "left")
    row = both.agg(
        F.count("before").alias("before"),
        F.count_if(F.col("before").isNull()).alias("new"),
        F.count_if(F.col("before") != F.col("after")).alias("changed"),
        F.count_if(F.col("after").isNull() & F.col("rejected").isNull()).alias("vanished"),
    ).first()
    return TrackChanges(**row.asDict()) if row else None


def _hashed(tracks: DataFrame, name: str) -> DataFrame:
    own = sorted({*tracks.columns} - {"track_id", *DEPENDENT, *MAPS})
    maps = (F.array_sort(F.map_entries(column)) for column in MAPS)  # hashes take no maps
    return tracks.select("track_id", F.xxhash64(*map(quoted, own), *maps).alias(name))
