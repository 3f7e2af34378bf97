"""What tests share: one Spark session, a catalog built from one base row, the real data if at hand."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from genremill.infra.session import spark_session

# Thousands of small queries: compiling them well would take longer than running them.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives a file's tests to one worker, and those that share the catalog `ready` too: it is made once.

    So are those that call librosa, which compiles functions as it meets new types: two processes at once can
    mix them up in numba's cache.
    """
    for item in items:
        file = item.nodeid.partition("::")[0]
        with_librosa = file.startswith("tests/audio/") or file.endswith("/test_show.py")
        with_catalog = "ready" in getattr(item, "fixturenames", ())
        group = "librosa" if with_librosa else "ready" if with_catalog else file
        item.add_marker(pytest.mark.xdist_group(group))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> str:
    """A CSV file of rows that override `BASE_ROW`."""
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(BASE_ROW))
        writer.writeheader()
        writer.writerows([BASE_ROW | {"": at} | row for at, row in enumerate(rows)])
    return str(path)


def catalog(count: int, **overrides: Any) -> list[dict[str, Any]]:
    """Rows of tracks that have nothing in common: own id, artist, title and tempo."""
    return [
        {
            "track_id": f"t{at}",
            "artists": f"Artist {at}",
            "track_name": f"Title {at}",
            "tempo": 60 + at * 0.25,
        }
        | overrides
        for at in range(count)
    ]


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The one Spark session of a test run; the jobs' `main` find it running."""
    with spark_session("genremill tests") as session:
        # Tables of a few rows: planning and compiling a query would take longer than running it.
        for setting, value in {
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        }.items():
            session.conf.set(setting, value)
        yield session


def real_data(name: str) -> Path:
    """A file of the real data; the test is skipped where it is not at hand."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here; set GENREMILL_TEST_DATA to the folder with the real tables")
    return path


def s3_jars() -> str:
    """The class path of Spark's connector for S3; the test is skipped where it is not at hand."""
    if not list(JARS.glob("hadoop-aws-*.jar")):
        pytest.skip(f"no hadoop-aws in {JARS}; set GENREMILL_TEST_JARS to a folder with S3A's jars")
    return f"{JARS}/*"
