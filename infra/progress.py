"""How far a long Spark step is: Spark's own bar on a terminal, plain log lines elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from pyspark.sql import SparkSession

from genremill.infra.log import LOGGER

EVERY_S = 15.0


@contextlib.contextmanager
def progress(spark: SparkSession, what: str, rows: int, unit: str = "rows") -> Iterator[None]:
    """Says rows, rate and time left of the block's running stage, by its finished tasks."""
    if sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    started = time.monotonic()

    def tell() -> None:
        tracker = spark.sparkContext.statusTracker()
        while not done.wait(EVERY_S):
            stages = [info for one in tracker.getActiveStageIds() if (info := tracker.getStageInfo(one))]
            tasks = sum(info.numTasks for info in stages)
            finished = sum(info.numCompletedTasks for info in stages)
            if tasks:
                seconds = time.monotonic() - started
                LOGGER.info(progress_line(what, rows, finished / tasks, seconds, unit))

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join(timeout=1)


def progress_line(what: str, rows: int, share: float, seconds: float, unit: str = "rows") -> str:
    """One line of progress.

    >>> progress_line("score", 1000, 0.25, 10.0)
    'score: 250 of 1,000 rows, 25/s, 30 s left'
    """
    if share == 0:
        return f"{what}: 0 of {rows:,} {unit}"
    rate = rows * share / max(seconds, 1e-9)
    return (
        f"{what}: {rows * share:,.0f} of {rows:,} {unit}, {rate:,.0f}/s, "
        f"{seconds / share - seconds:.0f} s left"
    )
