"""Runs the steps of a night one after the other and writes the record of the night."""

import dataclasses
import time
from typing import Any

from pyspark.sql import Row, SparkSession, functions as F

from genremill.infra import locations, storage
from genremill.infra.errors import AuditRefused, ExitCode, GenremillError
from genremill.infra.lease import Lease
from genremill.infra.log import LOGGER
from genremill.infra.session import faults
from genremill.infra.terminal import cell
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import TRACKS
from genremill.jobs.flags import in_section
from genremill.jobs.nights import (
    index_page,
    mlflow_export,
    notify,
    page as night_page,
    prometheus,
    record as night_record,
)
from genremill.jobs.nights.record import Night, State, StepRecord
from genremill.jobs.nights.steps import Config, Step
from genremill.jobs.snapshot_details import TagsDetails

SAMPLE_COLUMNS = {"artist": 24, "title": 32, "genres in the table": 24, "predicted tag": 20}
"""Headings and widths; the confidence follows."""


def run_and_record(
    spark: SparkSession, work: command.Run, cfg: Config, steps: list[Step], held: Lease
) -> command.Outcome:
    """Runs the steps and writes the record of the night, even if a step fails."""
    started, started_at = time.monotonic(), storage.utc_now()
    before = night_record.current_tables(work.warehouse)
    records: list[StepRecord] = []
    error: GenremillError | None = None
    for step in steps:
        record, error = _run_step(step, cfg, held)
        records.append(record)
        if error:
            break
    step_codes = (ExitCode(record.exit_code) for record in records if record.exit_code)
    code = error.exit_code if error else next(step_codes, ExitCode.DONE)
    night = Night(
        work.run_id,
        started_at,
        _since(started),
        cores=spark.sparkContext.defaultParallelism,
        exit_code=code,
        error=str(error or ""),
        steps=tuple(_stored(work.warehouse, record) for record in records),
    )
    night = night_record.completed(spark, work.warehouse, night, before)
    earlier = night_record.earlier(work.warehouse, night_page.NIGHTS)
    page = night_page.render(night, earlier, night_page.header_of(work.warehouse, night))
    night_record.keep(work.warehouse, night, page)
    if cfg.mlflow:
        mlflow_export.send(cfg.mlflow, night, page)
    prometheus.write(work.warehouse, night)
    index_page.write(work.warehouse, night)
    notify.send(cfg.notify, cfg.notify_command, work.warehouse, night)
    report = work.warehouse.path("reports", work.run_id, night_record.PAGE)
    LOGGER.info("the report of the night is %s", report)
    if error:
        raise error
    lines = _sample(spark, work.warehouse)
    if model_report := night.metrics.get("report"):
        lines.append(f"report of the model: {work.warehouse.path(model_report)}")
    lines.append(f"report of the night: {report}")
    summary = {"steps": {record.name: _summary(record) for record in records}, "report": report}
    return command.Outcome(summary, "\n".join(lines), code)


def _run_step(step: Step, cfg: Config, held: Lease) -> tuple[StepRecord, GenremillError | None]:
    """Runs or skips one step; also returns the error that ends the night."""
    started, cause = time.monotonic(), ""
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
        return StepRecord(step.name, state, cause, _since(started), summary, err.exit_code), err
    seconds = _since(started)
    LOGGER.info("%s: done in %.1f s", step.name, seconds)
    state = State.SKIPPED if outcome.nothing_new else State.RAN
    return StepRecord(step.name, state, cause, seconds, outcome.summary, outcome.exit_code), None


def _stored(warehouse: Warehouse, record: StepRecord) -> StepRecord:
    """A step in the record of the night."""
    return dataclasses.replace(record, summary=locations.relative(warehouse, record.summary))


def _since(started: float) -> float:
    """Seconds, rounded to a tenth."""
    return round(time.monotonic() - started, 1)


def _summary(record: StepRecord) -> str | dict[str, Any]:
    """A step in the JSON document."""
    if record.state is State.SKIPPED:
        return State.SKIPPED.value
    return record.summary | {"cause": record.cause, "seconds": record.seconds}


def _sample(spark: SparkSession, warehouse: Warehouse) -> list[str]:
    """A few tags as lines of text, always of the same tracks, and where all tags are."""
    current = warehouse.require("tags", "publish")
    tags = snapshots.read(spark, warehouse, current)
    tracks = snapshots.read_run(spark, warehouse, TRACKS, TagsDetails.of(current).tracks_run)
    sample = tags.orderBy(F.xxhash64("track_id")).limit(10).select("track_id", "label", "confidence")
    sample = sample.join(tracks, "track_id", "inner")
    rows = sample.select("track_id", "artists", "title", "genres", "label", "confidence").collect()
    heading = "".join(f"{name:<{width}}" for name, width in SAMPLE_COLUMNS.items()) + "confidence"
    where = f"tags: {current.rows:,} rows in {warehouse.path(current.path)}"
    return [heading, *map(_line, sorted(rows)), "", where]


def _line(row: Row) -> str:
    artists, genres = ", ".join(row["artists"]), ", ".join(row["genres"])
    texts = (artists, row["title"] or row["track_id"], genres, row["label"] or "–")
    cells = (cell(text, width) for text, width in zip(texts, SAMPLE_COLUMNS.values(), strict=True))
    return "".join(cells) + ("" if row["confidence"] is None else f"{row['confidence']:.2f}")
