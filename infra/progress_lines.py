"""Shows the progress of a long step: a line that is redrawn on a terminal, log lines elsewhere."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from genremill.infra.background import repeated
from genremill.infra.log import LOGGER

LOGGED_EVERY_S, REDRAWN_EVERY_S = 15.0, 0.5
DONE = ""
"""The reason of things that were not rejected, where things are counted by reason."""


@contextlib.contextmanager
def shown(line: Callable[[], str]) -> Iterator[None]:
    """Shows a line again and again while the block runs."""
    on_terminal = sys.stderr.isatty()
    if on_terminal:
        _draw(line())
    report, every_s = (_draw, REDRAWN_EVERY_S) if on_terminal else (LOGGER.info, LOGGED_EVERY_S)
    try:
        with repeated(lambda: report(line()), every_s, join_s=1):
            yield
    finally:
        if on_terminal:
            _draw("")


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


def _draw(line: str) -> None:
    """Replaces the last line. Cuts the new one to the width of the terminal: a wrapped line would stay."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    print(f"\r{line[: width - 1]}\x1b[K", end="", file=sys.stderr, flush=True)
