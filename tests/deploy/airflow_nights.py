# mypy: disable-error-code="import-not-found"
"""Tests the DAG in a real Airflow: parses it, runs a night twice, and checks how it handles exit codes.

    AIRFLOW_PYTHON tests/deploy/airflow_nights.py HOME .venv/bin/genremill build/demo/tracks.csv

Runs in the venv of Airflow, which has no genremill: the DAG runs the job as a command.
"""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

DAGS = Path(__file__).parent.parent.parent / "infra" / "deploy"
NIGHT = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)


def main(home: Path, genremill: Path, tracks: Path) -> None:
    """Parses the DAG, runs a night twice and each exit code once; exits at the first unexpected result."""
    home.mkdir(parents=True)
    os.environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    os.environ |= {"AIRFLOW__CORE__DAGS_FOLDER": str(DAGS)}
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=DAGS / "airflow_dag.py")
    expect("import errors", bag.import_errors, {})
    dag = bag.dags["genremill_nightly"]
    expect("tasks", sorted(dag.task_dict), ["latest_only", "nightly"])
    expect("upstream of nightly", dag.task_dict["nightly"].upstream_task_ids, {"latest_only"})
    exit_codes()

    (home / "tracks").mkdir()
    shutil.copy(tracks, home / "tracks" / f"date={NIGHT:%Y-%m-%d}")
    places = {
        "submit": f"{genremill} nightly",
        "warehouse": str(home / "warehouse"),
        "tracks": str(home / "tracks"),
        "audio_root": str(tracks.parent),
    }
    first, again = (night(dag, places) for _ in range(2))
    expect("first night's work", "ingest" in done(first) and "publish" in done(first), True)
    expect("work of the same night, run again", done(again), [])


def night(dag: "DAG", places: dict[str, str]) -> dict[str, Any]:
    """Runs the DAG for one logical date; returns what the task `nightly` reports about its steps."""
    run = dag.test(logical_date=NIGHT, run_conf=places)
    expect("state", run.state, "success")
    steps: dict[str, Any] = run.get_task_instance("nightly").xcom_pull(task_ids="nightly")["steps"]
    return steps


def done(steps: dict[str, Any]) -> list[str]:
    """Names of the steps that had work to do."""
    return [name for name, outcome in steps.items() if outcome != "skipped"]


def exit_codes() -> None:
    """Airflow retries only exit code 4; 0 and 3 are successes."""
    sys.path.insert(0, str(DAGS))
    from airflow.sdk.exceptions import AirflowException, AirflowFailException
    from airflow_dag import run_job

    refused = AirflowFailException
    wanted = {0: None, 1: refused, 2: refused, 3: None, 4: AirflowException}
    for code, raised in wanted.items():
        try:
            run_job(f"sh -c 'echo a line of the log; echo {{}}; exit {code}' sh", [])
            found = None
        except AirflowException as err:
            found = type(err)
        expect(f"exit code {code}", found, raised)


def expect(what: str, found: object, expected: object) -> None:
    """Exits with a message if a value is not the expected one."""
    if found != expected:
        sys.exit(f"{what}: expected {expected}, found {found}")
    print(f"ok: {what}: {found}", flush=True)


if __name__ == "__main__":
    main(*(Path(argument).absolute() for argument in sys.argv[1:]))
