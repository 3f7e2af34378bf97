"""Finds the reports on a model version."""

import json

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Warehouse


def report_of(warehouse: Warehouse, version: str) -> str | None:
    """The newest report on a model version, or None."""
    for run_id in reversed(storage.folders(warehouse.path("reports"))):
        metrics = warehouse.path("reports", run_id, "metrics.json")
        if storage.is_object(metrics) and _model_of(metrics) == version:
            return warehouse.path("reports", run_id, "report.html")
    return None


def _model_of(metrics: str) -> str | None:
    try:
        return str(json.loads(storage.read_bytes(metrics))["model_version"])
    except (ValueError, KeyError, TypeError):
        LOGGER.warning("%s is damaged and is ignored", metrics)
        return None
