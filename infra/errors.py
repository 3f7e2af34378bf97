"""The errors that jobs raise on purpose, with their exit codes."""

import enum
from typing import Any

SHOWN = 2000
"""Characters of a long message that are shown, at its start and at its end."""


def shortened(text: str, shown: int = SHOWN) -> str:
    """The text, without its middle if it is long.

    >>> shortened("abcdefgh", 2)
    'ab … gh'
    """
    return text if len(text) <= 2 * shown else f"{text[:shown]} … {text[-shown:]}"


class ExitCode(enum.IntEnum):
    """What the exit code of a command means to a scheduler."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REJECTS_OVER_LIMIT = 3
    RETRY = 4


class GenremillError(Exception):
    """The base class of errors raised on purpose, which are printed without a traceback.

    A long message, which may repeat the content of a file, is shown without its middle.
    """

    exit_code = ExitCode.BUG

    def __str__(self) -> str:
        return shortened(super().__str__())


class UsageError(GenremillError):
    """A flag, the input or the state of the warehouse is wrong for the job."""

    exit_code = ExitCode.USAGE


class SummarizedError(GenremillError):
    """The base class of errors with a summary of what the job measured or did."""

    def __init__(self, message: str, summary: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.summary = summary or {}


class AuditRefused(SummarizedError):
    """An audit refuses to publish an output; the old snapshot stays current."""

    exit_code = ExitCode.USAGE


class RejectsOverLimit(SummarizedError):
    """A job is done, but rejected more than the limit; only the Python interface raises this."""

    exit_code = ExitCode.REJECTS_OVER_LIMIT


class StorageError(GenremillError):
    """Storage or the cluster failed, and a retry may succeed."""

    exit_code = ExitCode.RETRY


class StorageRefused(StorageError):
    """The storage refuses a path, for example because it is read-only: a retry would fail too."""

    exit_code = ExitCode.USAGE


class DamagedRecord(StorageRefused):
    """A JSON record of the warehouse is not what a job wrote: a retry would fail too."""
