"""A night on a standalone cluster of two workers, which get all their imports from an archive.

`make test-cluster` packs the archive; without an archive the tests only start and stop the cluster.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, demo

ROOT = Path(__file__).parent.parent.parent
ARCHIVE = os.environ.get("GENREMILL_TEST_ARCHIVE")
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
TRAIN = ["--model", "linear", "--epochs", "5", "--batch", "64", "--seed", "3", "--workers", "2"]

needs_archive = pytest.mark.skipif(ARCHIVE is None, reason="make test-cluster packs the archive")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class LocalCluster:
    """A cluster by its folder and ports."""

    folder: Path
    port: int
    ui_port: int

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def command(self, action: str) -> str:
        where = ["--folder", str(self.folder), "--port", str(self.port), "--ui-port", str(self.ui_port)]
        script = str(ROOT / "infra" / "deploy" / "cluster.py")
        done = subprocess.run([sys.executable, script, action, *where], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def processes(self) -> dict[str, psutil.Process]:
        return {file.stem: psutil.Process(int(file.read_text())) for file in self.folder.glob("*.pid")}

    def submit(self, job: str, *flags: str, python: str = "./environment/bin/python") -> Any:
        """The JSON that a submitted job prints, and its exit code."""
        environment = os.environ | {
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "PYSPARK_PYTHON": python,
        }
        submit = [str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", self.url]
        archive = ["--archives", f"{ARCHIVE}#environment"] if python.startswith(".") else []
        settings = ("ui.enabled=false", "sql.shuffle.partitions=2", "speculation=true")
        conf = [text for one in settings for text in ("--conf", f"spark.{one}")]
        script = str(ROOT / "jobs" / f"{job}.py")
        command = [*submit, *archive, *conf, script, *flags, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        lines = done.stdout.splitlines() or [""]  # spark-submit also sends the stderr of the driver to stdout
        assert lines[-1].startswith("{"), "\n".join([*lines[-20:], done.stderr[-2000:]])
        return json.loads(lines[-1]) | {"exit_code": done.returncode}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    running = LocalCluster(tmp_path_factory.mktemp("cluster"), free_port(), free_port())
    try:
        running.command("up")
        yield running
    finally:
        running.command("down")


@pytest.fixture(scope="module")
def night(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a demo catalog tagged by a night on the cluster, and the JSON document of the night."""
    folder = tmp_path_factory.mktemp("night")
    assert demo.main(["--out", str(folder / "tracks.csv"), "--tracks", "300", "--clips", "40"]) == 0
    where = ["--warehouse", str(folder / "warehouse"), "--tracks", str(folder / "tracks.csv")]
    audio = ["--audio-root", str(folder), "--extract.max-rejects", "0.1", "--cluster.clusters", "6"]
    train = [flag.replace("--", "--train.") for flag in TRAIN]
    return folder, cluster.submit("nightly", *where, *audio, *train)


def test_a_cluster_starts_once_on_loopback_and_stops_all_its_processes(cluster: LocalCluster) -> None:
    running = cluster.processes()
    assert set(running) == {"master", "worker-1", "worker-2"}
    assert cluster.command("up") == cluster.url
    assert cluster.processes() == running
    for process in running.values():
        listening = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        assert listening
        assert {one.laddr.ip for one in listening} <= LOOPBACK
        variables = {name for name, value in process.environ().items() if sys.prefix in value}
        assert variables <= {"SPARK_HOME", "SPARK_CONF_DIR"}
    other = LocalCluster(cluster.folder / "other", free_port(), free_port())
    assert other.command("down") == ""


@needs_archive
def test_executors_import_the_package_from_the_archive(cluster: LocalCluster) -> None:
    checks = cluster.submit("doctor")
    assert checks["exit_code"] == 0, checks
    for place in checks["checks"]["executors"]["found"].partition(" in ")[2].split(", "):
        assert f":{cluster.folder}" in place  # the driver has its own copy of the package elsewhere
        assert "/environment/lib/" in place


@needs_archive
def test_doctor_reports_executors_without_genremill(cluster: LocalCluster) -> None:
    base = str(Path(sys.base_prefix) / "bin" / "python3")
    found = cluster.submit("doctor", python=base)
    assert found["exit_code"] == 2
    assert "No module named 'genremill'" in found["checks"]["executors"]["found"]


@needs_archive
def test_a_night_on_the_cluster_tags_every_track(night: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = night
    assert summary["exit_code"] == 0
    assert summary["steps"]["extract"]["features"]["gtzan57"]["decoded"] == 40
    warehouse = Warehouse.at(str(folder / "warehouse"))
    tags = warehouse.require("tags", "publish")
    rows = pq.read_table(folder / "warehouse" / tags.path, columns=["track_id", "status"])
    assert rows.num_rows == summary["steps"]["ingest"]["tracks"]
    assert set(rows.column("status").to_pylist()) == {"tagged"}


@needs_archive
def test_two_ranks_train_the_same_model_on_the_cluster_and_locally(
    night: tuple[Path, dict[str, Any]], spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, summary = night
    capsys.readouterr()
    assert cli.main(["train", "--warehouse", str(folder / "warehouse"), *TRAIN, "--json"]) == 0
    here = json.loads(capsys.readouterr().out)
    there, now = (
        json.loads((folder / "warehouse" / "models" / version / "model.json").read_text())
        for version in (summary["steps"]["train"]["model_version"], here["model_version"])
    )
    assert curves(there) == curves(now)
    assert there["sha256"] == now["sha256"]


def curves(card: dict[str, Any]) -> list[dict[str, Any]]:
    """The training history of a model but for the time it took."""
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in card["training"]["history"]]
