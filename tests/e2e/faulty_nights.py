"""A small catalog over two nights: the first is published, the second meets faults.

The second night is first run without any, job by job. What it leaves after each job is kept: a job on its own
starts from what the one before has left, and must end with what it has left itself.
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
from tests.e2e.warehouse_contents import Contents, Place

BUCKET = "music"
SECOND_NIGHTS_SHARE = 0.1
"""Of the rows are news of the second night, and so is every other clip of those before."""
JOBS = ("ingest", "extract", "cluster", "train", "evaluate", "score", "publish")
EQUAL, CLEAN, RERUN = "equal tables", "clean refusal", "equal after a rerun"
"""The ways to end that are right; the last one is that of a run that was killed."""


def s3a_options() -> str:
    """Options that put Spark's connector for S3 on the class paths; a skip without its jars."""
    return f"--driver-class-path {s3_jars()} --conf spark.executor.extraClassPath={s3_jars()}"


@contextlib.contextmanager
def quick_session() -> Iterator[SparkSession]:
    """A session for tables of a few rows."""
    with spark_session("genremill faults") as spark:
        spark.sparkContext.setLogLevel("OFF")
        for setting, value in {
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        }.items():
            spark.conf.set(setting, value)
        yield spark


@dataclass(frozen=True)
class Ended:
    """How a run of a job ended."""

    exit_code: int
    said: str
    """Its log and message."""

    @property
    def message(self) -> str:
        """The error that it ended with; the last line of all where that was none raised on purpose."""
        _, found, message = f"\n{self.said}".rpartition("\ngenremill ")
        if not found or "Traceback" in message:
            return f"no message: {self.said.strip().rpartition(chr(10))[2]}"
        return " ".join(message.split())


def run_here(job: str, *flags: str) -> Ended:
    """Runs a job in this process, and in its Spark session where there is one."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            code = cli.main([job, *flags])
        except Exception:  # a bug is what is looked for
            traceback.print_exc(file=said)
            code = 1
    return Ended(code, said.getvalue())


@dataclass(frozen=True)
class Nights:
    """Track tables of two nights and their clips, under a prefix, and the flags of the jobs on them."""

    prefix: str
    """A folder, or `s3a://bucket/…`."""

    @classmethod
    def made(cls, folder: Path, tracks: int, clips: int) -> "Nights":
        """Both tables and the clips, in a folder."""
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
        """Flags of a job, those of the warehouse left out."""
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
    """Warehouses on a server, by their names; reached past any proxy."""

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
        """A warehouse as jobs take it."""
        return f"s3a://{BUCKET}/{name}"

    def place(self, name: str) -> Place:
        """A warehouse to be looked into."""
        return Place(self._store, f"{BUCKET}/{name}")

    def upload(self, folder: Path, name: str) -> None:
        """The files of a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{name}/{path.relative_to(folder)}"
                self._client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

    def copy(self, name: str, to: str) -> None:
        """A warehouse as it stands, under another name."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        for key in (key for key in keys if not key.endswith("/")):  # those are markers of folders
            source = {"Bucket": BUCKET, "Key": key}
            self._client.copy_object(Bucket=BUCKET, Key=to + key.removeprefix(name), CopySource=source)

    def download(self, name: str, folder: Path) -> None:
        """A warehouse as it stands, into a folder."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
        for key in [found["Key"] for page in pages for found in page.get("Contents", ())]:
            path = folder / key.removeprefix(f"{name}/")
            if not key.endswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of this process, as they were again after the block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Verdict:
    """How a run under faults is judged."""

    ended: Ended
    outcome: str
    """`equal tables`, `clean refusal`, or what is wrong."""

    @property
    def passed(self) -> bool:
        """Whether it ended in one of the ways that are right."""
        return self.outcome in (EQUAL, CLEAN, RERUN)


def judged(
    place: Place,
    before: dict[str, bytes],
    expected: Contents,
    ended: Ended,
    again: Callable[[], Ended],
    killed: bool = False,
    refusal: ExitCode = ExitCode.RETRY,
) -> Verdict:
    """The verdict on a run of a warehouse whose pointers were those `before`; `again` runs it without faults.

    A refusal is clean if it says why in a line, every table is as it was or as it should become, and the
    same command then ends with the rows expected. A run that was killed says nothing.
    """
    if ended.exit_code == 0:
        wrong = differing(place.contents(), expected)
        return Verdict(ended, f"FAILED: exit 0, other rows of {_shown(wrong, expected)}" if wrong else EQUAL)
    if not killed and (ended.exit_code != refusal or ended.message.startswith("no message")):
        return Verdict(ended, f"FAILED: {ended.message}")
    now = place.pointers()
    moved = [table for table in now if now[table] != before.get(table)]
    current = {table: place.snapshot(table) for table in moved}
    if torn := differing(current, {table: expected[table] for table in moved}):
        return Verdict(ended, f"FAILED: refused, with other rows current in {_shown(torn, expected)}")
    rerun = again()
    if rerun.exit_code:
        return Verdict(ended, f"FAILED: the rerun ended with {rerun.exit_code}: {rerun.message}")
    wrong = differing(place.contents(), expected)
    if wrong:
        return Verdict(ended, f"FAILED: after a rerun, other rows of {_shown(wrong, expected)}")
    return Verdict(ended, RERUN if killed else CLEAN)


def differing(found: Contents, expected: Contents) -> Contents:
    """The tables whose rows are not those expected."""
    return {name: found[name] for name in expected if not _alike(name, found[name], expected[name])}


def _shown(wrong: Contents, expected: Contents) -> str:
    """Names of tables, and of each the first row that is not as expected."""
    pairs = {name: set(rows) ^ set(expected[name]) for name, rows in wrong.items()}
    return "; ".join(f"{name}, as {' and '.join(sorted(odd)[:2])}" for name, odd in pairs.items())


LAST_DIGITS = {"features": ("values", 1e-5), "genre_profiles": ("means", 1e-12)}
"""Columns of sums, whose last digits depend on the order of what is added, and how far they may differ."""


def _alike(table: str, found: list[str], expected: list[str]) -> bool:
    """Whether rows are the same, sums up to their last digits."""
    if table not in LAST_DIGITS or len(found) != len(expected):
        return found == expected
    column, tolerance = LAST_DIGITS[table]
    pairs = [(json.loads(one), json.loads(other)) for one, other in zip(found, expected, strict=True)]
    sums = [(one.pop(column), other.pop(column)) for one, other in pairs]
    same = all(one == other for one, other in pairs)
    return same and all(np.allclose(one, other, rtol=tolerance, atol=tolerance / 10) for one, other in sums)


@dataclass(frozen=True)
class Case:
    """One run, and what is injected into it."""

    name: str
    run: Callable[[], tuple[str, Verdict]]
    """Gives what was injected, counted, and the verdict."""


@dataclass(frozen=True)
class Storage:
    """The warehouses on S3 and the way to them through the proxy."""

    bucket: Bucket
    proxy: FaultyProxy
    nights: Nights

    @staticmethod
    def before(job: str) -> str:
        """The warehouse that a job of the second night starts from."""
        return "after-night" if job in ("nightly", JOBS[0]) else f"after-{JOBS[JOBS.index(job) - 1]}"

    def expected(self, job: str) -> Contents:
        """What it must end with."""
        return self.bucket.place(f"after-{JOBS[-1] if job == 'nightly' else job}").contents()

    def storm(self, job: str, what: str, choose: Chooser) -> Case:
        """A job of the second night, in this process, whose requests meet faults."""
        return Case(f"{job}: {what}", lambda: self._stormed(job, f"{job}: {what}", choose))

    def _stormed(self, job: str, what: str, choose: Chooser) -> tuple[str, Verdict]:
        name = as_key(what)
        self.proxy.plan(first())
        self.bucket.copy(self.before(job), name)
        flags = ["--warehouse", self.bucket.uri(name), *self.nights.flags(job)]
        place = self.bucket.place(name)
        before = place.pointers()
        self.proxy.plan(choose)
        ended = run_here(job, *flags)
        injected = f"{self.proxy.faults.total()} of {len(self.proxy.requests)} requests"
        self.proxy.plan(first())
        return injected, judged(place, before, self.expected(job), ended, lambda: run_here(job, *flags))


def as_key(name: str) -> str:
    """A name as a part of a key."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)
