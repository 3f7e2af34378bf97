"""Log lines of a run, on stderr; stdout belongs to results."""

import logging
import sys

LOGGER = logging.getLogger("genremill")


def start_log(run_id: str, job: str) -> None:
    """Sends this run's log lines to stderr, each with time, run id and job."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {run_id} {job}: %(message)s", "%H:%M:%S"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
