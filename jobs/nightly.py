"""All of it, in one Spark session: ingest, extract, cluster, train, evaluate, score, publish.

A step whose inputs and settings have not changed since its last run is skipped whole.

    spark-submit jobs/nightly.py --warehouse file:///data/warehouse --tracks file:///data/tracks.csv
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession, functions as F

from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import spark_session
from genremill.infra.terminal import cell
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cluster, command, evaluate, extract, ingest, model_versions, publish, score, train
from genremill.jobs.cluster import Config as ClusterConfig
from genremill.jobs.evaluate import Config as EvaluateConfig
from genremill.jobs.extract import Options as ExtractOptions
from genremill.jobs.ingest import Options as IngestOptions
from genremill.jobs.publish import Config as PublishConfig
from genremill.jobs.score import Config as ScoreConfig
from genremill.jobs.train import Config as TrainConfig
from genremill.models.held_out import NothingHeldOut
from genremill.models.model_card import read_card

SAMPLE_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Config:
    """The track table, and each job's settings under its name."""

    tracks: str
    """Path or URI of the track table, CSV or Parquet."""
    audio_root: tuple[str, ...] = ()
    """Folders or prefixes that audio may be read from; without one, no audio is."""
    ingest: IngestOptions = field(default_factory=IngestOptions)
    extract: ExtractOptions = field(default_factory=ExtractOptions)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)


@dataclass(frozen=True)
class Step:
    """One job of the night: whether it has work to do, and how it does it."""

    name: str
    stale: Callable[[], bool]
    run: Callable[[], command.Outcome]


def steps(spark: SparkSession, work: command.Run, cfg: Config) -> list[Step]:
    """The night's steps in order; a model from elsewhere leaves nothing to cluster, train or evaluate."""
    warehouse = work.warehouse
    source = ingest.Config(tracks=cfg.tracks, **_fields(cfg.ingest))

    def table_is_stale(table: str, wanted: Callable[[], dict[str, str]]) -> Callable[[], bool]:
        def stale() -> bool:
            current = warehouse.current(table)
            return current is None or current.snapshot.inputs != wanted()

        return stale

    def made() -> str | None:
        """The run of tags that is made of what is current, published or not."""
        wanted = score.inputs(warehouse, cfg.score)
        runs = [one.run_id for one in warehouse.runs("tags") if one.inputs == wanted]
        return runs[-1] if runs else None

    def unpublished() -> bool:
        run, current = made(), warehouse.current("tags")
        if current is not None and run in current.withdrawn:
            LOGGER.warning("the tags of run %s were rolled back; `publish --run` brings them back", run)
            return False
        return current is None or run != current.snapshot.run_id

    first = Step(
        "ingest",
        table_is_stale("tracks", lambda: ingest.inputs(source)),
        lambda: ingest.run(spark, work, source),
    )
    learning = [
        Step(
            "cluster",
            table_is_stale("genre_map", lambda: cluster.inputs(warehouse, cfg.cluster)),
            lambda: cluster.run(spark, work, cfg.cluster),
        ),
        Step(
            "train", lambda: _model_is_stale(warehouse, cfg.train), lambda: train.run(spark, work, cfg.train)
        ),
        Step(
            "evaluate",
            lambda: _report_of(warehouse, cfg.evaluate) is None,
            lambda: _evaluated(spark, work, cfg.evaluate),
        ),
    ]
    tagging = [
        Step("score", lambda: made() is None, lambda: score.run(spark, work, cfg.score)),
        Step(
            "publish",
            unpublished,
            lambda: publish.run(spark, work, dataclasses.replace(cfg.publish, run=made())),
        ),
    ]
    return [
        first,
        _listening(spark, work, cfg),
        *([] if cfg.score.model or cfg.score.model_version else learning),
        *tagging,
    ]


def _fields(options: IngestOptions | ExtractOptions) -> dict[str, Any]:
    return {one.name: getattr(options, one.name) for one in dataclasses.fields(options)}


def _audio(cfg: Config) -> extract.Config:
    return extract.Config(audio_root=cfg.audio_root, **_fields(cfg.extract))


def _listening(spark: SparkSession, work: command.Run, cfg: Config) -> Step:
    """The step that extracts; the job itself finds out what is new, and in a dry run is asked beforehand."""

    def has_news() -> bool:
        if not _has_audio(work.warehouse, cfg):
            return False
        if not work.dry_run:
            return True
        found = extract.run(spark, work, _audio(cfg)).summary["features"].values()
        return any(one["decoded"] + one["copied"] for one in found)

    return Step("extract", has_news, lambda: extract.run(spark, work, _audio(cfg)))


def _has_audio(warehouse: Warehouse, cfg: Config) -> bool:
    """Whether there is audio to look at."""
    tracks = warehouse.current("tracks")
    count = tracks.snapshot.details.get("with_audio", 0) if tracks else 0
    if count and not cfg.audio_root:
        LOGGER.warning("%d tracks have an audio_uri; --audio-root says where audio may be read from", count)
    return bool(count and cfg.audio_root)


def _model_is_stale(warehouse: Warehouse, cfg: TrainConfig) -> bool:
    try:
        version = model_versions.newest(warehouse, with_refused=True)
        card = read_card(model_versions.folder_of(warehouse, version)[1])
    except UsageError:  # there is none, or none that this version can read
        return True
    return bool(card.training.get("made_from") != train.inputs(warehouse, cfg))


def _evaluated(spark: SparkSession, work: command.Run, cfg: EvaluateConfig) -> command.Outcome:
    """The report, where there is something to measure: a table split without a test part has no report."""
    try:
        return evaluate.run(spark, work, cfg)
    except NothingHeldOut as err:
        LOGGER.warning("no report: %s", err)
        return command.Outcome({"report": None})


def _report_of(warehouse: Warehouse, cfg: EvaluateConfig) -> str | None:
    """The newest report on a model version."""
    version, _ = model_versions.folder_of(warehouse, cfg.model_version)
    return evaluate.report_of(warehouse, version)


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Runs the steps that have work to do, and shows a sample of the tags."""
    if cfg.publish.rollback or cfg.publish.run:
        raise UsageError("--publish.rollback and --publish.run belong to `genremill publish`")
    if not (cfg.score.model or cfg.score.model_version):
        train.check(cfg.train)
    if cfg.audio_root:
        extract.check(_audio(cfg))
    found: dict[str, Any] = {}
    code = ExitCode.DONE
    for step in steps(spark, work, cfg):
        started = time.monotonic()
        if work.dry_run and found:
            found[step.name] = "would run"
        elif not step.stale():
            LOGGER.info("%s: nothing has changed, skipped", step.name)
            found |= {} if work.dry_run else {step.name: "skipped"}
        elif work.dry_run:
            found[step.name] = "would run"
        else:
            LOGGER.info("%s: starting", step.name)
            outcome = step.run()
            code = outcome.exit_code or code
            found[step.name] = outcome.summary | {"seconds": round(time.monotonic() - started, 1)}
            LOGGER.info("%s: done in %.1f s", step.name, time.monotonic() - started)
    if work.dry_run:
        return command.Outcome({"steps": found}, f"dry run: {', '.join(found) or 'nothing'} would run")
    return command.Outcome({"steps": found}, _closing(spark, work.warehouse, cfg), code)


def _closing(spark: SparkSession, warehouse: Warehouse, cfg: Config) -> str:
    """A sample of the current tags, and where to read on."""
    snapshot = warehouse.require("tags", "publish")
    tags = spark.read.parquet(warehouse.path(snapshot.path))
    tracks = spark.read.parquet(warehouse.path("tracks", f"run={snapshot.details['tracks_run']}"))
    sample = tags.orderBy(F.xxhash64("track_id")).limit(SAMPLE_ROWS).join(tracks, "track_id", "inner")
    rows = sample.select("track_id", "artists", "title", "genres", "label", "confidence").collect()
    lines = [f"{'artist':<24}{'title':<32}{'source says':<24}{'tag':<20}confidence"]
    for row in sorted(rows):
        confidence = "" if row["confidence"] is None else f"{row['confidence']:.2f}"
        cells = (
            ";".join(row["artists"]),
            row["title"] or row["track_id"],
            ", ".join(row["genres"]),
            row["label"] or "–",
        )
        lines.append(
            "".join(cell(text, width) for text, width in zip(cells, (24, 32, 24, 20), strict=True))
            + confidence
        )
    lines.append(f"\ntags: {snapshot.rows:,} rows in {warehouse.path(snapshot.path)}")
    report = None if cfg.score.model else evaluate.report_of(warehouse, snapshot.details["model_version"])
    return "\n".join([*lines, *([f"report: {report}"] if report else [])])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        with spark_session("genremill nightly") as spark:
            return run(spark, work, cfg)

    return command.main("nightly", __doc__, Config, job, argv)


if __name__ == "__main__":
    sys.exit(main())
