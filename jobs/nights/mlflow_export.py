"""A night as a run of an MLflow experiment, for those who look there; needs the extra `mlflow`."""

import importlib.util
import os
import time

from genremill.infra.audio.paths import CREDENTIALS, shown
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs.nights.record import PAGE, RECORD, Night, State

EXPERIMENT = "genremill"


def check(uri: str | None) -> None:
    """Raises where a tracking server is named with a secret, or its client is not installed."""
    if uri is not None and CREDENTIALS.search(uri):
        raise UsageError(
            f"--mlflow {shown(uri)}: expected a URI without credentials; MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD hold them"
        )
    if uri is not None and importlib.util.find_spec("mlflow") is None:
        raise UsageError(f"--mlflow {uri} needs MLflow's client: pip install 'genremill[mlflow]'")


def send(uri: str, night: Night, page: str) -> None:
    """Sends a night to a tracking server; one that cannot be reached does not spoil the night."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the client's own is seven, over minutes
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    now = int(time.time() * 1000)
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment, run_name=night.run_id).info.run_id
        client.log_batch(
            run,
            metrics=[Metric(name, value, now, 0) for name, value in figures(night).items()],
            params=[Param("model_version", str(night.metrics.get("model_version", "none")))],
            tags=[RunTag("code_version", night.code_version), RunTag("error", night.error[:5000])],
        )
        client.log_text(run, page, PAGE)
        client.log_text(run, night.to_json(), RECORD)
        client.set_terminated(run, "FAILED" if night.error else "FINISHED")
    except (MlflowException, OSError) as err:
        LOGGER.warning("MLflow at %s did not take the night: %s", uri, err)


def figures(night: Night) -> dict[str, float]:
    """The numbers of a night: seconds by step, rows by table, rejects, audits, and the model's figures."""
    found = {"night/seconds": night.seconds, "night/exit_code": float(night.exit_code)}
    found |= {f"seconds/{one.name}": one.seconds for one in night.steps if one.state is not State.SKIPPED}
    found |= {f"rows/{one.name}": float(one.rows_after) for one in night.tables}
    found["night/rejects"] = float(sum(one.count for one in night.rejects))
    publication = night.step("publish")
    audits = publication.summary.get("audits", {}) if publication else {}
    measured = {name.replace(" ", "_"): one["value"] for name, one in audits.items()}
    found |= {f"audits/{name}": float(value) for name, value in measured.items() if value is not None}
    for name, figure in night.metrics.items():
        value = figure["value"] if isinstance(figure, dict) else figure
        if isinstance(value, int | float):
            found[f"model/{name}"] = float(value)
    return found
