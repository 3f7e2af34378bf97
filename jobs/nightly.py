"""Runs all steps in one Spark session: ingest, extract, cluster, train, evaluate, score, publish.

A step is skipped if its inputs and settings have not changed since its last run. Only one night runs in a
warehouse at a time. Writes a record of the night, `reports/<run_id>/run.json`, and a page, `night.html`.

    spark-submit jobs/nightly.py --warehouse file:///data/warehouse --tracks file:///data/tracks.csv
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra import lease, storage
from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import AuditRefused, ExitCode, GenremillError, UsageError
from genremill.infra.lease import Lease
from genremill.infra.log import LOGGER
from genremill.infra.session import faults
from genremill.jobs import command, ingest, model_registry, score
from genremill.jobs.features import extraction_settings
from genremill.jobs.flags import in_section
from genremill.jobs.genres import settings as genre_settings
from genremill.jobs.nights import (
    mlflow_export,
    page as night_page,
    record as night_record,
    retraining,
    sample as night_sample,
    steps as night_steps,
    tables as night_tables,
)
from genremill.jobs.nights.record import Clock, Night, State, StepRecord
from genremill.jobs.nights.steps import Config, Step

LEASE = "_night.lease"


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Runs the steps that have work to do and shows a sample of the tags."""
    check(cfg)
    steps = night_steps.steps(spark, work, cfg)
    if work.dry_run:
        reasons = dict(night_steps.expected(steps, cfg))
        text = "\n".join(f"{name} would run: {reason}" for name, reason in reasons.items())
        would_run = dict.fromkeys(reasons, "would run")
        return command.Outcome({"steps": would_run, "causes": reasons}, text or "nothing would run")
    with lease.held(work.warehouse.path(LEASE), work.run_id) as held:
        return _recorded(spark, work, cfg, steps, held)


def check(cfg: Config) -> None:
    """Raises on settings that are wrong for every warehouse."""
    if cfg.publish.rollback or cfg.publish.run:
        raise UsageError("--publish.rollback and --publish.run belong to `genremill publish`")
    mlflow_export.check(cfg.mlflow)
    with in_section("ingest", cfg):
        night_steps.ingest_settings(cfg).check()
    if cfg.audio_root:
        with in_section("extract", cfg):
            extraction_settings.check(night_steps.extract_settings(cfg))
    if cfg.trains:
        with in_section("cluster", cfg):
            genre_settings.check(cfg.cluster)
        with in_section("train", cfg):
            retraining.check(cfg.train)
    with in_section("score", cfg):
        score.check(cfg.score)
    with in_section("publish", cfg):
        cfg.publish.check()


def ready(work: command.Run, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    check(cfg)
    with in_section("ingest", cfg):
        ingest.ready(work, night_steps.ingest_settings(cfg))
    AudioStore(cfg.audio_root)
    with in_section("score", cfg):
        if not cfg.trains:
            score.model_of(work.warehouse, cfg.score)
    for version in cfg.evaluate.model_version:
        with in_section("evaluate", cfg):
            model_registry.folder_of(work.warehouse, version)
    return cfg


def _recorded(
    spark: SparkSession, work: command.Run, cfg: Config, steps: list[Step], held: Lease
) -> command.Outcome:
    """Runs the steps and writes the record of the night, also if a step fails."""
    clock, before = Clock(), night_tables.tables(work.warehouse)
    found = Night(work.run_id, storage.utc_now(), cores=spark.sparkContext.defaultParallelism)
    records: list[StepRecord] = []
    error: GenremillError | None = None
    for step in steps:
        record, error = _done(step, cfg, held)
        records.append(record)
        if error:
            break
    code = error.exit_code if error else _exit_code(records)
    found = dataclasses.replace(
        found,
        seconds=clock.seconds,
        exit_code=code,
        error=str(error or ""),
        steps=tuple(records),
    )
    found = night_tables.completed(spark, work.warehouse, found, before)
    earlier = night_record.earlier(work.warehouse, work.run_id, night_page.NIGHTS)
    page = night_page.render(found, earlier, night_page.header_of(work.warehouse, found))
    night_record.keep(work.warehouse, found, page)
    if cfg.mlflow:
        mlflow_export.send(cfg.mlflow, found, page)
    report = f"{night_record.folder_of(work.warehouse, work.run_id)}/{night_record.PAGE}"
    LOGGER.info("the report of the night is %s", report)
    if error:
        raise error
    summary = {"steps": {record.name: _summary(record) for record in records}, "report": report}
    lines = night_sample.lines_of(spark, work.warehouse)
    if model_report := found.metrics.get("report"):
        lines.append(f"report of the model: {model_report}")
    lines.append(f"report of the night: {report}")
    return command.Outcome(summary, "\n".join(lines), code)


def _done(step: Step, cfg: Config, held: Lease) -> tuple[StepRecord, GenremillError | None]:
    """Runs or skips one step; also returns the error that ends the night."""
    clock = Clock()
    cause = ""
    try:
        held.check()
        with in_section(step.name, cfg), faults():
            due = step.due()
            if due is None:
                LOGGER.info("%s: skipped because nothing has changed", step.name)
                return StepRecord(step.name, State.SKIPPED), None
            cause = due.reason
            LOGGER.info("%s: starting (reason: %s)", step.name, cause)
            outcome = due.run()
    except GenremillError as err:
        state = State.REFUSED if err.exit_code is ExitCode.USAGE else State.FAILED
        summary = err.summary if isinstance(err, AuditRefused) else {}
        return StepRecord(step.name, state, cause, clock.seconds, summary, err.exit_code), err
    LOGGER.info("%s: done in %.1f s", step.name, clock.seconds)
    state = State.SKIPPED if outcome.nothing_new else State.RAN
    record = StepRecord(step.name, state, cause, clock.seconds, outcome.summary, outcome.exit_code)
    return record, None


def _exit_code(records: list[StepRecord]) -> ExitCode:
    return next((ExitCode(one.exit_code) for one in records if one.exit_code), ExitCode.DONE)


def _summary(record: StepRecord) -> str | dict[str, Any]:
    """A step in the JSON document."""
    if record.state is State.SKIPPED:
        return State.SKIPPED.value
    return record.summary | {"cause": record.cause, "seconds": record.seconds}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main(
        "nightly", __doc__, Config, command.with_spark("nightly", run), argv, ready, creates_warehouse=True
    )


if __name__ == "__main__":
    sys.exit(main())
