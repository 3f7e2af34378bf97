"""Tags every track with a model version: a staged run of `tags`, which `publish` makes current.

Reads: `tracks`, a model version, `features` where the model takes audio.
Writes: `tags/run=<run_id>/` (staged).

    spark-submit jobs/score.py --warehouse file:///data/warehouse
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, types as T

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalUri
from genremill.infra.log import LOGGER
from genremill.infra.progress import progress
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, model_registry, snapshots
from genremill.jobs.contracts import TAGS, quoted
from genremill.jobs.features import model_inputs
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.model_card import ModelCard, read_card


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which model tags the tracks."""

    model_version: str | None = None
    """Model version as NAME/VERSION. [the newest version that no audit has refused]"""
    model: OptionalUri = None
    """Folder or URI of a model outside the warehouse, instead of --model-version."""
    limit: int | None = None
    """Score only this many tracks, to measure the speed; such tags cannot be published. [all]"""


@dataclass(frozen=True)
class _Model:
    version: str
    folder: str
    card: ModelCard


def transform(
    tracks: DataFrame, snapshot: Snapshot, inputs: ModelInputs, model: str, version: str, card: ModelCard
) -> DataFrame:
    """Tags of tracks that have been given their inputs, in contract order, kept columns last."""
    from genremill.udfs.tagging import tagger  # here: torch takes seconds to import, and --help needs none

    kept = TracksDetails.of(snapshot).kept
    constants = {
        "model_version": version,
        "genre_map_version": card.snapshots.get("genre_map"),
        "tracks_run": snapshot.run_id,
    }
    schema = T.StructType([*TAGS.schema.fields, *(tracks.schema[name] for name in kept)])
    tag = tagger(model, inputs.positions, constants, schema.names)
    return tracks.select("track_id", *inputs.columns, *map(quoted, kept)).mapInArrow(tag, schema)


def inputs(warehouse: Warehouse, cfg: Config) -> dict[str, str]:
    """What the result depends on."""
    model, tracks = model_of(warehouse, cfg), warehouse.require("tracks", "ingest --tracks …")
    taken = model_inputs.of_model(warehouse, tracks, model.card)
    return {
        "tracks": tracks.run_id,
        "model": model.version,
        "sha256": model.card.sha256,
        "limit": str(cfg.limit),
    } | taken.made_from(warehouse)


def check(cfg: Config) -> None:
    """Raises on settings that no warehouse could make right."""
    if cfg.model and cfg.model_version:
        raise UsageError("--model and --model-version name two models; expected one of them")
    if cfg.limit is not None and cfg.limit < 1:
        raise UsageError(f"--limit {cfg.limit}: expected 1 or more")


def model_of(warehouse: Warehouse, cfg: Config) -> _Model:
    """The model that the flags name, or the newest one of the warehouse."""
    if cfg.model:
        folder = storage.absolute_uri(cfg.model)
        card = read_card(folder)
        return _Model(f"{card.model}/{folder.rpartition('/')[2]}", folder, card)
    version, folder = model_registry.folder_of(warehouse, cfg.model_version)
    return _Model(version, folder, read_card(folder))


def ready(work: command.Run, cfg: Config) -> None:
    """Raises on all errors that can be seen without Spark."""
    check(cfg)
    inputs(work.warehouse, cfg)


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Scores all tracks and stages their tags."""
    from genremill.models import artifact

    check(cfg)
    made_from = inputs(work.warehouse, cfg)
    model = model_of(work.warehouse, cfg)
    artifact.load(model.folder)  # refuses damaged weights here, before any task
    snapshot = work.warehouse.require("tracks", "ingest --tracks …")
    tracks = snapshots.read(spark, work.warehouse, snapshot)
    tracks = tracks.limit(cfg.limit) if cfg.limit else tracks
    taken = model_inputs.of_model(work.warehouse, snapshot, model.card)
    with_inputs = taken.of_all(spark, work.warehouse, tracks)
    tags = transform(with_inputs, snapshot, taken, model.folder, model.version, model.card)
    if work.dry_run:
        return command.Outcome(
            {"tracks": snapshot.rows, "model_version": model.version}, "dry run: nothing scored"
        )
    LOGGER.info("scoring %d tracks with %s", snapshot.rows, model.version)
    details = TagsDetails(
        model_version=model.version,
        model=model.folder,
        genre_map_version=model.card.snapshots.get("genre_map"),
        tracks_run=snapshot.run_id,
        kept=TracksDetails.of(snapshot).kept,
    )
    expected = min(snapshot.rows, cfg.limit or snapshot.rows)
    with progress(spark, "score", snapshot.rows):
        staged = snapshots.write(work, TAGS, tags, made_from, details, expected_rows=expected)
    path = work.warehouse.path(staged.path)
    summary = {"staged": work.run_id, "rows": staged.rows, "path": path, "model_version": model.version}
    return command.Outcome(summary, f"tags: {staged.rows:,} rows staged in run {work.run_id}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("score", __doc__, Config, command.with_spark("score", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
