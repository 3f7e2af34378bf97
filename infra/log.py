"""The log of a run, on stderr; stdout is for results."""

import logging
import sys

from genremill.infra.terminal import plain_lines

LOGGER = logging.getLogger("genremill")


class _Plain(logging.Formatter):
    """Lines in which text from the data, such as the name of a genre, cannot move the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def start_log(run_id: str, job: str) -> None:
    """Sends the log to stderr; each line has the time, the run id and the job."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain(f"%(asctime)s {run_id} {job}: %(message)s", "%H:%M:%S"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
