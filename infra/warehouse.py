"""A warehouse: snapshot tables behind atomic pointers, models, reports, rejects.

A snapshot's run folder (`<table>/run=<run_id>/`) never changes once its `_run.json` is there; the pointer
`<table>/_current.json` is that record plus the history, and is replaced last, in one step.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.stores.objects import Conflict

POINTER = "_current.json"
HISTORY = 50
"""Largest number of earlier runs in a pointer, and of withdrawn ones."""


def new_run_id() -> str:
    """A run id that sorts by time: `20261121T105400-3fa9c1`, the second and its fraction in 2^-24 s."""
    second, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(second))}-{(nanoseconds << 24) // 10**9:06x}"


@dataclass(frozen=True)
class Snapshot:
    """One immutable run of a snapshot table; `path` is relative to the warehouse, `written_at` is in UTC."""

    run_id: str
    path: str
    rows: int
    schema_hash: str
    inputs: dict[str, str]
    """What it was made from: digests and run ids by name, and the settings. Equal inputs give equal rows."""
    code_version: str
    written_at: str
    details: dict[str, Any] = field(default_factory=dict)
    """What readers of this table need in addition to its columns; see `jobs.snapshot_details`."""


@dataclass(frozen=True)
class Pointer:
    """What a pointer file contains in addition to the record of the current snapshot."""

    published_at: str
    previous: tuple[Snapshot, ...]
    withdrawn: tuple[Snapshot, ...]
    """Runs that were rolled back; a run with the same inputs is published only if the user names it."""


@dataclass(frozen=True)
class Current(Pointer):
    """The content of `_current.json`."""

    snapshot: Snapshot

    def withdrew(self, snapshot: Snapshot) -> Snapshot | None:
        """The run made from the same inputs that was rolled back, if there is one."""
        return next((run for run in self.withdrawn if run.inputs == snapshot.inputs), None)

    def to_json(self) -> bytes:
        """The text of the pointer file; the fields of the snapshot are at its top level."""
        record = vars(self).copy()
        return records.to_json(vars(record.pop("snapshot")) | record)

    @classmethod
    def from_json(cls, data: bytes, source: str) -> "Current":
        """Reads a pointer file; if it is damaged, raises a `StorageError` that names `source`."""
        history = records.from_json(data, Pointer, source)
        return cls(**vars(history), snapshot=records.from_json(data, Snapshot, source))


@dataclass(frozen=True)
class Warehouse:
    """One URI that holds all tables, models and reports."""

    uri: str

    @classmethod
    def at(cls, location: str) -> "Warehouse":
        """The warehouse at a path or URI; raises `UsageError` if that is a file."""
        uri = storage.absolute_uri(location)
        if storage.is_object(uri):
            raise UsageError(f"--warehouse {location} is a file; expected a folder")
        return cls(uri)

    def path(self, *parts: str) -> str:
        """The URI of something in the warehouse."""
        return "/".join((self.uri, *parts))

    def run_path(self, table: str, run_id: str) -> str:
        """The folder of one run of a table."""
        return self.path(table, f"run={run_id}")

    def tmp(self, run_id: str, *parts: str) -> str:
        """Scratch space of one run, removed when the run ends."""
        return self.path("_tmp", run_id, *parts)

    def current(self, table: str) -> Current | None:
        """The current snapshot of a table and its history, or None before the first run."""
        return self._pointer(table)[0]

    def _pointer(self, table: str) -> tuple[Current | None, str | None]:
        """The pointer of a table, and the version of its file."""
        pointer = self.path(table, POINTER)
        if not storage.is_object(pointer):
            return None, None
        data, version = storage.read_version(pointer)
        return Current.from_json(data, pointer), version

    def require(self, table: str, made_by: str) -> Snapshot:
        """The current snapshot of a table; if there is none, the error names the job that makes it."""
        current = self.current(table)
        if current is None:
            raise UsageError(
                f"{self.uri} has no current {table!r} table yet: run `genremill {made_by}` first"
            )
        return current.snapshot

    def last_published(self, table: str) -> str:
        """The newest run id in the history of a table; "" if there is none."""
        current = self.current(table)
        runs = (current.snapshot, *current.previous, *current.withdrawn) if current else ()
        return max((run.run_id for run in runs), default="")

    def finish(self, table: str, snapshot: Snapshot) -> None:
        """Marks a run as complete: writes its record beside its data."""
        storage.write_atomic(f"{self.run_path(table, snapshot.run_id)}/_run.json", records.to_json(snapshot))

    def finished(self, table: str, run_id: str) -> Snapshot | None:
        """The record of a complete run, or None if there is no such run or it is incomplete."""
        record = self.run_path(table, run_id) + "/_run.json"
        if not storage.is_object(record):
            return None
        return records.from_json(storage.read_bytes(record), Snapshot, record)

    def run_ids(self, *table: str) -> list[str]:
        """Ids of the runs that have a folder under a table, complete or not, oldest first."""
        names = storage.folders(self.path(*table))
        return sorted(name.removeprefix("run=") for name in names if name.startswith("run="))

    def runs(self, table: str) -> list[Snapshot]:
        """All complete runs of a table, oldest first."""
        return [found for run_id in self.run_ids(table) if (found := self.finished(table, run_id))]

    def publish(self, table: str, snapshot: Snapshot, audited_against: Current | None = None) -> Current:
        """Makes a complete run the current one, in one atomic step.

        If two jobs publish at the same time, one raises `Conflict`. So does a job whose run was audited
        against a snapshot that is no longer current.
        """
        before, version = self._pointer(table)
        if audited_against is not None and before != audited_against:
            raise Conflict(f"{self.path(table)} was published to by another job; nothing has changed")
        history = (before.snapshot, *before.previous) if before else ()
        previous = tuple(run for run in history if run.run_id != snapshot.run_id)[:HISTORY]
        withdrawn = tuple(run for run in before.withdrawn if run.inputs != snapshot.inputs) if before else ()
        return self._switch(table, Current(storage.utc_now(), previous, withdrawn, snapshot), version)

    def roll_back(self, table: str) -> Current:
        """Makes the previous snapshot current again, and withdraws the one that it replaces."""
        before, version = self._pointer(table)
        if before is None or not before.previous:
            raise UsageError(f"{self.uri}: {table!r} has no earlier snapshot")
        withdrawn = (before.snapshot, *before.withdrawn)[:HISTORY]
        back, *previous = before.previous
        return self._switch(table, Current(storage.utc_now(), tuple(previous), withdrawn, back), version)

    def _switch(self, table: str, current: Current, version: str | None) -> Current:
        """Replaces the pointer; raises `Conflict` if it is no longer the version that was read."""
        storage.write_over(self.path(table, POINTER), current.to_json(), version)
        return current
