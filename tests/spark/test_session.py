"""Sessions in processes of their own: whose settings win, and what is said where Spark cannot start."""

import os
import subprocess
import sys

import pytest

START = """
import os

from genremill.infra.errors import GenremillError
from genremill.infra.session import spark_session

try:
    with spark_session("test") as spark:
        print("started", spark.sparkContext.uiWebUrl)
        if "KILL" in os.environ:
            spark.sparkContext._gateway.proc.kill()
            spark.sparkContext._gateway.proc.wait()
            spark.range(3).count()
except GenremillError as err:
    print(int(err.exit_code), err)
"""
CASES = {
    "the user's own": {"PYSPARK_SUBMIT_ARGS": "--conf spark.ui.enabled=true pyspark-shell"},
    "a GPU": {"PYSPARK_SUBMIT_ARGS": "--conf spark.driver.resource.gpu.amount=1 pyspark-shell"},
    "no Java": {"JAVA_HOME": "/nowhere"},
    "Java dies": {"KILL": "1"},
}


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What each case prints; they start together, as starting takes them most of their time."""
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", START],
            env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name, environment in CASES.items()
    }
    return {name: process.communicate()[0] for name, process in running.items()}


def test_sparks_pages_are_there_for_a_user_who_turns_them_on(said: dict[str, str]) -> None:
    assert said["the user's own"].startswith("started http://127.0.0.1:")


def test_a_gpu_that_spark_does_not_find_is_not_worth_a_retry(said: dict[str, str]) -> None:
    assert said["a GPU"].startswith("2 Spark's configuration has GPUs, the machine has none: ")


def test_without_java_it_says_who_can_tell_more(said: dict[str, str]) -> None:
    assert said["no Java"].startswith("2 Java stopped when Spark started it")
    assert "genremill doctor" in said["no Java"]


def test_java_that_dies_is_worth_a_retry(said: dict[str, str]) -> None:
    started, error = said["Java dies"].splitlines()
    assert started.startswith("started")
    assert error.startswith("4 ")
