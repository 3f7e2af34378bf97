"""Log lines of a run, on stderr; stdout belongs to results."""

import logging
import sys

from genremill.infra.terminal import plain_lines

LOGGER = logging.getLogger("genremill")


class _Plain(logging.Formatter):
    """Lines in which text from data, a genre's name or a column's, cannot move the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def start_log(run_id: str, job: str) -> None:
    """Sends this run's log lines to stderr, each with time, run id and job."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain(f"%(asctime)s {run_id} {job}: %(message)s", "%H:%M:%S"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
