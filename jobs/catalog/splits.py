"""Train, validation and test splits: drawn once by a stable hash of the artist or the recording."""

from typing import Literal

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.readers import file_reader
from genremill.infra.warehouse import Current, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import Fractions, SplitRule, TracksDetails
from genremill.models.evaluation.split import SplitBy

DrawnSplit = Literal["artist", "recording", "rows"]
"""The choices of the flag --split; for a split by file there is the flag --split-file."""


def unit_hash(purpose: str, seed: int, *columns: str | Column) -> Column:
    """A number in [0, 1) that depends only on the purpose, the seed and the values of the columns.

    Draws for different purposes are independent of each other and of the split.
    """
    return F.shiftrightunsigned(F.xxhash64(F.lit(purpose), F.lit(seed), *columns), 11) / float(1 << 53)


def part_of(draw: Column, fractions: Fractions) -> Column:
    """The split that a number in [0, 1) falls into."""
    train, validation, _ = fractions
    in_train = F.when(draw < train, Split.TRAIN.value)
    return in_train.when(draw < train + validation, Split.VALIDATION.value).otherwise(Split.TEST.value)


def _with_drawn_split(tracks: DataFrame, rule: SplitRule, previous: DataFrame | None) -> DataFrame:
    """Adds `split`, drawn by the hash of the artist or the recording.

    A track in `previous` (track_id, split) keeps its split. A new track gets the split of the known tracks of
    its artist or recording; if they are in different splits, the split of the smallest track_id.
    """
    if rule.by is SplitBy.ROWS:
        return tracks.withColumn("split", F.lit(Split.ROWS.value))
    group = f"{rule.by}_id"
    drawn = part_of(unit_hash("split", rule.seed, group), rule.fractions)
    if previous is None:
        return tracks.withColumn("split", drawn)
    known = tracks.join(previous.withColumnRenamed("split", "known"), "track_id", "left")
    first_known = F.min(F.when(F.col("known").isNotNull(), F.struct("track_id", "known")))
    of_group = first_known.over(Window.partitionBy(group)).getField("known")
    return known.withColumn("split", F.coalesce("known", of_group, drawn)).drop("known")


def split_tracks(
    spark: SparkSession,
    warehouse: Warehouse,
    tracks: DataFrame,
    rule: SplitRule,
    split_file: str | None,
    current: Current | None,
) -> DataFrame:
    """Adds `split`: from the split file if there is one; otherwise known tracks keep their current split."""
    if split_file is not None:
        listed = _read_split_file(spark, storage.absolute_uri(split_file), tracks)
        split = F.coalesce("split", F.lit(Split.UNLISTED.value))
        return tracks.join(listed, "track_id", "left").withColumn("split", split)
    previous = None
    if current is not None and TracksDetails.of(current.snapshot).split == rule:
        path = warehouse.path(current.snapshot.path)
        if storage.exists(path):
            previous = snapshots.read(spark, warehouse, current.snapshot).select("track_id", "split")
        else:
            LOGGER.warning("the current tracks, %s, do not exist: all tracks are split anew", path)
    return _with_drawn_split(tracks, rule, previous)


def _read_split_file(spark: SparkSession, uri: str, tracks: DataFrame) -> DataFrame:
    """(track_id, split) of a CSV file with the columns id and split, checked against the tracks."""
    raw = file_reader(spark, uri).options(header=True, escape='"').csv(uri)
    if set(raw.columns) != {"id", "split"}:
        names = ", ".join(raw.columns)
        raise UsageError(f"--split-file {uri}: expected the columns id, split; found {names}")
    listed = raw.select(F.trim("id").alias("track_id"), F.trim("split").alias("split")).distinct()
    splits = {row["split"] for row in listed.select("split").distinct().limit(10).collect()}
    if unknown := splits - {Split.TRAIN, Split.VALIDATION, Split.TEST}:
        shown = ", ".join(sorted(map(repr, unknown)))
        raise UsageError(f"--split-file {uri}: expected train, validation or test; found {shown}")
    if twice := listed.groupBy("track_id").count().where("count > 1").first():
        raise UsageError(f"--split-file {uri}: {twice['track_id']!r} is in more than one split; expected one")
    if listed.join(tracks, "track_id", "left_semi").isEmpty():
        examples = (frame.select("track_id").first() for frame in (listed, tracks))
        file_id, table_id = (row["track_id"] if row else None for row in examples)
        raise UsageError(
            f"--split-file {uri}: none of its ids is in the table; it has ids such as {file_id!r}, "
            f"the table has ids such as {table_id!r}"
        )
    return listed
