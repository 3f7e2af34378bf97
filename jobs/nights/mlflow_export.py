"""Sends a night to MLflow as a run of an experiment; needs the extra `mlflow`."""

import importlib.util
import os
import time

from genremill.infra import records
from genremill.infra.audio.paths import CREDENTIALS, redacted
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs.nights.record import PAGE, RECORD, Night, State

EXPERIMENT = "genremill"


def check(uri: str | None) -> None:
    """Raises `UsageError` if the URI of the server contains credentials, or if MLflow is not installed."""
    if uri is None:
        return
    if CREDENTIALS.search(uri):
        raise UsageError(
            f"--mlflow {redacted(uri)}: the URI contains credentials. Remove them and set the environment "
            "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        )
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError(f"--mlflow {uri} needs the MLflow client: pip install 'genremill[mlflow]'")


def send(uri: str, night: Night, page: str) -> None:
    """Sends a night to a tracking server. If that fails, it is only logged."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default, 7, takes minutes
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    now = int(time.time() * 1000)
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment, run_name=night.run_id).info.run_id
        client.log_batch(
            run,
            metrics=[Metric(name, value, now, 0) for name, value in figures(night).items()],
            params=[Param("model_version", str(night.metrics.get("model_version", "none")))],
            tags=[RunTag("code_version", night.code_version), RunTag("error", night.error[:5000])],
        )
        client.log_text(run, page, PAGE)
        client.log_text(run, records.to_json(night).decode(), RECORD)
        client.set_terminated(run, "FAILED" if night.error else "FINISHED")
    except (MlflowException, OSError) as err:
        LOGGER.warning("the night could not be sent to MLflow at %s: %s", uri, err)


def figures(night: Night) -> dict[str, float]:
    """The numbers of a night: seconds per step, rows per table, rejects, audits and model figures."""
    numbers = {"night/seconds": night.seconds, "night/exit_code": float(night.exit_code)}
    numbers["night/rejects"] = float(sum(rejected.count for rejected in night.rejects))
    for step in night.steps:
        if step.state is not State.SKIPPED:
            numbers[f"seconds/{step.name}"] = step.seconds
        for name, audit in step.summary.get("audits", {}).items():
            if audit["value"] is not None:
                numbers[f"audits/{name.replace(' ', '_')}"] = float(audit["value"])
    for table in night.tables:
        numbers[f"rows/{table.name}"] = float(table.rows_after)
    for name, figure in night.metrics.items():
        value = figure["value"] if isinstance(figure, dict) else figure
        if isinstance(value, int | float):
            numbers[f"model/{name}"] = float(value)
    return numbers
