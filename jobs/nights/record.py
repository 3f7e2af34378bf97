"""The record of a night, `reports/<run_id>/run.json`: which steps ran, why, how long, and their results."""

import enum
import time
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import records, storage
from genremill.infra.errors import ExitCode, StorageError
from genremill.infra.log import LOGGER
from genremill.infra.version import code_version
from genremill.infra.warehouse import Warehouse

RECORD = "run.json"
PAGE = "night.html"


class State(enum.StrEnum):
    """How a step of a night ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    REFUSED = "refused"  # by an audit, or because of wrong input
    FAILED = "failed"


@dataclass(frozen=True)
class StepRecord:
    """One step of a night."""

    name: str
    state: State
    cause: str = ""
    """Why it ran; empty if it was skipped."""
    seconds: float = 0.0
    summary: dict[str, Any] = field(default_factory=dict)
    """The JSON output of the job."""
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
    """Rows or files that the night rejected for the same reason."""

    stage: str
    reason: str
    count: int
    examples: tuple[tuple[str, str], ...] = ()
    """Key and detail of a few of them."""


@dataclass(frozen=True)
class Night:
    """One run of `nightly`."""

    run_id: str
    started_at: str
    seconds: float = 0.0
    cores: int = 0
    exit_code: int = ExitCode.DONE
    error: str = ""
    """The message of the error that ended the night."""
    steps: tuple[StepRecord, ...] = ()
    tables: tuple[TableRecord, ...] = ()
    rejects: tuple[Rejected, ...] = ()
    metrics: dict[str, Any] = field(default_factory=dict)
    """Main figures of the model whose tags are current, from its report."""
    code_version: str = field(default_factory=code_version)

    def step(self, name: str) -> StepRecord | None:
        """The step with this name."""
        return next((step for step in self.steps if step.name == name), None)


def folder_of(warehouse: Warehouse, run_id: str) -> str:
    """The folder of a night's record and page."""
    return warehouse.path("reports", run_id)


def earlier(warehouse: Warehouse, run_id: str, most: int) -> list[Night]:
    """The last nights before a run, newest first; damaged records are skipped with a warning."""
    nights: list[Night] = []
    for other in reversed(storage.folders(warehouse.path("reports"))):
        uri = f"{folder_of(warehouse, other)}/{RECORD}"
        if len(nights) < most and other < run_id and storage.is_object(uri):
            data = storage.read_bytes(uri)
            try:
                nights.append(records.from_json(data, Night, uri))
            except StorageError as err:
                LOGGER.warning("skipping a damaged record: %s", err)
    return nights


class Clock:
    """Measures the seconds since it was created."""

    def __init__(self) -> None:
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds, rounded to a tenth."""
        return round(time.monotonic() - self.started, 1)


def keep(warehouse: Warehouse, night: Night, page: str) -> None:
    """Writes the record and the page. Storage errors are only logged: the error of the night is reported."""
    folder = folder_of(warehouse, night.run_id)
    try:
        storage.write_atomic(f"{folder}/{PAGE}", page.encode())
        storage.write_atomic(f"{folder}/{RECORD}", records.to_json(night))
    except StorageError as err:
        LOGGER.warning("the record of the night could not be written: %s", err)
