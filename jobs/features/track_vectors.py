"""Feature sets of the track table: its columns of vectors, which `ingest` writes to `tracks.vectors`."""

import hashlib
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.readers import warehouse_reader
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.snapshot_details import TracksDetails
from genremill.models.features import VECTORS


@dataclass(frozen=True)
class TrackVectors:
    """A column of vectors as a feature set: each track has one window, or none."""

    column: str
    width: int
    """Number of values of each vector."""
    path: str
    """The run of `tracks` that is read."""

    is_vector = True

    @property
    def name(self) -> str:
        """Its name in flags: `vectors:` and the name of the column."""
        return VECTORS + self.column

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row's values."""
        return (self.width,)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values.

        >>> TrackVectors("clap", 2, "tracks/run=r1").values
        ('clap_1', 'clap_2')
        """
        return tuple(f"{self.column}_{number}" for number in range(1, self.width + 1))

    @property
    def fingerprint(self) -> str:
        """Digest of the name and the length; who computed the vectors is not known."""
        return hashlib.sha256(f"vectors {self.name} {self.width}".encode()).hexdigest()[:16]

    @property
    def state(self) -> str:
        """The fingerprint: the run of `tracks` is recorded anyway."""
        return self.fingerprint

    def windows(self, spark: SparkSession, tracks: DataFrame) -> DataFrame:
        """(track_id, windows) of the `tracks` that have a vector; windows is array<array<float>>.

        There are none if the tracks lack the column, or have vectors of another length.
        """
        rows = warehouse_reader(spark).parquet(self.path)
        if "vectors" not in rows.columns:  # an earlier version wrote them
            rows = rows.withColumn("vectors", F.lit(None).cast("map<string,array<float>>"))
        vector = F.col("vectors")[self.column]
        windows = rows.where(F.size(vector) == self.width).select(
            "track_id", F.array(vector).alias("windows")
        )
        return windows.join(tracks.select("track_id"), "track_id", "left_semi")


def vectors_of(warehouse: Warehouse, tracks: Snapshot) -> list[TrackVectors]:
    """The feature sets in a run of `tracks`."""
    path = warehouse.path(tracks.path)
    return [TrackVectors(each.name, each.width, path) for each in TracksDetails.of(tracks).vectors]
