"""What the audits of staged tags read: the tags, the current tags, their tracks and the model."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.model_card import ModelCard, read_card


@dataclass(frozen=True)
class AuditInputs:
    """Snapshots and model, resolved once per audit."""

    warehouse: Warehouse
    card: ModelCard
    staged: Snapshot
    tracks: Snapshot
    """The tracks of the staged tags."""
    current: Snapshot | None
    """The current tags; None before the first publication, and if the staged tags are current already."""
    current_tracks: Snapshot | None
    """The tracks of the current tags; None if they were removed."""

    def read(self, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        """The rows of a snapshot."""
        return snapshots.read(spark, self.warehouse, snapshot)

    @property
    def has_new_model(self) -> bool:
        """Whether the current tags were made by another model."""
        return self._details.model_version != self._current_details.model_version

    @property
    def has_new_genre_map(self) -> bool:
        """Whether the model of the current tags was trained with another genre map."""
        return self._details.genre_map_version != self._current_details.genre_map_version

    @property
    def _details(self) -> TagsDetails:
        return TagsDetails.of(self.staged)

    @property
    def _current_details(self) -> TagsDetails:
        return TagsDetails.of(self.current or self.staged)


def resolve(warehouse: Warehouse, staged: Snapshot, current: Current | None) -> AuditInputs:
    """The inputs of the audits of staged tags."""
    details = TagsDetails.of(staged)
    tracks_run = details.tracks_run
    tracks = warehouse.finished("tracks", tracks_run)
    if tracks is None:
        raise UsageError(
            f"the tags of run {staged.run_id} belong to the tracks of run {tracks_run}, which were removed "
            f"from {warehouse.uri}: run `genremill score` again"
        )
    before = current.snapshot if current and current.snapshot.run_id != staged.run_id else None
    return AuditInputs(
        warehouse,
        read_card(details.model),
        staged,
        tracks,
        before,
        warehouse.finished("tracks", TagsDetails.of(before).tracks_run) if before else None,
    )
