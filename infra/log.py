"""Log lines and progress of a run, on stderr; stdout belongs to results."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LOGGER = logging.getLogger("genremill")


def start_log(run_id: str, job: str) -> None:
    """Sends this run's log lines to stderr, each with time, run id and job."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s {run_id} {job}: %(message)s", "%H:%M:%S"))
    LOGGER.handlers = [handler]
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


@dataclass
class Progress:
    """Tells how far a long step is: one rewritten line on a terminal, plain lines elsewhere."""

    what: str
    total: int
    say: Callable[[str], None] = LOGGER.info
    every_s: float = 15.0
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._last = self.clock()

    def update(self, done: int) -> None:
        """Says rows, rate and time left, not more often than every few seconds."""
        now = self.clock()
        terminal = sys.stderr.isatty()
        if now - self._last < (0.2 if terminal else self.every_s) and done < self.total:
            return
        self._last = now
        rate = done / max(now - self._started, 1e-9)
        left = max(self.total - done, 0) / max(rate, 1e-9)
        line = f"{self.what}: {done:,} of {self.total:,}, {rate:,.0f}/s, {left:.0f} s left"
        if terminal:
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if done >= self.total else ""))
        else:
            self.say(line)
