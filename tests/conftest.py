"""What tests share: a Spark session, a catalog built from a base row, and the real data if available."""

import csv
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pyspark.sql import SparkSession

from genremill.infra.session import spark_session

# Tests run thousands of small queries, for which the optimizing compiler costs more time than it saves. Java
# then has a smaller code cache by default; when that is full, it prints a warning to stdout.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
os.environ.setdefault("JDK_JAVA_OPTIONS", _JAVA)

BASE_ROW: dict[str, Any] = {
    "": 0,
    "track_id": "t0",
    "artists": "Ada;Bo",
    "album_name": "Album",
    "track_name": "Title",
    "popularity": 50,
    "duration_ms": 200_000,
    "explicit": "False",
    "danceability": 0.5,
    "energy": 0.6,
    "key": 1,
    "loudness": -6.5,
    "mode": 1,
    "speechiness": 0.05,
    "acousticness": 0.1,
    "instrumentalness": 0.0,
    "liveness": 0.2,
    "valence": 0.4,
    "tempo": 120.5,
    "time_signature": 4,
    "track_genre": "rock",
}
DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))

JARS = Path(os.environ.get("GENREMILL_TEST_JARS", DATA.parent / "jars"))
"""Spark's connector for S3."""

SetClock: TypeAlias = Callable[[float], None]
"""Sets how many seconds the clock of this process is ahead."""


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Makes the clock of this process wrong; those of the file system and of other processes stay right."""
    now_ns, gmtime = time.time_ns, time.gmtime

    def set_ahead(seconds: float) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: now_ns() + int(seconds * 1e9))
        monkeypatch.setattr(time, "time", lambda: now_ns() / 1e9 + seconds)
        monkeypatch.setattr(time, "gmtime", lambda s=None: gmtime(time.time() if s is None else s))

    return set_ahead


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the tests of a file in one worker, and all tests with the catalog `ready`, to make it only once.

    Tests that call librosa also share a worker: it compiles functions at run time, and two processes that do
    so at the same time can damage the numba cache.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        with_librosa = file.startswith("tests/audio/") or file.endswith("/test_show.py")
        with_catalog = "ready" in getattr(item, "fixturenames", ())
        group = "librosa" if with_librosa else "ready" if with_catalog else file
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_make_parametrize_id(config: pytest.Config, val: object) -> str | None:
    """Bytes have no place in the name of a test: packed ones hold the time, which differs between workers."""
    return "bytes" if isinstance(val, bytes) else None


def write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    """A CSV file of rows that override `BASE_ROW`."""
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(BASE_ROW))
        writer.writeheader()
        writer.writerows([BASE_ROW | {"": number} | row for number, row in enumerate(rows)])
    return str(path)


def catalog(count: int, **overrides: Any) -> list[dict[str, Any]]:
    """Rows of tracks that have nothing in common: own id, artist, title and tempo."""
    return [
        {
            "track_id": f"t{number}",
            "artists": f"Artist {number}",
            "track_name": f"Title {number}",
            "tempo": 60 + number * 0.25,
        }
        | overrides
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The one Spark session of a test run; the `main` functions of the jobs use it."""
    with spark_session("genremill tests") as session:
        # The tables have few rows: planning and compiling a query would take longer than running it.
        for setting, value in {
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        }.items():
            session.conf.set(setting, value)
        yield session


def real_data(name: str) -> Path:
    """A file of the real data; if it is missing, the test is skipped."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set GENREMILL_TEST_DATA to the folder with the real tables")
    return path


def s3_jars() -> str:
    """The class path of Spark's connector for S3; if it is missing, the test is skipped."""
    if not list(JARS.glob("hadoop-aws-*.jar")):
        pytest.skip(f"no hadoop-aws in {JARS}; set GENREMILL_TEST_JARS to a folder with S3A's jars")
    return f"{JARS}/*"
