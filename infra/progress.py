"""The progress of a long Spark step: a line that is redrawn on a terminal, log lines elsewhere."""

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeAlias

from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession

from genremill.infra.background import repeated
from genremill.infra.log import LOGGER

LOGGED_EVERY_S, REDRAWN_EVERY_S = 15.0, 0.5
DONE = ""
"""The reason in `RejectCounts` of things that were not rejected."""
RejectCounts: TypeAlias = Accumulator[Counter[str]]


class _Sum(AccumulatorParam[Counter[str]]):
    def zero(self, value: Counter[str]) -> Counter[str]:
        return Counter()

    def addInPlace(self, value1: Counter[str], value2: Counter[str]) -> Counter[str]:
        return value1 + value2  # a new counter, because another thread may be reading the old one


def reject_counts(spark: SparkSession) -> RejectCounts:
    """An accumulator that counts items by reason of rejection; items that are not rejected count as `DONE`.

    In a stage that writes the results of its job, only one attempt of each task counts.
    """
    return spark.sparkContext.accumulator(Counter(), _Sum())


@contextlib.contextmanager
def progress(
    spark: SparkSession, what: str, rows: int, unit: str = "rows", counted: RejectCounts | None = None
) -> Iterator[None]:
    """Reports rows, rate and time left while the block runs, and rejects by reason if tasks count them.

    Without counts, the number of rows is estimated from the share of finished tasks of the stage.
    """
    started, on_terminal = time.monotonic(), sys.stderr.isatty()

    def line() -> str:
        count = Counter({DONE: round(rows * _tasks_done(spark))}) if counted is None else counted.value
        return progress_line(what, count, rows, time.monotonic() - started, unit)

    if on_terminal:
        _stop_sparks_bar(spark)
        _draw(line())
    report = _draw if on_terminal else LOGGER.info
    try:
        with repeated(lambda: report(line()), REDRAWN_EVERY_S if on_terminal else LOGGED_EVERY_S, join_s=1):
            yield
    finally:
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
    time_text = f"{left} left" if done < rows else f"in {timedelta(seconds=round(seconds))}"
    rejected = ", ".join(f"{number:,} {reason}" for reason, number in count.most_common() if reason != DONE)
    return f"{what}: {done:,} of {rows:,} {unit}, {rate:,.{int(rate < 10)}f}/s, {time_text}" + (
        f"; rejected: {rejected}" if rejected else ""
    )


def _tasks_done(spark: SparkSession) -> float:
    """Share of the tasks of the running stages that have ended."""
    tracker = spark.sparkContext.statusTracker()
    stages = [info for stage in tracker.getActiveStageIds() if (info := tracker.getStageInfo(stage))]
    tasks = sum(info.numTasks for info in stages)
    return sum(info.numCompletedTasks for info in stages) / tasks if tasks else 0.0


def _draw(line: str) -> None:
    """Replaces the last line. Cuts the new one to the width of the terminal: a wrapped line would stay."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    print(f"\r{line[: width - 1]}\x1b[K", end="", file=sys.stderr, flush=True)


def _stop_sparks_bar(spark: SparkSession) -> None:
    """Stops Spark's own progress bar: it would overwrite the line, and Spark cannot pause it."""
    bar = spark.sparkContext._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().finishAll()
        bar.get().stop()
