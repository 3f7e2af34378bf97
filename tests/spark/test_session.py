"""Sessions in processes of their own: whose settings win, and what is printed if Spark cannot start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pure.test_java import fake_java

START = """
import os

from genremill.infra import java
from genremill.infra.errors import GenremillError
from genremill.infra.session import spark_session

java.ANSWER_S = float(os.environ.get("ANSWER_S", java.ANSWER_S))
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
    "a normal start": {},
    "the user's own": {"PYSPARK_SUBMIT_ARGS": "--conf spark.ui.enabled=true pyspark-shell"},
    "a GPU": {"PYSPARK_SUBMIT_ARGS": "--conf spark.driver.resource.gpu.amount=1 pyspark-shell"},
    "no Java": {"JAVA_HOME": "/nowhere"},
    "Java dies": {"KILL": "1"},
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What each case prints on stdout and stderr; all start together, to save time."""
    hangs = fake_java(tmp_path_factory.mktemp("java"), "exec sleep 600")
    cases = CASES | {"Java hangs": {"JAVA_HOME": str(hangs.parents[1]), "ANSWER_S": "1"}}
    running = {
        name: subprocess.Popen(
            [sys.executable, "-c", START],
            env=os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, environment in cases.items()
    }
    return {name: process.communicate() for name, process in running.items()}


@pytest.fixture
def printed(processes: dict[str, tuple[str, str]]) -> dict[str, str]:
    """What each case prints on stdout."""
    return {name: stdout for name, (stdout, _) in processes.items()}


def test_a_normal_start_prints_no_noise(processes: dict[str, tuple[str, str]]) -> None:
    assert processes["a normal start"] == ("started None\n", "")


def test_without_java_its_own_message_is_printed(processes: dict[str, tuple[str, str]]) -> None:
    assert "/nowhere/bin/java" in processes["no Java"][1]


def test_a_user_can_turn_on_the_spark_ui(printed: dict[str, str]) -> None:
    assert printed["the user's own"].startswith("started http://127.0.0.1:")


def test_a_missing_gpu_is_a_usage_error(printed: dict[str, str]) -> None:
    assert printed["a GPU"].startswith("2 Spark's configuration has GPUs, the machine has none: ")


def test_without_java_the_error_names_the_doctor(printed: dict[str, str]) -> None:
    assert printed["no Java"].startswith("2 Java stopped when Spark started it")
    assert "genremill doctor" in printed["no Java"]


def test_java_that_hangs_is_a_usage_error_that_names_it(processes: dict[str, tuple[str, str]]) -> None:
    stdout, stderr = processes["Java hangs"]
    assert stdout.startswith("2 ")
    assert "bin/java hangs" in stdout
    assert stderr == ""


def test_java_that_dies_is_an_error_to_retry(printed: dict[str, str]) -> None:
    started, error = printed["Java dies"].splitlines()
    assert started.startswith("started")
    assert error.startswith("4 ")


def test_a_session_starts_without_an_address_and_without_a_utf8_locale(tmp_path: Path) -> None:
    own_name = ["unshare", "--uts"]
    if subprocess.run([*own_name, "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare --uts is not allowed here")
    code = (
        "from genremill.infra.session import spark_session\n"
        f"with spark_session('t') as spark: print(spark.read.text('file://{tmp_path}/Beyoncé.csv').count())"
    )
    (tmp_path / "Beyoncé.csv").write_text("a\nb\nc\n")
    command = [*own_name, "sh", "-c", 'hostname no-such-name && exec "$0" -c "$1"', sys.executable, code]
    environment = {name: value for name, value in os.environ.items() if name != "SPARK_LOCAL_IP"}
    environment["LC_ALL"] = "C"
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "3", done.stderr
