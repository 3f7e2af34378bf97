"""Ctrl-C at any moment: one line on stderr, the exit code of shells for it, and no process is left."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

DEADLINE_S = 120.0
LEFT_S = 5.0
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d \S+ \w+: ")
PHASES = {
    "modules are imported": ("ingest", "", 0.4),
    "Java starts": ("ingest", "bin/java", 0.0),
    "Spark starts": ("ingest", "SparkSubmit", 1.0),
    "a Python worker runs": ("score", "pyspark.daemon", 0.2),
    "a rank trains": ("train", "local_ranks", 3.0),
}
"""The job, the process whose start begins the phase (none: the job itself), and seconds after that."""


def _descendants(job: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(job.pid).children(recursive=True) if job.poll() is None else []


def _is_named(process: psutil.Process, name: str) -> bool:
    try:
        return name in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def _wait_for(job: "subprocess.Popen[str]", name: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while name and not any(_is_named(one, name) for one in _descendants(job)):
        assert job.poll() is None, f"the job ended before {name} started"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_prints_one_line_and_leaves_no_process(ready: Path, tmp_path: Path, phase: str) -> None:
    name, process, seconds = PHASES[phase]
    shutil.copytree(ready, tmp_path / "copy")
    warehouse = str(tmp_path / "copy" / "warehouse")
    flags = ["--tracks", str(tmp_path / "copy" / "tracks.csv")] if name == "ingest" else []
    flags += ["--model", "linear", "--epochs", "2000", "--batch", "16"] if name == "train" else []
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(
            [sys.executable, "-m", "genremill.jobs.cli", name, "--warehouse", warehouse, *flags],
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    _wait_for(job, process)
    time.sleep(seconds)
    descendants = _descendants(job)
    os.killpg(job.pid, signal.SIGINT)  # what a terminal does
    # Python ends with the signal itself if it arrived in code that `exec` runs: a shell reports 130 for both.
    assert job.wait(DEADLINE_S) in (130, -signal.SIGINT)
    deadline = time.monotonic() + LEFT_S
    while _running(descendants) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _running(descendants) == []
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if not LOG_LINE.match(line)]
    assert lines == [f"genremill {name}: interrupted; run it again to continue"]
