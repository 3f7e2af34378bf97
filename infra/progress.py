"""How far a long Spark step is: one line that is redrawn on a terminal, plain log lines elsewhere."""

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeAlias

from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession

from genremill.infra.log import LOGGER

LOGGED_EVERY_S, REDRAWN_EVERY_S = 15.0, 0.5
DONE = ""
"""What a tally calls things that were not rejected."""
Tally: TypeAlias = Accumulator[Counter[str]]


class _Sum(AccumulatorParam[Counter[str]]):
    def zero(self, value: Counter[str]) -> Counter[str]:
        return Counter()

    def addInPlace(self, value1: Counter[str], value2: Counter[str]) -> Counter[str]:
        return value1 + value2  # a new one: another thread may be reading the old


def tally(spark: SparkSession) -> Tally:
    """An empty count of things by why they were rejected, or `DONE`, that tasks add to.

    Spark takes what a task has counted when that task ends, of one attempt only where the stage writes its
    job's results: neither retries nor speculation count twice.
    """
    return spark.sparkContext.accumulator(Counter(), _Sum())


@contextlib.contextmanager
def progress(
    spark: SparkSession, what: str, rows: int, unit: str = "rows", counted: Tally | None = None
) -> Iterator[None]:
    """Says rows, rate and time left while the block runs, and rejects by reason where tasks count them.

    Without a tally, rows are taken from the running stage's share of finished tasks.
    """
    started = time.monotonic()
    on_terminal = sys.stderr.isatty()
    ended = threading.Event()

    def line() -> str:
        count = Counter({DONE: round(rows * _tasks_done(spark))}) if counted is None else counted.value
        return progress_line(what, count, rows, time.monotonic() - started, unit)

    def tell() -> None:
        say = _draw if on_terminal else LOGGER.info
        while not ended.wait(REDRAWN_EVERY_S if on_terminal else LOGGED_EVERY_S):
            say(line())

    if on_terminal:
        _stop_sparks_bar(spark)
        _draw(line())
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join(timeout=1)
        if on_terminal:
            _draw("")
    if counted is not None:
        LOGGER.info(line())


def progress_line(what: str, count: Counter[str], rows: int, seconds: float, unit: str = "rows") -> str:
    """One line of progress.

    >>> progress_line("score", Counter({DONE: 250}), 1000, 10.0)
    'score: 250 of 1,000 rows, 25/s, 0:00:30 left'
    >>> progress_line("extract", Counter({"silent": 1, DONE: 7, "truncated": 2}), 10, 4, unit="clips")
    'extract: 10 of 10 clips, 2.5/s, in 0:00:04; rejected: 2 truncated, 1 silent'
    """
    done = count.total()
    if not done:
        return f"{what}: 0 of {rows:,} {unit}"
    rate = done / max(seconds, 1e-9)
    left = timedelta(seconds=round((rows - done) / rate))
    time_told = f"{left} left" if done < rows else f"in {timedelta(seconds=round(seconds))}"
    rejected = ", ".join(f"{number:,} {reason}" for reason, number in count.most_common() if reason != DONE)
    return f"{what}: {done:,} of {rows:,} {unit}, {rate:,.{int(rate < 10)}f}/s, {time_told}" + (
        f"; rejected: {rejected}" if rejected else ""
    )


def _tasks_done(spark: SparkSession) -> float:
    """Share of the running stages' tasks that have ended."""
    tracker = spark.sparkContext.statusTracker()
    stages = [info for one in tracker.getActiveStageIds() if (info := tracker.getStageInfo(one))]
    tasks = sum(info.numTasks for info in stages)
    return sum(info.numCompletedTasks for info in stages) / tasks if tasks else 0.0


def _draw(line: str) -> None:
    """Puts a line where the last one stood, cut to the terminal's width: one that wraps stays for ever."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    sys.stderr.write(f"\r{line[: width - 1]}\x1b[K")
    sys.stderr.flush()


def _stop_sparks_bar(spark: SparkSession) -> None:
    """Ends Spark's own bar, which would draw over our line; it cannot be paused."""
    bar = spark.sparkContext._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().finishAll()
        bar.get().stop()
