"""The steps of a night: whether each has work to do, why, and how it runs."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, ClassVar

import tyro
from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalUri, Uris
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot
from genremill.jobs import cluster, command, evaluate, extract, ingest, model_registry, publish, score, train
from genremill.jobs.audits import missing_values
from genremill.jobs.catalog.catalog_source import Catalog
from genremill.jobs.catalog.settings import Options as IngestOptions
from genremill.jobs.evaluate import Config as EvaluateConfig
from genremill.jobs.features.extraction_settings import Config as ExtractConfig, Options as ExtractOptions
from genremill.jobs.flags import in_section
from genremill.jobs.genres.sources import ClusterInputs, Config as ClusterConfig, resolve as cluster_inputs
from genremill.jobs.lakehouse import following
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.nights.reasons import Config as TrainConfig, When, changes, lasting_changes, training_due
from genremill.jobs.nights.record import report_of
from genremill.jobs.publish import Config as PublishConfig
from genremill.jobs.score import Config as ScoreConfig, ScoreInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import sources as training_sources
from genremill.models.evaluation.held_out import NothingHeldOut
from genremill.models.model_card import read_card
from genremill.udfs.decoding.settings import Barrier


@dataclass(frozen=True, kw_only=True)
class Config(Catalog):
    """The track table or the folder of audio, and the settings of each job under its name."""

    main_flags: ClassVar[tuple[str, ...]] = (
        *(
            "warehouse",
            "tracks",
            "tracks-from-audio",
            "audio-root",
            "train.model",
            "train.workers",
            "dry-run",
            "config",
            "json",
        ),
        *("ingest.columns.id", "ingest.columns.title", "ingest.columns.artists", "ingest.columns.genre"),
        *("ingest.columns.popularity", "ingest.columns.audio-uri"),
    )
    """The flags that --help shows."""
    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read. [that of --tracks-from-audio, or no audio]"""
    mlflow: OptionalUri = None
    """URI of an MLflow tracking server to which the results are sent. [none]"""
    notify: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None
    """URL to which the verdict of the night is posted as JSON, or env:NAME for a URL in an environment
    variable. [none]"""
    notify_command: str | None = None
    """Program that gets the verdict of the night as JSON on its standard input. [none]"""
    ingest: IngestOptions = field(default_factory=IngestOptions)
    extract: ExtractOptions = field(default_factory=ExtractOptions)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)

    @property
    def audio_roots(self) -> tuple[str, ...]:
        """The folders from which audio may be read."""
        return self.audio_root or ((self.tracks_from_audio,) if self.tracks_from_audio else ())

    @property
    def trains(self) -> bool:
        """Whether the night may train and evaluate a model; it does not if `score` gets a model by name."""
        return self.score.model is None and self.score.model_version is None


def ingest_settings(cfg: Config) -> ingest.Config:
    """The settings of `ingest`."""
    barrier = (
        Barrier.REQUIRE if Barrier.REQUIRE in (cfg.ingest.sandbox, cfg.extract.sandbox) else Barrier.AUTO
    )
    names = {"tracks": cfg.tracks, "tracks_from_audio": cfg.tracks_from_audio, "sandbox": barrier}
    return ingest.Config(**(vars(cfg.ingest) | names))


def extract_settings(cfg: Config) -> ExtractConfig:
    """The settings of `extract`."""
    return ExtractConfig(audio_root=cfg.audio_roots, **vars(cfg.extract))


@dataclass(frozen=True)
class Due:
    """The work of a step. `run` uses the same inputs that `reason` was computed from."""

    reason: str
    run: Callable[[], command.Outcome]


@dataclass(frozen=True)
class Step:
    """One job of the night."""

    name: str
    due: Callable[[], Due | None]
    """The work to do in the current state of the warehouse; None if nothing has changed."""
    after: tuple[str, ...] = ()
    """Steps whose output this step reads."""
    why_idle: Callable[[], str] = lambda: "nothing has changed"
    """Why the step has no work, if `due` is None."""


def steps(spark: SparkSession, work: command.Run, cfg: Config) -> list[Step]:
    """The steps of a night, in order."""
    jobs = _Jobs(spark, work, cfg)
    before_train = ("cluster", *(("ingest", "extract") if cfg.train.when is When.ALWAYS else ()))
    training = [
        Step("cluster", jobs.cluster, why_idle=jobs.why_no_training),
        Step("train", jobs.train, before_train, jobs.why_no_training),
        Step("evaluate", jobs.evaluate, ("train",)),
    ]
    return [
        Step("ingest", jobs.ingest),
        Step("extract", jobs.extract, ("ingest",) if cfg.audio_roots else (), jobs.why_no_audio),
        *(training if cfg.trains else []),
        Step("score", jobs.score, ("ingest", "extract", "train")),
        Step("publish", jobs.publish, ("score",)),
    ]


def expected(
    steps: list[Step], cfg: Config, known: Mapping[str, str | None] = MappingProxyType({})
) -> dict[str, str]:
    """The reason of each step that would run, by its name; `known` replaces the reasons of some steps."""
    reasons: dict[str, str] = {}
    for step in steps:
        if step.name in known:
            reason = known[step.name]
        elif before := [name for name in step.after if name in reasons]:
            reason = f"{' and '.join(before)} would run"
        else:
            with in_section(step.name, cfg):
                due = step.due()
            reason = due.reason if due else None
        if reason:
            reasons[step.name] = reason
    return reasons


def building(night: command.Run, table: dict[str, str]) -> command.Run:
    """The run of a night, whose jobs build on the tracks made from this table and on the newest genre map.

    Also if they were refused or rolled back: the same table then gives the same tags, which `publish` knows.
    """
    warehouse = night.warehouse
    made = {
        "tracks": [run for run in warehouse.candidates("tracks") if run.inputs == table],
        "genre_map": warehouse.candidates("genre_map"),
    }
    builds_on = {name: runs[0] for name, runs in made.items() if runs}
    return dataclasses.replace(night, warehouse=dataclasses.replace(warehouse, builds_on=builds_on))


@dataclass(frozen=True)
class _Jobs:
    """The jobs of one night. Each method returns the work of one job, or None."""

    spark: SparkSession
    night: command.Run
    cfg: Config

    @property
    def work(self) -> command.Run:
        """The run of the night; its jobs build on what the night has made or found so far."""
        return building(self.night, self._table)

    @cached_property
    def _table(self) -> dict[str, str]:
        """What the track table of this night is: digests of its files, and the settings."""
        return ingest.inputs(ingest_settings(self.cfg))

    def ingest(self) -> Due | None:
        warehouse = self.night.warehouse
        if any(run.inputs == self._table for run in warehouse.candidates("tracks")):
            return None
        newest = warehouse.newest("tracks")
        reason = newest and changes(newest.inputs, self._table)
        reason = reason or "there is no track table yet"
        return Due(reason, lambda: ingested(self.spark, self.night, self.cfg))

    def extract(self) -> Due | None:
        """`extract` itself finds out which audio is new; a dry run of it counts the new files."""
        count = self._with_audio()
        if not count:
            return None
        if not self.cfg.audio_roots:
            why = "their audio is not read: name its folder with --audio-root"
            LOGGER.warning("%d tracks have an audio_uri, but %s", count, why)
            return None
        settings = extract.ready(self.work.warehouse, extract_settings(self.cfg))
        if not self.work.dry_run:
            return Due("checking for new audio", lambda: extract.run(self.spark, self.work, settings))
        outcome = extract.run(self.spark, self.work, settings)
        new = sum(counts["decoded"] + counts["copied"] for counts in outcome.summary["features"].values())
        return Due(f"{new:,} audio files are not in the cache", lambda: outcome) if new else None

    def why_no_audio(self) -> str:
        return "--audio-root is missing" if self._with_audio() else "no track has an audio path"

    def _with_audio(self) -> int:
        tracks = self.work.warehouse.newest("tracks")
        return TracksDetails.of(tracks).with_audio if tracks else 0

    def cluster(self) -> Due | None:
        """A new genre map only serves training: new tracks alone are not a reason until a model is due."""

        def run(inputs: ClusterInputs | None = None) -> command.Outcome:
            inputs = inputs or cluster_inputs(self.work.warehouse, self.cfg.cluster)
            return cluster.run(self.spark, self.work, inputs)

        newest = self.work.warehouse.newest("genre_map")
        if newest is None:
            return Due("there is no genre map yet", run)
        if self._lost_values:
            return None
        inputs = cluster_inputs(self.work.warehouse, self.cfg.cluster)
        reason = lasting_changes(newest.inputs, inputs.made_from)
        if reason is None and (moved := changes(newest.inputs, inputs.made_from)):
            due = training_due(self.spark, self.work.warehouse, self.cfg.train)
            reason = f"{moved}; a new model is due" if due else None
        return Due(reason, lambda: run(inputs)) if reason else None

    @cached_property
    def _lost_values(self) -> str | None:
        """The columns that have lost so many values that `publish` will refuse the tags, as text."""
        tracks, limit = self.work.warehouse.newest("tracks"), self.cfg.publish.max_missing_rise
        return missing_values.refused(self.work.warehouse, tracks, limit) if tracks else None

    def why_no_training(self) -> str:
        return f"values are missing: {self._lost_values}" if self._lost_values else "nothing has changed"

    def train(self) -> Due | None:
        if self._lost_values:
            return None
        due = training_due(self.spark, self.work.warehouse, self.cfg.train)
        if due is None:
            return None

        def run() -> command.Outcome:
            settings = self.cfg.train.settings()
            inputs = due.inputs or training_sources.resolve(self.work.warehouse, settings)
            return train.run(self.spark, self.work, dataclasses.replace(inputs, by_nightly=True))

        return Due(due.reason, run)

    def evaluate(self) -> Due | None:
        cfg, warehouse = self.cfg.evaluate, self.work.warehouse
        try:
            version, folder = (
                model_registry.folder_of(warehouse, cfg.model_version[0])
                if cfg.model_version
                else model_registry.of_night(warehouse)
            )
        except UsageError:
            reason = "there is no model yet"
        else:
            # The tracks that a model from elsewhere was trained on are not in this warehouse.
            if report_of(warehouse, version) or folder != warehouse.path("models", version):
                return None
            cfg = dataclasses.replace(cfg, model_version=cfg.model_version or (version,))
            reason = f"model {version} has no report"
        return Due(reason, lambda: evaluate_or_warn(self.spark, self.work, cfg))

    @cached_property
    def _score_inputs(self) -> ScoreInputs:
        """The inputs of the tags that this night scores and publishes."""
        warehouse, model = self.work.warehouse, None
        if self.cfg.trains:
            version, folder = model_registry.of_night(warehouse)
            model = ModelVersion(version, folder, read_card(folder))
        return score.resolve(warehouse, self.cfg.score, model)

    def score(self) -> Due | None:
        current = self.work.warehouse.current("tags")
        if self._scored() is not None:
            return None
        made_from = self._score_inputs.made_from
        reason = changes(current.snapshot.inputs, made_from) if current else "there are no tags yet"
        return Due(reason, lambda: score.run(self.spark, self.work, self._score_inputs)) if reason else None

    def publish(self) -> Due | None:
        """Tags that were rolled back are not published again until they are named."""
        scored, current = self._scored(), self.night.warehouse.current("tags")
        settings = dataclasses.replace(self.cfg.publish, run=scored.run_id if scored else None)
        if current and (scored is None or current.snapshot.inputs == scored.inputs):
            return self._catching_up()
        if current and scored and (withdrawn := current.withdrew(scored)):
            again = f"run `genremill publish --run {withdrawn.run_id}`"
            LOGGER.warning("these tags were rolled back; to publish them again, %s", again)
            return self._catching_up()
        reason = f"run {scored.run_id} is staged" if current and scored else "no tags are current yet"
        return Due(reason, lambda: publish.run(self.spark, self.night, settings))

    def _catching_up(self) -> Due | None:
        """The commits of the current generation in other formats, if some are missing."""
        formats = self.cfg.publish.opened(self.night.warehouse)
        if not following.lags(self.night.warehouse, formats):
            return None
        return Due("a table lacks a commit", lambda: publish.catch_up(self.night, formats))

    def _scored(self) -> Snapshot | None:
        """The newest complete run of tags that was made from the same inputs."""
        warehouse, made_from = self.work.warehouse, self._score_inputs.made_from
        runs = (warehouse.readable("tags", run_id) for run_id in reversed(warehouse.run_ids("tags")))
        return next((tags for tags in runs if tags and tags.inputs == made_from), None)


def ingested(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Runs `ingest`; raises `UsageError` if the night should train a model, and no audio file has a genre."""
    outcome = ingest.run(spark, work, ingest_settings(cfg))
    if cfg.tracks_from_audio and cfg.trains and not outcome.summary["labelled"]:
        raise UsageError(
            f"{cfg.source}: no file has a genre in its tags, so no model can be trained. Name a model with "
            "--score.model; or print general labels, by the published tagger in the package, with "
            f"`genremill tag {cfg.tracks_from_audio}`"
        )
    return outcome


def evaluate_or_warn(spark: SparkSession, work: command.Run, cfg: EvaluateConfig) -> command.Outcome:
    """Evaluates a model; if the tracks have no test split, there is no report and the night goes on."""
    try:
        return evaluate.run(spark, work, evaluate.ready(work.warehouse, cfg))
    except NothingHeldOut as err:
        LOGGER.warning("there is no model report: %s", err)
        return command.Outcome({"report": None})
