"""Snapshots of tables, the pointers that name the current ones, and the generations in which they change.

Once a warehouse has current tags, its tables change together: `_generation.json` at the root of the warehouse
decides which snapshots are current, and the pointer of each table follows it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from genremill.infra import records
from genremill.infra.errors import DamagedRecord
from genremill.infra.records import Count, InnerPath, Name, RunId, Time

TAGS = "tags"
"""The table whose publication makes a new generation."""
HISTORY = 50
"""Largest number of earlier runs or generations in a record, and of withdrawn ones."""


class DamagedPointer(DamagedRecord):
    """A file that decides which runs are current is damaged."""

    def __init__(self, message: str) -> None:
        recovery = (
            "`genremill publish --run RUN_ID` with a run of tags writes it again; "
            "before the first tags, remove the file"
        )
        super().__init__(f"{message}; {recovery}")


@dataclass(frozen=True)
class Snapshot:
    """One immutable run of a snapshot table; `path` is relative to the warehouse, `written_at` is in UTC."""

    run_id: RunId
    path: InnerPath
    rows: Count
    schema_hash: str
    inputs: dict[str, str]
    """What it was made from: digests and run ids by name, and the settings. Equal inputs give equal rows."""
    code_version: str
    written_at: str
    details: dict[str, Any] = field(default_factory=dict)
    """What readers of this table need in addition to its columns; see `jobs.snapshot_details`."""
    checked: bool = False
    """Whether all checks of the job passed before this record was written. Version 0.1.0 wrote it earlier."""

    def has_rows_of(self, other: "Snapshot") -> bool:
        """Whether it was made from the same inputs, apart from the columns that are copied to it."""
        return _without_copies(self.inputs) == _without_copies(other.inputs)


def _without_copies(inputs: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in inputs.items() if name != "keep"}


@dataclass(frozen=True)
class Pointer:
    """What a pointer file contains in addition to the record of the current snapshot."""

    published_at: Time
    previous: tuple[Snapshot, ...]
    withdrawn: tuple[Snapshot, ...]
    """Runs that were rolled back; a run with the same inputs is published only if the user names it."""


@dataclass(frozen=True)
class Current(Pointer):
    """The content of `_current.json`."""

    snapshot: Snapshot

    def withdrew(self, snapshot: Snapshot) -> Snapshot | None:
        """The run made from the same inputs that was rolled back, if there is one."""
        return next((run for run in self.withdrawn if run.has_rows_of(snapshot)), None)

    def to_json(self) -> bytes:
        """The text of the pointer file; the fields of the snapshot are at its top level."""
        record = vars(self).copy()
        return records.to_json(vars(record.pop("snapshot")) | record)

    @classmethod
    def from_json(cls, data: bytes, source: str) -> "Current":
        """Reads a pointer file; if it is damaged, raises a `DamagedPointer` that names `source`."""
        history = records.from_json(data, Pointer, source, DamagedPointer)
        return cls(**vars(history), snapshot=records.from_json(data, Snapshot, source, DamagedPointer))


@dataclass(frozen=True)
class Generation:
    """Snapshots that become current together, by table."""

    published_at: Time
    published_by: str
    """The run of `publish` or `nightly` that made them current."""
    tables: dict[Name, Snapshot]

    def __post_init__(self) -> None:
        if TAGS not in self.tables:
            raise ValueError(f"a generation without {TAGS}")

    @property
    def tags(self) -> Snapshot:
        """The tags, which every generation has."""
        return self.tables[TAGS]


@dataclass(frozen=True)
class CurrentGeneration(Generation):
    """The content of `_generation.json`: the current generation and its history."""

    previous: tuple[Generation, ...] = ()
    """Earlier generations, newest first."""
    withdrawn: tuple[Generation, ...] = ()
    """Generations that were rolled back, newest first."""
    is_rollback: bool = False
    """Whether it became current by a rollback."""

    @classmethod
    def from_json(cls, data: bytes, source: str) -> "CurrentGeneration":
        """Reads `_generation.json`; if it is damaged, raises a `DamagedPointer` that names `source`."""
        return records.from_json(data, cls, source, DamagedPointer)

    def followed_by(self, new: Generation) -> "CurrentGeneration":
        """The record after a publication; the history no longer has generations with the same tags."""
        previous = [each for each in (self._alone(), *self.previous) if each.tags.run_id != new.tags.run_id]
        withdrawn = [each for each in self.withdrawn if not each.tags.has_rows_of(new.tags)]
        return CurrentGeneration(**vars(new), previous=tuple(previous[:HISTORY]), withdrawn=tuple(withdrawn))

    def rolled_back(self, published_at: str, published_by: str) -> "CurrentGeneration":
        """The record after a return to the generation before; there must be one."""
        withdrawn = (self._alone(), *self.withdrawn)[:HISTORY]
        target, *previous = self.previous
        return CurrentGeneration(
            published_at, published_by, target.tables, tuple(previous), withdrawn, is_rollback=True
        )

    def pointer(self, table: str) -> Current | None:
        """The pointer of a table; None if this generation has no such table."""
        if (snapshot := self.tables.get(table)) is None:
            return None
        since = takewhile(lambda each: each.tables.get(table) == snapshot, (self, *self.previous))
        earlier = _runs(table, self.previous, {snapshot.run_id})
        known = {snapshot.run_id, *(run.run_id for run in earlier)}
        return Current([*since][-1].published_at, earlier, _runs(table, self.withdrawn, known), snapshot)

    def pointers(self) -> dict[str, bytes | None]:
        """The text of the pointer file of each table; None for a table that only other generations have."""
        names = [name for each in (self, *self.previous, *self.withdrawn) for name in each.tables]
        return {
            name: pointer.to_json() if (pointer := self.pointer(name)) else None
            for name in dict.fromkeys(names)
        }

    def _alone(self) -> Generation:
        return Generation(self.published_at, self.published_by, self.tables)


def _runs(table: str, generations: Iterable[Generation], without: set[str]) -> tuple[Snapshot, ...]:
    """The different runs of a table in the order of the generations, without some."""
    runs = {run.run_id: run for each in generations if (run := each.tables.get(table))}
    return tuple(run for run_id, run in runs.items() if run_id not in without)
