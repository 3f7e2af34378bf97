"""A killed job changes no published table, and the same command can run again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from genremill.jobs import cli
from tests.e2e.conftest import Catalog

DEADLINE_S = 120


def killed_when(seen: Callable[[], bool], *arguments: str) -> None:
    """Runs a job in its own process, and kills it and its children as soon as `seen` is true."""
    job = subprocess.Popen(
        [sys.executable, "-m", "genremill.jobs.cli", *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + DEADLINE_S
    try:
        while not seen():
            assert job.poll() is None, f"{arguments} ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def test_a_killed_score_does_not_change_the_tags(catalog: Catalog) -> None:
    catalog.run("score")
    catalog.run("publish")
    before = catalog.run("tables")
    runs = Path(catalog.uri) / "tags"
    count = len(list(runs.glob("run=*")))
    killed_when(lambda: len(list(runs.glob("run=*"))) > count, "score", "--warehouse", catalog.uri)
    assert catalog.run("tables") == before
    assert cli.main(["publish", "--warehouse", catalog.uri]) == 2
    assert "no staged tags" in catalog.capsys.readouterr().err


def test_a_killed_training_resumes_and_ends_with_the_same_weights(catalog: Catalog) -> None:
    flags = ["--model", "linear", "--epochs", "10", "--batch", "16", "--seed", "7"]
    checkpoints = Path(catalog.uri) / "_checkpoints"
    killed_when(
        lambda: bool(list(checkpoints.glob("*/epoch-00003/model.json"))),
        *("train", "--warehouse", catalog.uri, *flags),
    )
    left = {path.name for path in checkpoints.glob("*/epoch-*")}
    assert left, "the job was killed too late: no checkpoint is left"
    resumed = catalog.run("train", *flags)
    whole = catalog.run("train", *flags, "--no-resume")
    models = Path(catalog.uri) / "models"
    cards = [
        json.loads((models / one["model_version"] / "model.json").read_text()) for one in (resumed, whole)
    ]
    assert cards[0]["sha256"] == cards[1]["sha256"]
    assert len(cards[0]["training"]["history"]) == 10


def test_a_killed_ingest_does_not_change_the_tracks(catalog: Catalog) -> None:
    before = catalog.run("tables")
    runs = Path(catalog.uri) / "tracks"
    arguments = ["ingest", "--warehouse", catalog.uri, "--tracks", catalog.tracks, "--split-seed", "5"]
    killed_when(lambda: len(list(runs.glob("run=*"))) > 1, *arguments)
    assert catalog.run("tables") == before
