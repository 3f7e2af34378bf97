"""The figures of the newest night as Prometheus text, `reports/metrics.prom`."""

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights.mlflow_export import figures
from genremill.jobs.nights.record import Night

FILE = "metrics.prom"
HELP = {
    "night_seconds": "Duration of the night.",
    "night_exit_code": "Exit code of the night: 0 done, 2 refused, 3 too many rejects, 4 failed.",
    "night_rejects": "Rows and files that the night has rejected.",
    "night_started_timestamp_seconds": "When the night started, in seconds since the epoch.",
    "step_seconds": "Duration of each step that ran.",
    "audit_value": "Value of each audit of the tags.",
    "table_rows": "Rows of each current table.",
    "model_figure": "Figures of the model in use, from its report.",
}
_METRICS = {
    "night": ("night_{}", ""),
    "seconds": ("step_seconds", "step"),
    "audits": ("audit_value", "audit"),
    "rows": ("table_rows", "table"),
    "model": ("model_figure", "figure"),
}
"""Name of the metric and of its label, by the first part of the name of a figure."""


def text(night: Night) -> str:
    """The figures in the text format of Prometheus."""
    samples: dict[str, list[str]] = {}
    for name, value in figures(night).items():
        kind, _, rest = name.partition("/")
        metric, label = _METRICS[kind]
        labels = f'{{{label}="{_escaped(rest)}"}}' if label else ""
        metric = metric.format(rest)
        samples.setdefault(metric, []).append(f"genremill_{metric}{labels} {value!r}")
    started = storage.utc_seconds(night.started_at)
    samples["night_started_timestamp_seconds"] = [f"genremill_night_started_timestamp_seconds {started!r}"]
    lines = []
    for metric, values in samples.items():
        lines += [f"# HELP genremill_{metric} {HELP[metric]}", f"# TYPE genremill_{metric} gauge", *values]
    return "\n".join([*lines, ""])


def write(warehouse: Warehouse, night: Night) -> None:
    """Writes the file; a storage error is only logged."""
    try:
        storage.write_atomic(warehouse.path("reports", FILE), text(night).encode())
    except StorageError as err:
        LOGGER.warning("%s could not be written: %s", FILE, err)


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
