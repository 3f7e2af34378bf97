"""A month of nights on the real table, 1 % new tracks a night, with short synthesized clips for some of them.

What goes wrong on the way is that of `tests/e2e/month.py`; the first thing that is not right in the morning
ends it with an error. Prints a line a night. It takes about an hour, and `make bench` leaves it out.

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
    """How much, and where."""

    clips: int = 300
    """Tracks that have a clip."""
    folder: str | None = None
    """Where the warehouse is left to be looked at [a temporary folder]."""
    first: int = 1
    """Night to begin with: a month that was interrupted goes on in its folder."""
    flags: tuple[str, ...] = ()
    """More flags of `nightly`."""


def real_feed(folder: Path, clips: int) -> Feed:
    """The real table by track, in its own order, every so many tracks with a clip."""
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
    # In the table's order a genre follows the other: the tracks of each night are drawn from all of them.
    return Feed(header, sorted(by_track.values(), key=lambda rows: hash_of(rows[0]["track_id"])))


def hash_of(track_id: str) -> int:
    """The same in every process."""
    return zlib.crc32(track_id.encode())


def say(number: int, night: Night) -> None:
    """A night as a line."""
    ran = " ".join(step.name for step in night.steps if step.state is State.RAN)
    tags = next((one.rows_after for one in night.tables if one.name == "tags"), 0)
    print(f"{number:5} {night.exit_code:4} {night.seconds:9.1f} {tags:9,}  {ran or 'nothing'}", flush=True)


def main() -> None:
    """Runs it."""
    options = tyro.cli(Options)
    if not TABLE.exists():
        print(f"skipped: {TABLE} is not here; set GENREMILL_TEST_DATA to the folder with the real tables")
        return
    with tempfile.TemporaryDirectory() as scratch, spark_session("genremill month") as spark:
        run(spark, Path(options.folder or scratch), options)


def run(spark: SparkSession, folder: Path, options: Options) -> None:
    """The month in one session."""
    print(f"Spark {spark.version}\nnight exit   seconds      tags  ran", flush=True)
    found = Month(folder, real_feed(folder, options.clips), options.flags)
    if options.first > 1:
        found.nights += reversed(earlier(found.warehouse, "~", most=2 * NIGHTS))
    month.run(found, say, options.first)
    print("every night as expected; objects decoded by fingerprint:", dict(found.decoded()))


if __name__ == "__main__":
    main()
