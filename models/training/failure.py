"""How a rank reports an error to the driver."""

from dataclasses import dataclass

from genremill.infra.errors import UsageError

FAILURE = "failed.json"
"""Name of the failure record among the checkpoints."""


class Diverged(UsageError):
    """The loss is not a finite number."""


@dataclass(frozen=True)
class Failure:
    """The error of a rank, which the driver raises."""

    exit_code: int
    message: str
    diverged: bool
