"""The progress of a long Spark step."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession

from genremill.infra.log import LOGGER
from genremill.infra.progress_lines import DONE, progress_line, shown

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
    started = time.monotonic()

    def line() -> str:
        count = Counter({DONE: round(rows * _tasks_done(spark))}) if counted is None else counted.value
        return progress_line(what, count, rows, time.monotonic() - started, unit)

    if sys.stderr.isatty():
        _stop_sparks_bar(spark)
    with shown(line):
        yield
    if counted is not None:
        LOGGER.info(line())


def _tasks_done(spark: SparkSession) -> float:
    """Share of the tasks of the running stages that have ended."""
    tracker = spark.sparkContext.statusTracker()
    stages = [info for stage in tracker.getActiveStageIds() if (info := tracker.getStageInfo(stage))]
    tasks = sum(info.numTasks for info in stages)
    return sum(info.numCompletedTasks for info in stages) / tasks if tasks else 0.0


def _stop_sparks_bar(spark: SparkSession) -> None:
    """Stops Spark's own progress bar: it would overwrite the line, and Spark cannot pause it."""
    bar = spark.sparkContext._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().finishAll()
        bar.get().stop()
