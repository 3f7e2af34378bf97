"""The (track, genre) pairs that models are trained and measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.splits import part_of, unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import SplitRule, TracksDetails


@dataclass(frozen=True)
class LabelledTracks:
    """Tracks that the model can take, with their inputs; the pairs drawn of them, with class and split."""

    snapshot: Snapshot
    tracks: DataFrame
    pairs: DataFrame


def rule_of(tracks: Snapshot) -> SplitRule:
    """How a tracks snapshot was split."""
    return TracksDetails.of(tracks).split


def pairs_of(tracks: DataFrame, rule: SplitRule) -> DataFrame:
    """One row a (track, genre) pair, with the pair's own split under `rows`."""
    own = tracks.drop("genre")  # a kept column may have this name
    pairs = own.select("*", F.explode("genres").alias("genre"))
    drawn = part_of(unit_hash("split", rule.seed, "track_id", "genre"), rule.fractions)
    split = F.when(F.col("split") == Split.ROWS.value, drawn).otherwise(F.col("split"))
    return pairs.withColumn("split", split).where(F.col("split") != Split.UNLISTED.value)


def labelled(pairs: DataFrame, genre_map: DataFrame | None) -> DataFrame:
    """Adds `class`: the genre, or the name of the cluster that the map puts it in; others are left out."""
    if genre_map is None:
        return pairs.withColumn("class", F.col("genre"))
    names = genre_map.select("genre", F.col("cluster_name").alias("class"))
    return pairs.join(F.broadcast(names), "genre", "inner")


EXACT_PARTS = {Split.TRAIN: 0.8, Split.VALIDATION: 0.1, Split.TEST: 0.1}
"""Report D's shares of an exactly balanced sample."""


def balanced(pairs: DataFrame, per_class: int | None, seed: int, exactly: bool = False) -> DataFrame:
    """N pairs of each class, drawn by stable hash over all splits; all pairs where N is None.

    Exactly: as many of each class in each split too, `EXACT_PARTS` of N.
    """
    if per_class is None:
        return pairs
    limits = {part.value: exact_part(per_class, part) for part in EXACT_PARTS}
    limit = F.lit(per_class)
    if exactly:
        limit = F.coalesce(*(F.when(F.col("split") == part, count) for part, count in limits.items()))
    order = Window.partitionBy("class", *(["split"] if exactly else [])).orderBy(
        unit_hash("per class", seed, "track_id", "genre"), "track_id", "genre"
    )
    placed = pairs.withColumn("_place", F.row_number().over(order))
    return placed.where(F.col("_place") <= limit).drop("_place")


def exact_part(per_class: int, part: Split) -> int:
    """Pairs of a class in one split of an exactly balanced sample.

    >>> [exact_part(1100, part) for part in EXACT_PARTS], [exact_part(25, part) for part in EXACT_PARTS]
    ([880, 110, 110], [21, 2, 2])
    """
    held_out = per_class // 10
    return per_class - 2 * held_out if part == Split.TRAIN else held_out


def check_exact(pairs: DataFrame, per_class: int) -> None:
    """Raises where a class has too few pairs in a split for an exactly balanced sample of N a class."""
    rows = pairs.groupBy("class", "split").count().collect()
    counts = {(row["class"], row["split"]): row["count"] for row in rows}
    names = sorted({name for name, _ in counts})
    found = {(name, part): counts.get((name, part.value), 0) for name in names for part in EXACT_PARTS}
    short = [
        f"{count} of {name} in {part}"
        for (name, part), count in found.items()
        if count < exact_part(per_class, part)
    ]
    if short:
        wanted = ", ".join(f"{exact_part(per_class, part)} in {part}" for part in EXACT_PARTS)
        most = min(int(count / EXACT_PARTS[part]) for (_, part), count in found.items())
        shown = ", ".join(short[:3]) + (", …" if short[3:] else "")
        raise UsageError(
            f"--exactly --per-class {per_class}: expected {wanted} of each class; found {shown}: "
            f"{most} a class is the most there is"
        )


def labelled_tracks(
    tracks: DataFrame, pairs: DataFrame, part: str, classes: tuple[str, ...], inputs: Sequence[str]
) -> DataFrame:
    """Tracks with a pair in one part: track_id, artist_id, columns `inputs`, `labels` (their classes)."""
    of_part = pairs.where(F.col("class").isin(*classes) & (F.col("split") == part))
    labels = of_part.groupBy("track_id").agg(F.collect_list("class").alias("labels"))
    return tracks.select("track_id", "artist_id", *inputs).join(labels, "track_id", "inner")
