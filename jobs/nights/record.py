"""The record of a night, `reports/<run_id>/run.json`: what ran, why, how long, and what came of it."""

import dataclasses
import enum
import json
import time
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import storage
from genremill.infra.errors import ExitCode, StorageError
from genremill.infra.log import LOGGER
from genremill.infra.version import code_version
from genremill.infra.warehouse import Warehouse

RECORD = "run.json"
PAGE = "night.html"


class State(enum.StrEnum):
    """How a step of the night ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    REFUSED = "refused"  # by an audit, or for what it was given
    FAILED = "failed"


@dataclass(frozen=True)
class StepRecord:
    """One step of a night."""

    name: str
    state: State
    cause: str = ""
    """Why it ran; for one that was skipped, nothing."""
    seconds: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    """What the job itself says: rows, audits, metrics."""
    exit_code: int = ExitCode.DONE


@dataclass(frozen=True)
class TableRecord:
    """A table before and after the night."""

    name: str
    run_before: str | None
    rows_before: int
    run_after: str | None
    rows_after: int


@dataclass(frozen=True)
class Rejected:
    """Rows or files refused by this night for one reason, with a few of them."""

    stage: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()
    """Key and detail."""


@dataclass(frozen=True)
class Night:
    """All that is kept of a night."""

    run_id: str
    started_at: str
    seconds: float = 0.0
    cores: int = 0
    exit_code: int = ExitCode.DONE
    error: str = ""
    """Why it ended early; empty where it did not."""
    steps: tuple[StepRecord, ...] = ()
    tables: tuple[TableRecord, ...] = ()
    rejects: tuple[Rejected, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    """Headline figures of the model whose tags are current, of its own report."""
    code_version: str = field(default_factory=code_version)

    def step(self, name: str) -> StepRecord | None:
        """One step by name."""
        return next((one for one in self.steps if one.name == name), None)

    def to_json(self) -> str:
        """The text of `run.json`."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: bytes) -> "Night":
        """Parses `run.json`."""
        record = json.loads(text)
        record["steps"] = tuple(StepRecord(**one | {"state": State(one["state"])}) for one in record["steps"])
        record["tables"] = tuple(TableRecord(**one) for one in record["tables"])
        record["rejects"] = tuple(
            Rejected(**one | {"examples": tuple((key, detail) for key, detail in one["examples"])})
            for one in record["rejects"]
        )
        return cls(**record)


def folder_of(warehouse: Warehouse, run_id: str) -> str:
    """Where a night's record and page lie."""
    return warehouse.path("reports", run_id)


def earlier(warehouse: Warehouse, run_id: str, most: int) -> list[Night]:
    """The newest nights before one, newest first; a record that cannot be read is passed over."""
    found: list[Night] = []
    for other in reversed(storage.folders(warehouse.path("reports"))):
        uri = f"{folder_of(warehouse, other)}/{RECORD}"
        if len(found) < most and other < run_id and storage.is_object(uri):
            try:
                found.append(Night.from_json(storage.read_bytes(uri)))
            except (ValueError, KeyError, TypeError) as err:
                LOGGER.warning("%s is damaged and passed over: %r", uri, err)
    return found


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """To a tenth of a second."""
        return round(time.monotonic() - self.started, 1)


def keep(warehouse: Warehouse, night: Night, page: str) -> None:
    """Writes the record and the page; a storage that is down does not hide why the night ended."""
    folder = folder_of(warehouse, night.run_id)
    try:
        storage.write_atomic(f"{folder}/{PAGE}", page.encode())
        storage.write_atomic(f"{folder}/{RECORD}", night.to_json().encode())
    except StorageError as err:
        LOGGER.warning("the night's record could not be written: %s", err)
