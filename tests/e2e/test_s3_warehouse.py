"""A night from S3 to S3 as users run it: in its own process, configured by the environment alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as ds
import pytest

from genremill.infra import storage
from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Warehouse
from genremill.jobs import demo
from tests.conftest import s3_jars
from tests.e2e.s3_server import OWNER, S3Server, running_s3

BUCKET = "nights"
ROOT = f"s3a://{BUCKET}"
TRACKS, CLIPS = 300, 30
SPOILED = 2
FAST = ("--train.model", "linear", "--train.epochs", "3", "--train.batch", "64", "--cluster.clusters", "4")


@dataclass(frozen=True)
class BucketCatalog:
    """A bucket with a track table and clips, and a command line configured by its environment alone."""

    environment: dict[str, str]
    warehouse: Warehouse

    def run(self, *arguments: str, exit_code: int = 0) -> tuple[dict[str, Any], str]:
        """A job's JSON document and what it wrote to stderr."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "genremill.jobs.cli",
                *arguments,
                "--warehouse",
                self.warehouse.uri,
                "--json",
            ],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stderr
        assert OWNER.secret_key not in done.stdout + done.stderr
        return json.loads(done.stdout) if exit_code == 0 else {}, done.stderr

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The current rows of a table, as any reader sees them."""
        current = self.warehouse.current(table)
        assert current is not None
        store, path = storage.arrow(self.warehouse.path(current.snapshot.path))
        rows: list[dict[str, Any]] = ds.dataset(path, filesystem=store).to_table().to_pylist()
        return rows


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def catalog(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketCatalog]:
    jars = s3_jars()
    folder = tmp_path_factory.mktemp("catalog")
    made = ["--tracks", str(TRACKS), "--clips", str(CLIPS)]
    assert demo.main(["--out", str(folder / "tracks.csv"), *made]) == 0
    for path in folder.rglob("*.*"):
        server.client().upload_file(str(path), BUCKET, f"in/{path.relative_to(folder)}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= OWNER.environment | {"AWS_ENDPOINT_URL": server.endpoint}
    environment |= {"PYSPARK_SUBMIT_ARGS": f"--driver-class-path {jars} pyspark-shell"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        s3_client.forget()
        yield BucketCatalog(environment, Warehouse.at(f"{ROOT}/warehouse"))
    s3_client.forget()


def test_a_night_from_s3_to_s3(catalog: BucketCatalog) -> None:
    where = ("--tracks", f"s3://{BUCKET}/in/tracks.csv", "--audio-root", f"s3://{BUCKET}/in")
    first, _ = catalog.run("nightly", *where, "--extract.max-rejects", "0.1", *FAST)
    tracks, tags = catalog.rows("tracks"), catalog.rows("tags")
    assert {row["track_id"] for row in tags} == {row["track_id"] for row in tracks}
    assert len(tags) == len(tracks) >= TRACKS
    extracted = next(iter(first["steps"]["extract"]["features"].values()))
    assert extracted["decoded"] == CLIPS
    assert sum(extracted["rejected"].values()) == SPOILED
    assert storage.is_object(first["steps"]["evaluate"]["report"])
    names = [stored.name for stored in storage.objects(catalog.warehouse.uri)]
    assert not [name for name in names if name.startswith(("_tmp/", "_checkpoints/")) or "_pending" in name]
    assert storage.uploads(catalog.warehouse.uri) == []
    committed = [name for name in names if name.startswith("tags/") and name.endswith("_SUCCESS")]
    commit = json.loads(storage.read_bytes(f"{catalog.warehouse.uri}/{committed[0]}"))
    assert commit["committer"] == "magic"
