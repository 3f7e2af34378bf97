"""A warehouse: snapshot tables behind atomic pointers, models, reports, rejects.

A snapshot's run folder (`<table>/run=<run_id>/`) never changes once its `_run.json` is there. Before a
warehouse has current tags, the pointer `<table>/_current.json` decides which run of a table is current. After
that, `_generation.json` decides it for all tables at once. Both files are replaced last, in one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genremill.infra import pointers, records, storage
from genremill.infra.errors import DamagedRecord, UsageError
from genremill.infra.generations import (
    HISTORY,
    TAGS as TAGS,
    Current as Current,
    CurrentGeneration as CurrentGeneration,
    Generation as Generation,
    Snapshot as Snapshot,
)
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import Conflict

POINTER, GENERATION = "_current.json", "_generation.json"
REFUSED = "_refused.json"
"""File in the folder of a run that an audit refused."""


@dataclass(frozen=True)
class Refusal:
    """Why an audit refused a run, and when."""

    why: str
    refused_at: str


@dataclass(frozen=True)
class Warehouse:
    """One URI that holds all tables, models and reports."""

    uri: str
    builds_on: Mapping[str, Snapshot] = field(default_factory=dict, hash=False)
    """Snapshots that jobs build on instead of the newest staged ones, by table; a night sets them."""

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
        return self.all_current(table).get(table)

    def all_current(self, *tables: str) -> dict[str, Current]:
        """The current snapshots of those tables that have one, all of the same generation."""
        generation = self.generation()
        of_table = generation.pointer if generation else lambda table: self._pointer(table)[0]
        return {table: current for table in tables if (current := of_table(table))}

    def generation(self) -> CurrentGeneration | None:
        """The current generation; None in a warehouse without tags, or which version 0.1.0 wrote."""
        return self._generation()[0]

    def _generation(self) -> tuple[CurrentGeneration | None, str | None]:
        """The current generation, and the version of its file."""
        path = self.path(GENERATION)
        data, version = pointers.read(path)
        return None if data is None else CurrentGeneration.from_json(data, path), version

    def _pointer(self, table: str) -> tuple[Current | None, str | None]:
        """The pointer of a table, and the version of its file."""
        path = self.path(table, POINTER)
        data, version = pointers.read(path)
        return None if data is None else Current.from_json(data, path), version

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

    def readable(self, table: str, run_id: str) -> Snapshot | None:
        """The record of a complete run, or None with a warning if it is damaged."""
        try:
            return self.finished(table, run_id)
        except DamagedRecord as err:
            LOGGER.warning("skipping a damaged record: %s", err)
            return None

    def run_ids(self, *table: str) -> list[str]:
        """Ids of the runs that have a folder under a table, complete or not, oldest first."""
        names = storage.folders(self.path(*table))
        return sorted(name.removeprefix("run=") for name in names if name.startswith("run="))

    def runs(self, table: str) -> list[Snapshot]:
        """All complete runs of a table, oldest first; damaged records are skipped with a warning."""
        return [found for run_id in self.run_ids(table) if (found := self.readable(table, run_id))]

    def candidates(self, table: str) -> list[Snapshot]:
        """The complete runs that are newer than the current one, newest first, and the current one last.

        Before tags are current, every table becomes current at once: then there are no newer runs.
        """
        published = self.all_current(table, TAGS)
        current = [published[table].snapshot] if table in published else []
        since = current[0].run_id if current else ""
        ids = [run_id for run_id in reversed(self.run_ids(table)) if run_id > since and TAGS in published]
        newer = [run for run_id in ids if (run := self.readable(table, run_id)) and run.checked]
        return newer + current

    def newest(self, table: str) -> Snapshot | None:
        """The snapshot that jobs build on: the newest staged run, or the current one if none is staged.

        A run is staged if it is newer than every run that was current, and no audit has refused it.
        """
        if table in self.builds_on:
            return self.builds_on[table]
        current, last = self.current(table), self.last_published(table)
        staged = (run for run in self.candidates(table) if run.run_id > last)
        usable = (run for run in staged if not self.refusal(table, run.run_id))
        return next(usable, current.snapshot if current else None)

    def refuse(self, table: str, run_id: str, why: str) -> None:
        """Marks a run that an audit refused: jobs do not build on it, but it can still be published."""
        refusal = records.to_json(Refusal(why, storage.utc_now()))
        storage.write_atomic(f"{self.run_path(table, run_id)}/{REFUSED}", refusal)

    def refusal(self, table: str, run_id: str) -> Refusal | None:
        """Why an audit refused a run, or None; a damaged mark still refuses."""
        mark = f"{self.run_path(table, run_id)}/{REFUSED}"
        if not storage.is_object(mark):
            return None
        try:
            return records.from_json(storage.read_bytes(mark), Refusal, mark)
        except DamagedRecord as err:
            LOGGER.warning("the reason of a refusal is unknown: %s", err)
            return Refusal("unknown", "")

    def publish(self, table: str, snapshot: Snapshot, audited_against: Current | None = None) -> bool:
        """Makes a complete run current in one atomic step, if no tags are current; else it stays staged.

        Returns whether it is current. If two jobs publish at the same time, one raises `Conflict`. So does a
        job whose run was audited against a snapshot that is no longer current.
        """
        if self.current(TAGS):
            return False
        before, version = self._pointer(table)
        if audited_against is not None and before != audited_against:
            raise Conflict(f"{self.path(table)} was published to by another job; nothing has changed")
        history = (before.snapshot, *before.previous) if before else ()
        previous = tuple(run for run in history if run.run_id != snapshot.run_id)[:HISTORY]
        pointer = Current(storage.utc_now(), previous, (), snapshot)
        storage.write_over(self.path(table, POINTER), pointer.to_json(), version)
        if self.generation() is None:
            return True
        self.follow()  # the first tags became current meanwhile
        return False

    def start_generations(self, current: CurrentGeneration) -> None:
        """Writes the first generation; raises `Conflict` if another job has done so."""
        storage.write_over(self.path(GENERATION), records.to_json(current), None)
        self.follow()

    def publish_together(
        self, tables: Mapping[str, Snapshot], published_by: str, audited_against: Current | None
    ) -> None:
        """Makes complete runs current together, in one atomic step; then the pointers follow.

        Raises `Conflict`, and changes nothing, if the tags that they were audited against are not current any
        more, or if another job publishes at the same time.
        """
        before, version = self._generation()
        if (before.pointer(TAGS) if before else None) != audited_against:
            raise Conflict(f"{self.uri} was published to by another job; nothing has changed")
        new = Generation(storage.utc_now(), published_by, dict(tables))
        after = before.followed_by(new) if before else CurrentGeneration(**vars(new))
        storage.write_over(self.path(GENERATION), records.to_json(after), version)
        for table, snapshot in tables.items():
            storage.remove_object(f"{self.run_path(table, snapshot.run_id)}/{REFUSED}")
        self.follow()

    def roll_back(self, published_by: str) -> CurrentGeneration:
        """Makes the generation before current again, and withdraws the one that it replaces."""
        before, version = self._generation()
        if before is None or not before.previous:
            raise UsageError(f"{self.uri} has no earlier tags to roll back to")
        after = before.rolled_back(storage.utc_now(), published_by)
        storage.write_over(self.path(GENERATION), records.to_json(after), version)
        self.follow()
        return after

    def set_aside_damaged(self, *tables: str) -> None:
        """Renames a damaged `_generation.json`, so that the pointers decide again, and damaged pointers."""
        pointers.set_aside_if_damaged(self.path(GENERATION), CurrentGeneration.from_json)
        for table in tables:
            pointers.set_aside_if_damaged(self.path(table, POINTER), Current.from_json)

    def lagging(self) -> list[str]:
        """The tables whose pointers do not follow the current generation yet."""
        generation = self.generation()
        texts = generation.pointers() if generation else {}
        return [table for table, text in texts.items() if pointers.read(self.path(table, POINTER))[0] != text]

    def follow(self) -> None:
        """Makes the pointers of the tables follow the current generation, also if a killed job did not."""
        while True:
            generation, version = self._generation()
            texts = generation.pointers() if generation else {}
            for table, text in texts.items():
                pointers.replace(self.path(table, POINTER), text)
            if self._generation()[1] == version:
                return
