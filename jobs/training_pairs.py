"""The (track, genre) pairs that models are trained and measured on."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.contracts import Split
from genremill.jobs.splits import SplitRule, part_of, unit_hash
from genremill.models.features import FeatureSpec


@dataclass(frozen=True)
class TableInputs:
    """The table features a model takes, and where they stand in `tracks.table_features`."""

    features: tuple[FeatureSpec, ...]
    positions: tuple[int, ...]

    @classmethod
    def of(cls, tracks: Snapshot, use_popularity: bool) -> "TableInputs":
        """All features of a tracks snapshot, popularity only if asked for."""
        chosen = [
            (at, FeatureSpec(one["name"], one["kind"] == "categorical", one["is_popularity"]))
            for at, one in enumerate(tracks.details["features"])
            if use_popularity or not one["is_popularity"]
        ]
        if not chosen:
            raise UsageError(f"the tracks of run {tracks.run_id} have no table features to learn from")
        return cls(tuple(spec for _, spec in chosen), tuple(at for at, _ in chosen))

    def column(self) -> Column:
        """The chosen features of a track, in order."""
        return F.array(*(F.get("table_features", F.lit(at)) for at in self.positions))


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
