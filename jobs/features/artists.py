"""Describes artists by the table features of all their tracks."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.models.features import ARTIST, ARTIST_FEATURES
from genremill.models.model_card import ModelCard


@dataclass(frozen=True)
class Artists:
    """A run of `tracks`, and the positions of the features that describe artists."""

    path: str
    positions: tuple[int, ...]

    def described(self, spark: SparkSession) -> DataFrame:
        """(artist_id, `ARTIST_FEATURES`) of the artists who have a track with features."""
        tracks = spark.read.parquet(self.path).where(F.size("table_features") > 0)
        values = [F.get("table_features", F.lit(position)) for position in self.positions]
        statistics = F.array(*map(F.avg, values), *map(F.stddev_pop, values))
        return tracks.groupBy("artist_id").agg(statistics.cast("array<float>").alias(ARTIST_FEATURES))


def beside(tracks: DataFrame, described: DataFrame) -> DataFrame:
    """Tracks with the features of their artists; null if an artist has none."""
    return tracks.join(described, "artist_id", "left")


def of_model(warehouse: Warehouse, tracks: Snapshot, card: ModelCard) -> Artists | None:
    """The tracks by which a model describes artists; None if it does not."""
    if ARTIST not in card.inputs:
        return None
    return Artists(warehouse.path(tracks.path), model_registry.positions(card, tracks, ARTIST))
