"""The (track, genre) pairs that models are trained and measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.recordings import artist_key
from genremill.jobs.catalog.splits import part_of, unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import SplitRule, TracksDetails

EXACT_SHARES = {Split.TRAIN: 0.8, Split.VALIDATION: 0.1, Split.TEST: 0.1}
"""Shares of the splits in an exactly balanced sample, as in the study of learning rates (report D)."""


@dataclass(frozen=True)
class Balance:
    """How pairs are drawn so that the classes are balanced."""

    per_class: int | None = None
    """Pairs of each class, over all splits; None keeps all pairs."""
    exactly: bool = False
    """Whether each class gets `EXACT_SHARES` of its pairs in the splits."""
    seed: int = 0


def pairs_of(tracks: DataFrame, rule: SplitRule) -> DataFrame:
    """One row per (track, genre) pair; each pair has its own split if the table is split by rows."""
    pairs = tracks.withColumn("genre", F.explode("genres"))  # a kept column may have this name
    own_split = part_of(unit_hash("split", rule.seed, "track_id", "genre"), rule.fractions)
    split = F.when(F.col("split") == Split.ROWS.value, own_split).otherwise(F.col("split"))
    return pairs.withColumn("split", split).where(F.col("split") != Split.UNLISTED.value)


def labeled(pairs: DataFrame, genre_map: DataFrame | None) -> DataFrame:
    """Adds `class`: the genre, or the name of its cluster; drops genres that are not in the map."""
    if genre_map is None:
        return pairs.withColumn("class", F.col("genre"))
    names = genre_map.select("genre", F.col("cluster_name").alias("class"))
    return pairs.join(F.broadcast(names), "genre", "inner")


def balanced(pairs: DataFrame, balance: Balance) -> DataFrame:
    """Pairs of each class, drawn by a stable hash over all splits."""
    if balance.per_class is None:
        return pairs
    limit = F.lit(balance.per_class)
    if balance.exactly:
        in_split = {split.value: exact_count(balance.per_class, split) for split in EXACT_SHARES}
        limit = F.coalesce(*(F.when(F.col("split") == split, count) for split, count in in_split.items()))
    group = Window.partitionBy("class", *(["split"] if balance.exactly else []))
    draw = unit_hash("per class", balance.seed, "track_id", "genre")
    number = F.row_number().over(group.orderBy(draw, "track_id", "genre"))
    numbered = pairs.withColumn("_number", number)
    return numbered.where(F.col("_number") <= limit).drop("_number")


def drawn(
    tracks: DataFrame, genre_map: DataFrame | None, snapshot: Snapshot, balance: Balance, *carried: str
) -> DataFrame:
    """The labeled, balanced pairs of a track table: track_id, genre, class, split, columns `carried`."""
    pairs = pairs_of(tracks, TracksDetails.of(snapshot).split)
    pairs = balanced(labeled(pairs, genre_map), balance)
    return pairs.select("track_id", "genre", "class", "split", *carried)


def exact_count(per_class: int, split: Split) -> int:
    """Pairs of a class in one split of an exactly balanced sample.

    >>> [[exact_count(count, split) for split in EXACT_SHARES] for count in (1100, 25)]
    [[880, 110, 110], [21, 2, 2]]
    """
    held_out = per_class // 10
    return per_class - 2 * held_out if split == Split.TRAIN else held_out


def check_exact(pairs: DataFrame, per_class: int) -> None:
    """Raises `UsageError` if a class has too few pairs in a split for an exactly balanced sample."""
    rows = pairs.groupBy("class", "split").count().collect()
    found = {(row["class"], row["split"]): row["count"] for row in rows}
    names = sorted({name for name, _ in found})
    counts = {(name, split): found.get((name, split), 0) for name in names for split in EXACT_SHARES}
    needed = {split: exact_count(per_class, split) for split in EXACT_SHARES}
    short = [f"{n} of {name} in {split}" for (name, split), n in counts.items() if n < needed[split]]
    if short:
        expected = ", ".join(f"{count} in {split}" for split, count in needed.items())
        largest = min(int(count / EXACT_SHARES[split]) for (_, split), count in counts.items())
        shown = ", ".join(short[:3]) + (", …" if short[3:] else "")
        raise UsageError(
            f"--exactly --per-class {per_class}: expected {expected} of each class; found {shown}. "
            f"The largest possible value is --per-class {largest}"
        )


def labeled_tracks(
    tracks: DataFrame, pairs: DataFrame, split: str, classes: tuple[str, ...], inputs: Sequence[str]
) -> DataFrame:
    """Tracks with a pair in one split: track_id, artist_id, artist, `inputs` and labels (their classes).

    `artist` is their `artist_key`.
    """
    in_split = pairs.where(F.col("class").isin(*classes) & (F.col("split") == split))
    labels = in_split.groupBy("track_id").agg(F.collect_list("class").alias("labels"))
    own = tracks.select("track_id", "artist_id", artist_key().alias("artist"), *inputs)
    return own.join(labels, "track_id", "inner")
