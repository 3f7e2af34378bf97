"""genremill every night as an Airflow DAG: a run tags the track table of its logical date.

The command depends only on the logical date and the parameters. genremill skips every step whose inputs
have not changed, so a cleared or retried run does only the remaining work. Airflow retries only exit code 4,
an error of the storage or the cluster. Exit code 3 (finished with more rejects than the limit) counts as
success and logs a warning. Any other code fails at once, because a retry would end in the same way.
"""

# mypy: disable-error-code="import-not-found"
import json
import logging
import shlex
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException

LOGGER = logging.getLogger(__name__)
REJECTS_OVER_LIMIT, RETRY = 3, 4


def run_job(submit: str, flags: list[str]) -> dict[str, Any]:
    """The summary that the job prints: one JSON document on the last line of its output.

    `spark-submit` merges standard error into standard output; all other lines go to the task's log.
    """
    line, command = "", [*shlex.split(submit), *flags, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as job:
        for line in job.stdout or ():
            LOGGER.info("%s", line.rstrip())
    if job.returncode == RETRY:
        raise AirflowException("exit code 4: a fault of storage or cluster; the task will be retried")
    if job.returncode not in (0, REJECTS_OVER_LIMIT):
        raise AirflowFailException(f"exit code {job.returncode}: a retry would fail in the same way")
    if job.returncode == REJECTS_OVER_LIMIT:
        LOGGER.warning("The job is done, but it rejected more audio than --extract.max-rejects allows")
    summary: dict[str, Any] = json.loads(line)
    return summary


with DAG(
    dag_id="genremill_nightly",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two concurrent nights would write to the same warehouse
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    params={
        "submit": "spark-submit --properties-file /etc/spark-defaults.conf /opt/genremill/jobs/nightly.py",
        "warehouse": "s3a://music/warehouse",
        "tracks": "s3a://music/tracks",
        "audio_root": "s3a://music/audio/",
    },
    doc_md=__doc__,
) as dag:
    # Clearing an old run must not replace today's tags.
    latest = LatestOnlyOperator(task_id="latest_only")
    nightly = PythonOperator(
        task_id="nightly",
        python_callable=run_job,
        op_kwargs={
            "submit": "{{ params.submit }}",
            "flags": [
                "--warehouse={{ params.warehouse }}",
                "--tracks={{ params.tracks }}/date={{ ds }}",
                "--audio-root={{ params.audio_root }}",
            ],
        },
        outlets=[Asset("genremill://tags")],
    )
    latest >> nightly
