"""The inputs of one run of a job, resolved once.

The object of inputs is made when a job starts. The job reads the tables from its paths, and records its
`made_from`: the record is right even if `ingest` or `extract` adds data while the job runs.
"""

import json
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from genremill.infra import records
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.model_registry import ModelVersion


@dataclass(frozen=True)
class JobInputs:
    """A snapshot of `tracks`, and the features of these tracks."""

    warehouse: Warehouse
    tracks: Snapshot
    features: ModelInputs

    @property
    def made_from(self) -> dict[str, str]:
        """The record of these inputs: run ids, digests, fingerprints and settings by name."""
        return {"tracks": self.tracks.run_id} | self.features.made_from

    def read_tracks(self, spark: SparkSession) -> DataFrame:
        """The rows of the snapshot of `tracks`."""
        return snapshots.read(spark, self.warehouse, self.tracks)


@dataclass(frozen=True)
class PredictionInputs(JobInputs):
    """A model version, and the tracks and features that it predicts from."""

    model: ModelVersion


def newest_tracks(warehouse: Warehouse) -> Snapshot:
    """The snapshot of `tracks` that a job builds on: the newest staged one, or the current one."""
    tracks = warehouse.newest("tracks") or warehouse.require("tracks", "ingest --tracks …")
    log_if_staged(warehouse, "tracks", tracks)
    return tracks


def log_if_staged(warehouse: Warehouse, table: str, snapshot: Snapshot) -> None:
    """Says that a job builds on a staged run; a night, which sets what its jobs build on, says it once."""
    if table not in warehouse.builds_on and snapshot.run_id > warehouse.last_published(table):
        LOGGER.info("reading %s of run %s: %s", table, snapshot.run_id, snapshots.STAGED)


def settings_record(settings: object) -> str:
    """A dataclass of settings as JSON, for the record of inputs."""
    return json.dumps(records.to_builtins(settings), sort_keys=True)
