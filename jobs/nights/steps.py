"""The steps of a night: what each does, and why it would have work to do."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalUri, Uri, Uris
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cluster, command, evaluate, extract, ingest, model_registry, publish, score, train
from genremill.jobs.evaluate import Config as EvaluateConfig
from genremill.jobs.evaluation.reports import report_of
from genremill.jobs.features.extraction_settings import Config as ExtractConfig, Options as ExtractOptions
from genremill.jobs.genres import sources as genre_sources
from genremill.jobs.genres.settings import Config as ClusterConfig
from genremill.jobs.genres.sources import ClusterInputs
from genremill.jobs.ingest import Options as IngestOptions
from genremill.jobs.nights import retraining
from genremill.jobs.nights.input_changes import changes
from genremill.jobs.nights.retraining import Config as TrainConfig, When
from genremill.jobs.publish import Config as PublishConfig
from genremill.jobs.score import Config as ScoreConfig, ScoreInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import sources as training_sources
from genremill.models.evaluation.held_out import NothingHeldOut


@dataclass(frozen=True, kw_only=True)
class Config:
    """The track table, and the settings of each job under its name."""

    main_flags: ClassVar[tuple[str, ...]] = (
        *("warehouse", "tracks", "audio-root", "train.model", "train.workers", "dry-run", "config", "json"),
    )
    """The flags that --help shows."""
    tracks: Uri
    """Path or URI of the track table, CSV or Parquet."""
    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read. [no audio]"""
    mlflow: OptionalUri = None
    """URI of an MLflow tracking server to which the results are sent. [none]"""
    ingest: IngestOptions = field(default_factory=IngestOptions)
    extract: ExtractOptions = field(default_factory=ExtractOptions)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)

    @property
    def learns(self) -> bool:
        """Whether the warehouse's own models are used: a named one leaves nothing to train or evaluate."""
        return not (self.score.model or self.score.model_version)


def source(cfg: Config) -> ingest.Config:
    """Settings of `ingest`."""
    return ingest.Config(tracks=cfg.tracks, **_fields(cfg.ingest))


def audio(cfg: Config) -> ExtractConfig:
    """Settings of `extract`."""
    return ExtractConfig(audio_root=cfg.audio_root, **_fields(cfg.extract))


def _fields(options: IngestOptions | ExtractOptions) -> dict[str, Any]:
    return {one.name: getattr(options, one.name) for one in dataclasses.fields(options)}


@dataclass(frozen=True)
class Step:
    """One job of the night."""

    name: str
    cause: Callable[[], str | None]
    """Why it has work to do, as far as is known before the steps in `after` have run; None if it has none."""
    run: Callable[[], command.Outcome]
    after: tuple[str, ...] = ()
    """Steps whose output is its input."""


def steps(spark: SparkSession, work: command.Run, cfg: Config) -> list[Step]:
    """The night's steps in order. A step runs with the inputs that its cause has compared."""
    warehouse = work.warehouse
    clustering = functools.cache(lambda: genre_sources.resolve(warehouse, cfg.cluster))
    training = functools.cache(lambda: training_sources.resolve(warehouse, cfg.train.settings()))
    evaluated = functools.cache(lambda: model_registry.folder_of(warehouse, *cfg.evaluate.model_version)[0])
    scoring = functools.cache(lambda: score.resolve(warehouse, cfg.score))
    tags = _Tags(warehouse, scoring)
    trained_after = ("cluster", *(("ingest", "extract") if cfg.train.when is When.ALWAYS else ()))
    learning = [
        Step(
            "cluster",
            lambda: _cluster_cause(spark, warehouse, cfg, clustering),
            lambda: cluster.run(spark, work, clustering()),
        ),
        Step(
            "train",
            lambda: retraining.cause(spark, warehouse, cfg.train, training),
            lambda: train.run(spark, work, training()),
            trained_after,
        ),
        Step(
            "evaluate",
            lambda: _evaluate_cause(warehouse, evaluated),
            lambda: _evaluated(spark, work, EvaluateConfig(model_version=(evaluated(),))),
            ("train",),
        ),
    ]
    return [
        Step("ingest", lambda: _ingest_cause(warehouse, cfg), lambda: ingest.run(spark, work, source(cfg))),
        Step(
            "extract",
            lambda: _extract_cause(spark, work, cfg),
            lambda: extract.run(spark, work, extract.ready(work, audio(cfg))),
            ("ingest",) if cfg.audio_root else (),
        ),
        *(learning if cfg.learns else []),
        Step(
            "score",
            tags.score_cause,
            lambda: score.run(spark, work, scoring()),
            ("ingest", "extract", "train"),
        ),
        Step(
            "publish",
            tags.publish_cause,
            lambda: publish.run(spark, work, dataclasses.replace(cfg.publish, run=tags.made_run())),
            ("score",),
        ),
    ]


def _ingest_cause(warehouse: Warehouse, cfg: Config) -> str | None:
    return _since(warehouse, "tracks", ingest.inputs(source(cfg)))


def _since(warehouse: Warehouse, table: str, wanted: dict[str, str]) -> str | None:
    """What has changed since a table's current run was made."""
    current = warehouse.current(table)
    return changes(current.snapshot.inputs, wanted) if current else f"there is no table {table} yet"


def _extract_cause(spark: SparkSession, work: command.Run, cfg: Config) -> str | None:
    """The job itself finds out what is new; a dry run asks it beforehand."""
    if not _has_audio(work.warehouse, cfg):
        return None
    if not work.dry_run:
        return "audio is compared with the cache"
    found = extract.run(spark, work, extract.ready(work, audio(cfg))).summary["features"].values()
    news = sum(one["decoded"] + one["copied"] for one in found)
    return f"{news:,} objects are not in the cache" if news else None


def _has_audio(warehouse: Warehouse, cfg: Config) -> bool:
    """Whether there is audio to look at."""
    tracks = warehouse.current("tracks")
    count = TracksDetails.of(tracks.snapshot).with_audio if tracks else 0
    if count and not cfg.audio_root:
        LOGGER.warning("%d tracks have an audio_uri; --audio-root says where audio may be read from", count)
    return bool(count and cfg.audio_root)


def _cluster_cause(
    spark: SparkSession, warehouse: Warehouse, cfg: Config, resolve: Callable[[], ClusterInputs]
) -> str | None:
    """A map is of use to training alone: new tracks are no reason for another until a model is due."""
    current = warehouse.current("genre_map")
    if current is None:
        return "there is no genre map yet"
    before, wanted = current.snapshot.inputs, resolve().made_from
    lasting = retraining.lasting
    if changed := changes(lasting(before), lasting(wanted)):
        return changed
    moved = changes(before, wanted)
    if not moved:
        return None
    due = retraining.cause(
        spark, warehouse, cfg.train, lambda: training_sources.resolve(warehouse, cfg.train.settings())
    )
    return f"{moved}; a model is due" if due else None


def _evaluate_cause(warehouse: Warehouse, version: Callable[[], str]) -> str | None:
    try:
        return None if report_of(warehouse, version()) else f"model {version()} has no report"
    except UsageError:
        return "there is no model yet"


def _evaluated(spark: SparkSession, work: command.Run, cfg: EvaluateConfig) -> command.Outcome:
    """The report, where there is something to measure: a table split without a test part has no report."""
    try:
        return evaluate.run(spark, work, evaluate.ready(work, cfg))
    except NothingHeldOut as err:
        LOGGER.warning("no report: %s", err)
        return command.Outcome({"report": None})


@dataclass(frozen=True)
class _Tags:
    """The tags that the present tracks, model and features make, published or not."""

    warehouse: Warehouse
    resolve: Callable[[], ScoreInputs]

    def score_cause(self) -> str | None:
        """Why the tracks have to be scored."""
        if self._made() is not None:
            return None
        return _since(self.warehouse, "tags", self.resolve().made_from)

    def publish_cause(self) -> str | None:
        """Why tags have to be published; those that were rolled back are not, until they are named."""
        made, current = self._made(), self.warehouse.current("tags")
        if current is None:
            return "no tags are current yet"
        if made is None or current.snapshot.inputs == made.inputs:
            return None
        if withdrawn := current.withdrew(made):
            LOGGER.warning(
                "these tags were rolled back; `publish --run %s` brings them back", withdrawn.run_id
            )
            return None
        return f"run {made.run_id} is staged"

    def made_run(self) -> str | None:
        """The newest run of tags that is made of what is current."""
        made = self._made()
        return made.run_id if made else None

    def _made(self) -> Snapshot | None:
        wanted = self.resolve().made_from
        newest_first = reversed(self.warehouse.run_ids("tags"))
        runs = (self.warehouse.finished("tags", run_id) for run_id in newest_first)
        return next((one for one in runs if one is not None and one.inputs == wanted), None)
