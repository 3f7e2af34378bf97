"""A small catalog over two nights: the first night is published, and faults are injected into the second.

The second night first runs without faults, job by job, and a copy of the warehouse is kept after each job. A
job under faults starts from the copy that the job before it left. It must end with the same tables as without
faults.
"""

import contextlib
import csv
import io
import json
import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow.fs import S3FileSystem
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from genremill.infra.session import spark_session
from genremill.jobs import cli, demo
from tests.conftest import s3_jars
from tests.e2e.faulty_proxy import Chooser, FaultyProxy, first
from tests.e2e.s3_server import OWNER, REGION, S3Server
from tests.e2e.warehouse_contents import NEWEST, Contents, Place

BUCKET = "music"
SECOND_NIGHTS_SHARE = 0.1
"""Share of the rows that are new in the second night. Every other clip of the earlier rows is new too."""
JOBS = ("ingest", "extract", "cluster", "train", "evaluate", "score", "publish")
EQUAL, CLEAN, RERUN = "equal tables", "clean refusal", "equal after a rerun"
"""The correct outcomes. The last one is for a run that was killed."""
QUICK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
"""Settings for tables of a few rows."""


def s3a_options() -> str:
    """Options that put Spark's S3 connector on the class paths; without its jars, the test is skipped."""
    return f"--driver-class-path {s3_jars()} --conf spark.executor.extraClassPath={s3_jars()}"


@contextlib.contextmanager
def quick_session() -> Iterator[SparkSession]:
    """A session for tables of a few rows."""
    with spark_session("genremill faults") as spark:
        spark.sparkContext.setLogLevel("OFF")
        for setting, value in QUICK.items():
            spark.conf.set(setting, value)
        yield spark


@dataclass(frozen=True)
class RunResult:
    """The result of a run of a job."""

    exit_code: int
    output: str
    """The log and the message of the job."""

    @property
    def message(self) -> str:
        """The error message of the job; if it was not raised on purpose, the last line of the output."""
        _, found, message = f"\n{self.output}".rpartition("\ngenremill ")
        if not found or "Traceback" in message:
            return f"no message: {self.output.strip().rpartition(chr(10))[2]}"
        return " ".join(message.split())


def run_here(job: str, *flags: str) -> RunResult:
    """Runs a job in this process, and in the Spark session of this process if there is one."""
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
        try:
            code = cli.main([job, *flags])
        except Exception:  # the test looks for bugs
            traceback.print_exc(file=output)
            code = 1
    return RunResult(code, output.getvalue())


@dataclass(frozen=True)
class Nights:
    """The track tables and clips of two nights under a prefix, and the flags of the jobs that read them."""

    prefix: str
    """A folder, or `s3a://bucket/…`."""

    @classmethod
    def create(cls, folder: Path, tracks: int, clips: int) -> "Nights":
        """Writes both tables and the clips to a folder."""
        whole = folder / "second.csv"
        assert demo.main(["--out", str(whole), "--tracks", str(tracks), "--clips", str(clips)]) == 0
        with whole.open(newline="") as source:
            header, *rows = csv.reader(source)
        rows = rows[: int(len(rows) * (1 - SECOND_NIGHTS_SHARE))]
        with_audio = [row for row in rows if len(row) == len(header) and row[-1]]
        for row in with_audio[::2]:
            row[-1] = ""
        with (folder / "first.csv").open("w", newline="") as out:
            csv.writer(out).writerows([header, *rows])
        return cls(str(folder))

    def flags(self, job: str, night: str = "second") -> list[str]:
        """The flags of a job, without the flag of the warehouse."""
        own = {
            "ingest": ["--tracks", f"{self.prefix}/{night}.csv"],
            "extract": ["--audio-root", self.prefix, "--max-rejects", "1"],
            "cluster": ["--clusters", "6"],
            "train": ["--model", "linear", "--epochs", "20", "--batch", "64"],
            "publish": ["--max-churn-new", "1", "--max-class-shift", "99", "--max-loss", "1"],
        }
        if job != "nightly":
            return own.get(job, [])
        steps = {name: own[name] for name in ("cluster", "train", "publish")}
        steps["extract"] = ["--max-rejects", "1"]
        steps["train"] = [*own["train"], "--when", "always"]
        return [*own["ingest"], "--audio-root", self.prefix] + [
            f"--{name}.{part[2:]}" if part.startswith("--") else part
            for name, flags in steps.items()
            for part in flags
        ]


class Bucket:
    """Warehouses on an S3 server, by name. The requests do not go through the proxy."""

    def __init__(self, server: S3Server) -> None:
        self._client: Any = server.client()
        host = server.endpoint.removeprefix("http://")
        self._store = S3FileSystem(
            access_key=OWNER.access_key,
            secret_key=OWNER.secret_key,
            endpoint_override=host,
            scheme="http",
            region=REGION,
        )

    def uri(self, name: str) -> str:
        """The URI of a warehouse, for the jobs."""
        return f"s3a://{BUCKET}/{name}"

    def place(self, name: str) -> Place:
        """A warehouse, for the checks of a test."""
        return Place(self._store, f"{BUCKET}/{name}")

    def upload(self, folder: Path, name: str) -> None:
        """Uploads the files of a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{name}/{path.relative_to(folder)}"
                self._client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

    def copy(self, name: str, to: str) -> None:
        """Copies a warehouse to another name."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        for key in (key for key in keys if not key.endswith("/")):  # such keys mark folders
            source = {"Bucket": BUCKET, "Key": key}
            self._client.copy_object(Bucket=BUCKET, Key=to + key.removeprefix(name), CopySource=source)

    def download(self, name: str, folder: Path) -> None:
        """Downloads a warehouse to a folder."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
            path = folder / key.removeprefix(f"{name}/")
            if not key.endswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Sets environment variables of this process; after the block, the old values are restored."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Verdict:
    """Whether a run under faults ended correctly."""

    result: RunResult
    outcome: str
    """`equal tables`, `clean refusal`, or what is wrong."""

    @property
    def passed(self) -> bool:
        """Whether the outcome is correct."""
        return self.outcome in (EQUAL, CLEAN, RERUN)


def judge(
    place: Place,
    before: dict[str, bytes],
    expected: Contents,
    result: RunResult,
    again: Callable[[], RunResult],
    killed: bool = False,
    refusal: ExitCode = ExitCode.RETRY,
) -> Verdict:
    """Checks the result of a run. `before` has the pointers before the run; `again` runs it without faults.

    A refusal is clean if its message is one line, if every table has its old or its expected rows, and if the
    same command then succeeds with the expected rows. A run that was killed has no message.
    """
    if result.exit_code == 0:
        wrong = different_tables(place.contents(), expected)
        return Verdict(result, f"FAILED: exit 0, other rows of {_shown(wrong, expected)}" if wrong else EQUAL)
    if not killed and (result.exit_code != refusal or result.message.startswith("no message")):
        return Verdict(result, f"FAILED: {result.message}")
    now = place.pointers()
    moved = [table for table in now if now[table] != before.get(table)]
    current = {table: place.snapshot(table) for table in moved}
    if torn := different_tables(current, {table: expected[table] for table in moved}):
        return Verdict(result, f"FAILED: refused, with other rows current in {_shown(torn, expected)}")
    rerun = again()
    if rerun.exit_code:
        return Verdict(result, f"FAILED: the rerun ended with {rerun.exit_code}: {rerun.message}")
    wrong = different_tables(place.contents(), expected)
    if wrong:
        return Verdict(result, f"FAILED: after a rerun, other rows of {_shown(wrong, expected)}")
    return Verdict(result, RERUN if killed else CLEAN)


def different_tables(found: Contents, expected: Contents) -> Contents:
    """The tables whose rows differ from the expected rows."""
    return {name: found[name] for name in expected if not _equal_rows(name, found[name], expected[name])}


def _shown(wrong: Contents, expected: Contents) -> str:
    """The names of the tables, each with the first rows that differ."""
    pairs = {name: set(rows) ^ set(expected[name]) for name, rows in wrong.items()}
    return "; ".join(f"{name}, as {' and '.join(sorted(odd)[:2])}" for name, odd in pairs.items())


LAST_DIGITS = {"features": ("values", 1e-5), "genre_profiles": ("means", 1e-12)}
"""Columns with sums, and their tolerance: the last digits of a sum depend on the order of its terms."""


def _equal_rows(table: str, found: list[str], expected: list[str]) -> bool:
    """Whether the rows are equal; sums may differ in their last digits."""
    table = table.removeprefix(NEWEST)
    if table not in LAST_DIGITS or len(found) != len(expected):
        return found == expected
    column, tolerance = LAST_DIGITS[table]
    pairs = [(json.loads(row), json.loads(other)) for row, other in zip(found, expected, strict=True)]
    sums = [(row.pop(column), other.pop(column)) for row, other in pairs]
    same = all(row == other for row, other in pairs)
    return same and all(
        np.allclose(values, other, rtol=tolerance, atol=tolerance / 10) for values, other in sums
    )


@dataclass(frozen=True)
class Case:
    """One run with injected faults."""

    name: str
    run: Callable[[], tuple[str, Verdict]]
    """Returns the number of injected faults, as text, and the verdict."""


@dataclass(frozen=True)
class Storage:
    """The warehouses on S3, and the proxy in front of them."""

    bucket: Bucket
    proxy: FaultyProxy
    nights: Nights

    @staticmethod
    def before(job: str) -> str:
        """The name of the warehouse that a job of the second night starts from."""
        return "after-night" if job in ("nightly", JOBS[0]) else f"after-{JOBS[JOBS.index(job) - 1]}"

    def expected(self, job: str) -> Contents:
        """The tables that the job must end with."""
        return self.bucket.place(f"after-{JOBS[-1] if job == 'nightly' else job}").contents()

    def with_faults(self, job: str, what: str, choose: Chooser) -> Case:
        """Runs a job of the second night in this process and injects faults into its requests."""
        return Case(f"{job}: {what}", lambda: self._run_with_faults(job, f"{job}: {what}", choose))

    def _run_with_faults(self, job: str, what: str, choose: Chooser) -> tuple[str, Verdict]:
        name = key_of(what)
        self.proxy.plan(first())
        self.bucket.copy(self.before(job), name)
        flags = ["--warehouse", self.bucket.uri(name), *self.nights.flags(job)]
        place = self.bucket.place(name)
        before = place.pointers()
        self.proxy.plan(choose)
        result = run_here(job, *flags)
        injected = f"{self.proxy.faults.total()} of {len(self.proxy.requests)} requests"
        self.proxy.plan(first())
        return injected, judge(place, before, self.expected(job), result, lambda: run_here(job, *flags))


def key_of(name: str) -> str:
    """A name as a part of an S3 key."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)
