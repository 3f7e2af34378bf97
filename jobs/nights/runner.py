"""Runs the steps of a night one after the other and writes the record of the night."""

import dataclasses
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.errors import AuditRefused, ExitCode, GenremillError
from genremill.infra.lease import Lease
from genremill.infra.log import LOGGER
from genremill.infra.session import faults
from genremill.jobs import command
from genremill.jobs.flags import in_section
from genremill.jobs.nights import (
    mlflow_export,
    page as night_page,
    record as night_record,
    sample as night_sample,
    tables as night_tables,
)
from genremill.jobs.nights.record import Clock, Night, State, StepRecord
from genremill.jobs.nights.steps import Config, Step


def run_and_record(
    spark: SparkSession, work: command.Run, cfg: Config, steps: list[Step], held: Lease
) -> command.Outcome:
    """Runs the steps and writes the record of the night, also if a step fails."""
    clock, before = Clock(), night_tables.tables(work.warehouse)
    night = Night(work.run_id, storage.utc_now(), cores=spark.sparkContext.defaultParallelism)
    records: list[StepRecord] = []
    error: GenremillError | None = None
    for step in steps:
        record, error = _run_step(step, cfg, held)
        records.append(record)
        if error:
            break
    code = error.exit_code if error else _exit_code(records)
    night = dataclasses.replace(
        night,
        seconds=clock.seconds,
        exit_code=code,
        error=str(error or ""),
        steps=tuple(records),
    )
    night = night_tables.completed(spark, work.warehouse, night, before)
    earlier = night_record.earlier(work.warehouse, work.run_id, night_page.NIGHTS)
    page = night_page.render(night, earlier, night_page.header_of(work.warehouse, night))
    night_record.keep(work.warehouse, night, page)
    if cfg.mlflow:
        mlflow_export.send(cfg.mlflow, night, page)
    report = f"{night_record.folder_of(work.warehouse, work.run_id)}/{night_record.PAGE}"
    LOGGER.info("the report of the night is %s", report)
    if error:
        raise error
    summary = {"steps": {record.name: _summary(record) for record in records}, "report": report}
    lines = night_sample.lines_of(spark, work.warehouse)
    if model_report := night.metrics.get("report"):
        lines.append(f"report of the model: {model_report}")
    lines.append(f"report of the night: {report}")
    return command.Outcome(summary, "\n".join(lines), code)


def _run_step(step: Step, cfg: Config, held: Lease) -> tuple[StepRecord, GenremillError | None]:
    """Runs or skips one step; also returns the error that ends the night."""
    clock = Clock()
    cause = ""
    try:
        held.check()
        with in_section(step.name, cfg), faults():
            due = step.due()
            if due is None:
                LOGGER.info("%s: skipped because %s", step.name, step.why_idle())
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
    return next((ExitCode(record.exit_code) for record in records if record.exit_code), ExitCode.DONE)


def _summary(record: StepRecord) -> str | dict[str, Any]:
    """A step in the JSON document."""
    if record.state is State.SKIPPED:
        return State.SKIPPED.value
    return record.summary | {"cause": record.cause, "seconds": record.seconds}
