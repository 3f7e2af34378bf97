"""genremill every night as an Airflow DAG: the track table of the logical date, tagged.

The command depends on the logical date and the parameters alone, and a step whose inputs have not changed
is skipped: a run that is cleared, or tried again, does what is missing. Of genremill's exit codes only 4, a
fault of storage or cluster, is tried again; 3, finished with more rejects than the limit, is a success and a
warning; any other fails at once: an audit that refused would refuse again.
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
    """What the job says of its run: the last line of its output, one JSON document.

    `spark-submit` joins standard error to standard output: all other lines go to the task's log.
    """
    line = ""
    with subprocess.Popen(
        [*shlex.split(submit), *flags, "--json"], stdout=subprocess.PIPE, text=True, errors="replace"
    ) as job:
        for line in job.stdout or ():
            LOGGER.info("%s", line.rstrip())
    if job.returncode == RETRY:
        raise AirflowException("a fault of storage or cluster: worth a retry")
    if job.returncode not in (0, REJECTS_OVER_LIMIT):
        raise AirflowFailException(f"exit code {job.returncode}: a retry would end the same")
    if job.returncode == REJECTS_OVER_LIMIT:
        LOGGER.warning("done, but more audio was rejected than --extract.max-rejects allows")
    summary: dict[str, Any] = json.loads(line)
    return summary


with DAG(
    dag_id="genremill_nightly",
    schedule="15 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two nights at once would write one warehouse
    default_args={"retries": 3, "retry_delay": timedelta(minutes=10)},
    params={
        "submit": "spark-submit --properties-file /etc/spark-defaults.conf /opt/genremill/jobs/nightly.py",
        "warehouse": "s3a://music/warehouse",
        "tracks": "s3a://music/tracks",
        "audio_root": "s3a://music/audio/",
    },
    doc_md=__doc__,
) as dag:
    # A night of the past that is cleared must not put its tags in place of today's.
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
