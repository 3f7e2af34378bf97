"""The parts of a night's record that come from the warehouse: tables, rejects and model figures."""

import dataclasses
import json
from typing import Any

from pyspark.sql import SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.contracts import REJECTS
from genremill.jobs.evaluation.reports import report_of
from genremill.jobs.nights.record import Night, Rejected, TableRecord
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails

EXAMPLES = 3
"""Rejects that are shown for each reason."""
HEADLINES = ("top1", "top5", "any_label", "macro_f1", "closeness", "ece")


def tables(warehouse: Warehouse) -> dict[str, Snapshot]:
    """The current snapshot of each table that has one."""
    pointers = {table: warehouse.current(table) for table in SNAPSHOT_TABLES}
    return {table: current.snapshot for table, current in pointers.items() if current is not None}


def completed(spark: SparkSession, warehouse: Warehouse, night: Night, before: dict[str, Snapshot]) -> Night:
    """The night with its changes to the tables, its rejects and the figures of the model in use."""
    try:
        after = tables(warehouse)
        return dataclasses.replace(
            night,
            tables=tuple(
                _table(name, before.get(name), after.get(name)) for name in SNAPSHOT_TABLES if name in after
            ),
            rejects=_rejects(spark, warehouse, night.run_id),
            metrics=_metrics(warehouse, after.get("tags")),
        )
    except StorageError as err:  # the record already has the error that ended the night
        LOGGER.warning("the record of the night has no tables and no rejects: %s", err)
        return night


def _table(name: str, before: Snapshot | None, after: Snapshot | None) -> TableRecord:
    return TableRecord(
        name,
        before.run_id if before else None,
        before.rows if before else 0,
        after.run_id if after else None,
        after.rows if after else 0,
    )


def _rejects(spark: SparkSession, warehouse: Warehouse, run_id: str) -> tuple[Rejected, ...]:
    """The rejects of this night by job and reason; the most frequent reason comes first."""
    path = warehouse.run_path("rejects", run_id)
    if not storage.exists(path):
        return ()
    rows = spark.read.schema(REJECTS.schema).parquet(path).groupBy("stage", "reason")
    examples = F.slice(F.array_sort(F.collect_set(F.struct("key", "detail"))), 1, EXAMPLES)
    counts = rows.agg(F.count("*").alias("count"), examples.alias("examples")).orderBy(
        F.desc("count"), "reason"
    )
    return tuple(
        Rejected(
            row["stage"],
            row["reason"],
            row["count"],
            tuple((example["key"], example["detail"] or "") for example in row["examples"]),
        )
        for row in counts.orderBy(F.desc("count"), "reason").collect()
    )


def _metrics(warehouse: Warehouse, tags: Snapshot | None) -> dict[str, Any]:
    """Model version, split and main figures from the newest report on the model in use."""
    version = TagsDetails.of(tags).model_version if tags else None
    report = report_of(warehouse, version) if version else None
    if version is None or report is None:
        return {}
    text = storage.read_bytes(report.replace("report.html", "metrics.json"))
    measured = json.loads(text)
    figures = {name: measured[name] for name in HEADLINES if measured.get(name) is not None}
    return {"model_version": version, "split": measured["split"], "report": report} | figures
