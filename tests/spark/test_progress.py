"""The progress of a long step, on a terminal and in a log."""

import io
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from genremill.infra import progress, progress_lines
from genremill.infra.log import start_log
from genremill.infra.progress import RejectCounts, reject_counts
from genremill.infra.progress_lines import DONE

CLIPS, SILENT, WIDTH = 12, 3, 60


class Terminal(io.StringIO):
    """Keeps everything that is written, with control characters."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


def counted_by_tasks(spark: SparkSession, folder: Path, counted: RejectCounts) -> None:
    """A step of four tasks that count their rows; the first task fails once after counting."""

    failed = folder / "failed"

    def count(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            counted.add(Counter("silent" if at < SILENT else DONE for at in frame["id"]))
            time.sleep(0.1)
            yield frame
        if 0 in set(frame["id"]) and not failed.exists():
            failed.touch()
            raise RuntimeError("once")

    clips = spark.range(CLIPS, numPartitions=4).mapInPandas(count, "id long")
    clips.write.parquet(str(folder / "out"))
    assert failed.exists()


def test_a_terminal_shows_one_line_and_a_retried_task_is_counted_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_lines, "REDRAWN_EVERY_S", 0.02)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((WIDTH, 24)))
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    start_log("r0", "extract")
    counted = reject_counts(spark)
    with progress.progress(spark, "extract a set with quite a long name", CLIPS, "clips", counted):
        counted_by_tasks(spark, tmp_path, counted)
    assert counted.value == {DONE: CLIPS - SILENT, "silent": SILENT}
    *drawn, last = screen.getvalue().removeprefix("\r").split("\x1b[K")
    lines = [line.removeprefix("\r") for line in drawn]
    assert lines[0] == "extract a set with quite a long name: 0 of 12 clips"
    assert any(re.search(r": [369] of 12 clips, ", line) for line in lines)
    assert lines[-1] == ""
    assert all(len(line) < WIDTH and "\n" not in line for line in lines)
    assert re.search(r": 12 of 12 clips, \S+/s, in 0:\d\d:\d\d; rejected: 3 silent\n$", last)


def test_a_log_gets_lines_without_control_characters(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "LOGGED_EVERY_S", 0.02)
    start_log("r0", "score")
    with progress.progress(spark, "score", CLIPS):
        counted_by_tasks(spark, tmp_path, reject_counts(spark))
    lines = capsys.readouterr().err.splitlines()
    assert all(re.search(r" r0 score: score: \d+ of 12 rows", line) and line.isprintable() for line in lines)
    assert any("rows, " in line and line.endswith(" left") for line in lines)
