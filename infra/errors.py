"""The errors that jobs raise on purpose, with their exit codes."""

import enum
from typing import Any


class ExitCode(enum.IntEnum):
    """What the exit code of a command means to a scheduler."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REJECTS_OVER_LIMIT = 3
    RETRY = 4


class GenremillError(Exception):
    """The base class of errors raised on purpose, which are printed without a traceback."""

    exit_code = ExitCode.BUG


class UsageError(GenremillError):
    """A flag, the input or the state of the warehouse is wrong for the job."""

    exit_code = ExitCode.USAGE


class AuditRefused(GenremillError):
    """An audit refuses to publish an output; the old snapshot stays current."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, summary: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.summary = summary or {}  # the measurements, for the record of the night


class StorageError(GenremillError):
    """Storage or the cluster failed, and a retry may succeed."""

    exit_code = ExitCode.RETRY


class StorageRefused(StorageError):
    """The storage refuses a path, for example because it is read-only: a retry would fail too."""

    exit_code = ExitCode.USAGE


class DamagedRecord(StorageRefused):
    """A JSON record of the warehouse is not what a job wrote: a retry would fail too."""
