"""The record of a night, `reports/<run_id>/run.json`: which steps ran, why, how long, and their results."""

import dataclasses
import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession, functions as F

from genremill.infra import locations, records, storage
from genremill.infra.errors import DamagedRecord, ExitCode, StorageError
from genremill.infra.log import LOGGER
from genremill.infra.readers import warehouse_reader
from genremill.infra.records import Count, Seconds
from genremill.infra.version import code_version
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.contracts import REJECTS
from genremill.jobs.nights.shown import check_shown
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, ColumnUse, TagsDetails, TracksDetails

RECORD = "run.json"
PAGE = "night.html"
EXAMPLES = 3
"""Rejects that are shown for each reason."""
HEADLINES = ("top1", "top5", "any_label", "macro_f1", "closeness", "ece")


class State(enum.StrEnum):
    """How a step of a night ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    REFUSED = "refused"  # by an audit, or because of wrong input
    FAILED = "failed"


@dataclass(frozen=True)
class StepRecord:
    """One step of a night."""

    name: str
    state: State
    cause: str = ""
    """Why it ran, or looked for work; empty if nothing had changed."""
    seconds: Seconds = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    """The JSON output of the job."""
    exit_code: int = ExitCode.DONE


@dataclass(frozen=True)
class TableRecord:
    """A table before and after the night."""

    name: str
    run_before: str | None
    rows_before: Count
    run_after: str | None
    rows_after: Count


@dataclass(frozen=True)
class Rejected:
    """Rows or files that the night rejected for the same reason."""

    stage: str
    reason: str
    count: Count
    examples: tuple[tuple[str, str], ...] = ()
    """Key and detail of a few of them."""


@dataclass(frozen=True)
class Night:
    """One run of `nightly`."""

    run_id: str
    started_at: str
    seconds: Seconds = 0.0
    cores: Count = 0
    exit_code: int = ExitCode.DONE
    error: str = ""
    """The message of the error that ended the night."""
    steps: tuple[StepRecord, ...] = ()
    tables: tuple[TableRecord, ...] = ()
    rejects: tuple[Rejected, ...] = ()
    columns: tuple[ColumnUse, ...] = ()
    """What `ingest` understood of the track table, in this night or when it last ran."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Main figures of the model whose tags are current, from its report."""
    code_version: str = field(default_factory=code_version)

    def step(self, name: str) -> StepRecord | None:
        """The step with this name."""
        return next((step for step in self.steps if step.name == name), None)


def current_tables(warehouse: Warehouse) -> dict[str, Snapshot]:
    """The current snapshot of each table that has one."""
    return {table: current.snapshot for table, current in warehouse.all_current(*SNAPSHOT_TABLES).items()}


def completed(spark: SparkSession, warehouse: Warehouse, night: Night, before: dict[str, Snapshot]) -> Night:
    """The night with its changes to the tables, its rejects and the figures of the model in use."""
    try:
        after = current_tables(warehouse)
        tables = tuple(_table(name, before.get(name), now) for name, now in after.items())
        rejects = _rejects(spark, warehouse.run_path("rejects", night.run_id))
        metrics = _metrics(warehouse, after.get("tags"))
        columns = _columns(night, after.get("tracks"))
        return dataclasses.replace(night, tables=tables, rejects=rejects, metrics=metrics, columns=columns)
    except StorageError as err:  # it must not hide the error that ended the night
        LOGGER.warning("the record of the night has no tables and no rejects: %s", err)
        return night


def _table(name: str, before: Snapshot | None, after: Snapshot) -> TableRecord:
    run_before, rows_before = (before.run_id, before.rows) if before else (None, 0)
    return TableRecord(name, run_before, rows_before, after.run_id, after.rows)


def _columns(night: Night, tracks: Snapshot | None) -> tuple[ColumnUse, ...]:
    """What the columns of the track table mean: from this night's `ingest`, or else from the tracks."""
    ingest = night.step("ingest")
    if ingest is not None and (found := ingest.summary.get("columns")):
        return tuple(ColumnUse(**use) for use in found)
    return TracksDetails.of(tracks).columns if tracks else ()


def _rejects(spark: SparkSession, path: str) -> tuple[Rejected, ...]:
    """The rejects of a night by job and reason; the most frequent reason comes first."""
    if not storage.exists(path):
        return ()
    rows = warehouse_reader(spark).schema(REJECTS.schema).parquet(path).groupBy("stage", "reason")
    pairs = F.collect_set(F.struct("key", F.coalesce("detail", F.lit("")).alias("detail")))
    counts = rows.agg(F.count("*").alias("number"), F.slice(F.array_sort(pairs), 1, EXAMPLES))
    return tuple(
        Rejected(stage, reason, number, tuple((key, detail) for key, detail in examples))
        for stage, reason, number, examples in counts.orderBy(F.desc("number"), "reason").collect()
    )


def _metrics(warehouse: Warehouse, tags: Snapshot | None) -> dict[str, Any]:
    """Model version, split and main figures from the newest report on the model in use."""
    version = TagsDetails.of(tags).model_version if tags else None
    report = report_of(warehouse, version) if version else None
    if report is None:
        return {}
    uri, measured = metrics_of(report)
    figures = {name: measured[name] for name in HEADLINES if measured.get(name) is not None}
    shown = {"split": measured.get("split"), "report": locations.relative(warehouse, report)}
    metrics = {"model_version": version} | shown | figures
    try:
        check_shown(metrics, {}, uri)
    except DamagedRecord as err:
        LOGGER.warning("the page shows no figures of the model: %s", err)
        return {}
    return metrics


def metrics_of(report: str) -> tuple[str, dict[str, Any]]:
    """The figures beside a report, after their URI; raises `DamagedRecord` if they are damaged."""
    uri = report.replace("report.html", "metrics.json")
    return uri, records.json_object(storage.read_bytes(uri), uri)


def reports(warehouse: Warehouse) -> Iterator[tuple[str, dict[str, Any]]]:
    """The run and the figures of each report on a model, newest first; damaged ones give a warning."""
    for run_id in reversed(storage.folders(warehouse.path("reports"))):
        uri = warehouse.path("reports", run_id, "metrics.json")
        try:
            if storage.is_object(uri):
                yield run_id, records.json_object(storage.read_bytes(uri), uri)
        except DamagedRecord as err:
            LOGGER.warning("%s is damaged and is ignored: %s", uri, err)


def report_of(warehouse: Warehouse, version: str) -> str | None:
    """The newest report on a model version, or None."""
    runs = (run_id for run_id, figures in reports(warehouse) if figures.get("model_version") == version)
    run_id = next(runs, None)
    return None if run_id is None else warehouse.path("reports", run_id, "report.html")


def earlier(warehouse: Warehouse, most: int) -> list[Night]:
    """The last nights, newest first; damaged records are skipped with a warning."""
    nights: list[Night] = []
    for other in reversed(storage.folders(warehouse.path("reports"))):
        uri = warehouse.path("reports", other, RECORD)
        if len(nights) < most and storage.is_object(uri):
            try:
                night = records.from_json(storage.read_bytes(uri), Night, uri)
                check_shown(night.metrics, {step.name: step.summary for step in night.steps}, uri)
                nights.append(night)
            except StorageError as err:
                LOGGER.warning("skipping a damaged record: %s", err)
    return nights


def keep(warehouse: Warehouse, night: Night, page: str) -> None:
    """Writes the record and the page. Storage errors are only logged: the error of the night is reported."""
    try:
        storage.write_atomic(warehouse.path("reports", night.run_id, PAGE), page.encode())
        storage.write_atomic(warehouse.path("reports", night.run_id, RECORD), records.to_json(night))
    except StorageError as err:
        LOGGER.warning("the record of the night could not be written: %s", err)
