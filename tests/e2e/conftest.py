"""A demo catalog that has been ingested, clustered and trained on once; each test gets a copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, demo

FAST = ["--model", "linear", "--epochs", "30", "--batch", "64"]


class Catalog:
    """A warehouse and a method to run jobs on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.uri = str(folder / "warehouse")
        self.warehouse = Warehouse.at(self.uri)
        self.tracks = str(folder / "tracks.csv")
        self.capsys = capsys

    def run(self, job: str, *flags: str, exit_code: int = 0) -> dict[str, Any]:
        self.capsys.readouterr()
        assert cli.main([job, "--warehouse", self.uri, "--json", *flags]) == exit_code
        out = self.capsys.readouterr().out
        return json.loads(out) if exit_code == 0 else {}


@pytest.fixture(scope="session")
def ready(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a demo catalog that has been ingested, clustered and trained on."""
    folder = tmp_path_factory.mktemp("e2e")
    assert demo.main(["--out", str(folder / "tracks.csv"), "--tracks", "1500", "--clips", "0"]) == 0
    where = ["--warehouse", str(folder / "warehouse")]
    assert cli.main(["ingest", *where, "--tracks", str(folder / "tracks.csv")]) == 0
    assert cli.main(["cluster", *where, "--clusters", "6"]) == 0
    assert cli.main(["train", *where, *FAST]) == 0
    return folder


@pytest.fixture
def catalog(ready: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    """A copy of the demo catalog for one test."""
    shutil.copytree(ready, tmp_path / "copy")
    return Catalog(tmp_path / "copy", capsys)
