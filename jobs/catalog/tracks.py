"""Tracks from rows: one row for each track_id, with the groups that it belongs to."""

import functools
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.jobs import command, snapshots
from genremill.jobs.catalog.columns import Layout
from genremill.jobs.catalog.recordings import VECTOR_FEATURES, Groups, node, track_groups
from genremill.jobs.contracts import quoted


def unique_tracks(good: DataFrame, kept: Sequence[str]) -> DataFrame:
    """One row for each track_id, with all its genres; if rows differ, the one with the largest values."""
    own = ("popularity", "duration_s", "table_features", "title", "album", "artists", "audio_uri")
    values = (*own, *map(quoted, kept))
    return (
        good.groupBy("track_id")
        .agg(
            F.max(F.struct(*values)).alias("row"),
            F.array_sort(F.array_distinct(F.flatten(F.collect_set("genres")))).alias("genres"),
            F.count("*").alias("source_rows"),
        )
        .select("track_id", "row.*", "genres", "source_rows")
    )


def grouped(work: command.Run, tracks: DataFrame, layout: Layout) -> DataFrame:
    """Adds recording_id and artist_id: the smallest track_id of the recording and of the artist."""
    return _with_group_ids(
        tracks, track_groups(tracks, _vector(layout), functools.partial(snapshots.checkpoint, work))
    )


def _with_group_ids(tracks: DataFrame, groups: Groups) -> DataFrame:
    ids = tracks.select("track_id", node(F.col("track_id")).alias("node"))
    for name, members in (("recording", groups.recordings), ("artist", groups.artists)):
        group = F.coalesce(name, "node")
        smallest = F.min("track_id").over(Window.partitionBy("group"))
        ids = ids.join(members, "node", "left").withColumn("group", group)
        ids = ids.withColumn(f"{name}_id", smallest).drop(name, "group")
    return tracks.join(ids.drop("node"), "track_id", "inner")


def _vector(layout: Layout) -> Column | None:
    """The values that are equal for two releases of a recording: all features but popularity.

    None if there are too few features to tell recordings apart.
    """
    positions = [n for n, feature in enumerate(layout.features) if not feature.is_popularity]
    if len(positions) < VECTOR_FEATURES:
        return None
    return F.array(*(F.get("table_features", F.lit(position)) for position in positions))


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
