"""How a new run of `tracks` differs from the current one: new, changed and missing tracks."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import AuditRefused
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.contracts import quoted

GROUPS = ("recording_id", "artist_id", "split", "source_rows")
"""Columns of a track that can change because other tracks changed."""


@dataclass(frozen=True)
class TrackChanges:
    """Numbers of tracks that are new, changed or missing."""

    before: int
    new: int
    changed: int
    """Tracks with a different title, genre, feature or other value of their own."""
    vanished: int

    @property
    def vanished_share(self) -> float:
        """Share of the earlier tracks that are missing."""
        return self.vanished / self.before if self.before else 0.0

    def check(self, source: str, max_vanished: float, summary: dict[str, object]) -> None:
        """Raises if too many of the current tracks are missing from the table."""
        if self.vanished_share > max_vanished:
            raise AuditRefused(
                f"--tracks {source}: {self.vanished:,} of {self.before:,} current tracks are missing, "
                f"a share of {self.vanished_share:.3f}; expected at most --max-vanished {max_vanished:g}. "
                "`tracks` is unchanged",
                summary,
            )

    def __str__(self) -> str:
        return f"{self.new:,} new, {self.changed:,} changed, {self.vanished:,} vanished tracks"


def since(
    spark: SparkSession, warehouse: Warehouse, made: Snapshot, current: Current | None
) -> TrackChanges | None:
    """How a run differs from the current one; None if there is no current run, or its files were removed."""
    if current is None or not storage.exists(warehouse.path(current.snapshot.path)):
        return None
    before = _hashed(snapshots.read(spark, warehouse, current.snapshot), "before")
    after = _hashed(snapshots.read(spark, warehouse, made), "after")
    row = (
        after.join(before, "track_id", "full_outer")
        .agg(
            F.count("before").alias("before"),
            F.count_if(F.col("before").isNull()).alias("new"),
            F.count_if(F.col("before") != F.col("after")).alias("changed"),
            F.count_if(F.col("after").isNull()).alias("vanished"),
        )
        .first()
    )
    return TrackChanges(**row.asDict()) if row else None


def _hashed(tracks: DataFrame, name: str) -> DataFrame:
    own = sorted(quoted(column) for column in tracks.columns if column not in ("track_id", *GROUPS))
    return tracks.select("track_id", F.xxhash64(*own).alias(name))
