"""The errors that jobs raise on purpose, one class an exit code."""

import enum
from typing import Any


class ExitCode(enum.IntEnum):
    """What a command's exit code means to a scheduler."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REJECTS_OVER_LIMIT = 3
    RETRY = 4


class GenremillError(Exception):
    """Root of all errors raised on purpose; printed without a traceback."""

    exit_code = ExitCode.BUG


class UsageError(GenremillError):
    """The input, a flag or the state of the warehouse is not what the job needs."""

    exit_code = ExitCode.USAGE


class AuditRefused(GenremillError):
    """An audit found an output unfit to publish; the old snapshot stays current."""

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, summary: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.summary = summary or {}
        """What was measured, for the record of the night."""


class StorageError(GenremillError):
    """Storage or the cluster failed in a way that a retry may mend."""

    exit_code = ExitCode.RETRY
