"""The (track, genre) pairs that models are trained and measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window, functions as F

from genremill.infra.warehouse import Snapshot
from genremill.jobs.contracts import Split
from genremill.jobs.splits import SplitRule, part_of, unit_hash


@dataclass(frozen=True)
class LabelledTracks:
    """Tracks that the model can take, with their inputs; the pairs drawn of them, with class and split."""

    snapshot: Snapshot
    tracks: DataFrame
    pairs: DataFrame


def rule_of(tracks: Snapshot) -> SplitRule:
    """How a tracks snapshot was split."""
    rule = tracks.details["split"]
    return SplitRule(rule["by"], tuple(rule["fractions"]), rule["seed"], rule["file"])


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


def balanced(pairs: DataFrame, per_class: int | None, seed: int) -> DataFrame:
    """N pairs of each class, drawn over all splits by stable hash; all pairs where N is None."""
    if per_class is None:
        return pairs
    order = Window.partitionBy("class").orderBy(
        unit_hash("per class", seed, "track_id", "genre"), "track_id", "genre"
    )
    return (
        pairs.withColumn("_place", F.row_number().over(order))
        .where(F.col("_place") <= per_class)
        .drop("_place")
    )


def labelled_tracks(
    tracks: DataFrame, pairs: DataFrame, part: str, classes: tuple[str, ...], inputs: Sequence[str]
) -> DataFrame:
    """Tracks with a pair in one part: track_id, artist_id, columns `inputs`, `labels` (their classes)."""
    of_part = pairs.where(F.col("class").isin(*classes) & (F.col("split") == part))
    labels = of_part.groupBy("track_id").agg(F.collect_list("class").alias("labels"))
    return tracks.select("track_id", "artist_id", *inputs).join(labels, "track_id", "inner")
