"""A month of nights on the real table: 1 % new tracks per night, with short synthesized clips for some.

`tests/e2e/month.py` injects the faults; the first unexpected result ends the month with an error. It prints
a line for each night. It takes about an hour and is not a part of `make bench`.

python -m tests.bench.real_month --clips 300
"""

import csv
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import tyro
from pyspark.sql import SparkSession

from genremill.infra.session import spark_session
from genremill.jobs.nights.record import Night, State, earlier
from genremill.jobs.synthetic.clips import clip_name, write_clip
from tests.conftest import DATA
from tests.e2e import month
from tests.e2e.month import NIGHTS, Feed, Month, Row

TABLE = DATA / "spotify-tracks" / "dataset.csv"
GENRES = 30
"""Styles of the synthesized clips."""


@dataclass(frozen=True)
class Options:
    """The size of the month, and its folder."""

    clips: int = 300
    """Number of tracks with a clip."""
    folder: str | None = None
    """Folder in which the warehouse is kept [a temporary folder]."""
    first: int = 1
    """First night to run: an interrupted month can be continued in its folder."""
    flags: tuple[str, ...] = ()
    """Additional flags of `nightly`."""


def real_feed(folder: Path, clips: int) -> Feed:
    """The rows of the real table by track, with a clip for every n-th track."""
    by_track: dict[str, list[Row]] = {}
    with TABLE.open(newline="") as source:
        reader = csv.DictReader(source)
        for row in reader:
            by_track.setdefault(row["track_id"], []).append(row | {"audio_uri": ""})
        header = [*(reader.fieldnames or ()), "audio_uri"]
    every = max(len(by_track) // max(clips, 1), 1)
    for number, rows in enumerate(list(by_track.values())[::every][:clips]):
        if not (folder / clip_name(number)).exists():
            write_clip(str(folder), number, number % GENRES, GENRES, seed=0)
        for row in rows:
            row["audio_uri"] = clip_name(number)
    # The table is sorted by genre; this order gives each night tracks of all genres.
    return Feed(header, sorted(by_track.values(), key=lambda rows: hash_of(rows[0]["track_id"])))


def hash_of(track_id: str) -> int:
    """A hash that is the same in every process."""
    return zlib.crc32(track_id.encode())


def print_night(number: int, night: Night) -> None:
    """Prints a line about a night."""
    ran = " ".join(step.name for step in night.steps if step.state is State.RAN)
    tags = next((table.rows_after for table in night.tables if table.name == "tags"), 0)
    print(f"{number:5} {night.exit_code:4} {night.seconds:9.1f} {tags:9,}  {ran or 'nothing'}", flush=True)


def main() -> None:
    """Runs the month."""
    options = tyro.cli(Options)
    if not TABLE.exists():
        print(f"skipped: {TABLE} is not here; set GENREMILL_TEST_DATA to the folder with the real tables")
        return
    with tempfile.TemporaryDirectory() as scratch, spark_session("genremill month") as spark:
        run(spark, Path(options.folder or scratch), options)


def run(spark: SparkSession, folder: Path, options: Options) -> None:
    """Runs the month in one Spark session."""
    print(f"Spark {spark.version}\nnight exit   seconds      tags  ran", flush=True)
    month_run = Month(folder, real_feed(folder, options.clips), options.flags)
    if options.first > 1:
        month_run.nights += reversed(earlier(month_run.warehouse, most=2 * NIGHTS))
    month.run(month_run, print_night, options.first)
    print("every night as expected; objects decoded by fingerprint:", dict(month_run.decoded()))


if __name__ == "__main__":
    main()
