"""Kills of nights, what came of them, and the table at the end."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import shorten

from genremill.infra.errors import ExitCode
from genremill.infra.terminal import INTERRUPTED
from tests.e2e.faulty_nights import RunResult
from tests.e2e.marked_nights import Stage, Victim
from tests.e2e.polling_reader import Seen

SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
GONE_S = 5.0
MESSAGE = 70
"""How many characters of an error message are shown."""


@dataclass(frozen=True)
class Kill:
    """One kill and what came of it."""

    drawn: Victim
    hit: Victim
    """The driver if no victim of the drawn kind was alive."""
    signal: signal.Signals
    stage: Stage
    second: float
    """Since the start of the night."""
    result: RunResult
    gone_s: float
    """From the kill, or from the end of a night that went on, to the end of its last process."""
    last: str = ""
    """The command of this process."""

    @property
    def went_on(self) -> bool:
        """Whether the night ended well nevertheless."""
        return self.result.exit_code == 0

    @property
    def problems(self) -> Iterator[str]:
        """What is wrong with the end of the night."""
        code = self.result.exit_code
        if self.gone_s > GONE_S:
            yield f"after {GONE_S:g} s was left: {self.last[-MESSAGE:]}"
        if code not in self._expected_codes():
            yield f"exit code {code}: {self.result.message}"
        elif code > 0 and self.result.message.startswith("no message"):
            yield self.result.message

    def _expected_codes(self) -> set[int]:
        if not self.hit.is_the_night:
            # Spark cannot tell a Java that is killed while it starts from a wrong one.
            starting = [ExitCode.USAGE] if self.stage is Stage.START and self.hit is Victim.JVM else []
            return {ExitCode.DONE, ExitCode.RETRY, *starting}
        interrupted = [INTERRUPTED] if self.signal is signal.SIGINT else []
        return {ExitCode.DONE, -self.signal, *interrupted}

    def __str__(self) -> str:
        victim = self.hit.value + (f" (no {self.drawn.value})" if self.hit is not self.drawn else "")
        message = f"ended: {self.result.message}" if self.result.exit_code > 0 else "ended"
        outcome = ", ".join(self.problems) or ("went on" if self.went_on else message)
        return (
            f"{victim:<30}{self.signal.name:<9}{self.stage.name.lower():<9}{self.second:>6.1f}"
            f"{self.result.exit_code:>6}{self.gone_s:>6.1f}  {shorten(outcome, MESSAGE)}"
        )


HEADING = (
    f"{'#':>4}  {'trial':<11}{'victim':<30}{'signal':<9}{'stage':<9}{'second':>6}{'code':>6}{'gone':>6}  "
    "outcome"
)


@dataclass
class Results:
    """The kills and trials on all kinds of storage; each is printed as it ends."""

    kills: list[Kill] = field(default_factory=list)
    trials: list[str] = field(default_factory=list)
    polls: int = 0
    failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add_kill(self, trial: str, kill: Kill) -> None:
        """Adds a kill."""
        with self._lock:
            self.kills.append(kill)
            print(f"{len(self.kills):>4}  {trial:<11}{kill}", flush=True)

    def add_trial(self, trial: str, seen: Seen, problems: Sequence[str]) -> None:
        """Adds a trial that has ended."""
        with self._lock:
            self.trials.append(trial)
            self.polls += seen.polls
            self.failed += [trial] if problems else []
            outcome = f"FAILED: {'; '.join(problems)}" if problems else "equal tables"
            print(f"      {trial:<11}{seen.polls} polls: {outcome}", flush=True)

    def table(self) -> str:
        """The kills by victim and signal, and the longest time until all processes were gone."""
        names = "".join(f"{number.name[3:]:>6}" for number in SIGNALS)
        lines = [f"{'victim':<16}{names}{'went on':>9}{'gone s':>8}"]
        for victim in Victim:
            kills = [kill for kill in self.kills if kill.hit is victim]
            counts = Counter(kill.signal for kill in kills)
            numbers = "".join(f"{counts[number]:>6}" for number in SIGNALS)
            gone_s = max((kill.gone_s for kill in kills), default=0.0)
            lines.append(f"{victim.value:<16}{numbers}{sum(kill.went_on for kill in kills):>9}{gone_s:>8.1f}")
        places = Counter(trial.partition("-")[0] for trial in self.trials)
        where = ", ".join(f"{count} on {name}" for name, count in places.items())
        lines.append(f"{len(self.kills)} kills in {len(self.trials)} trials ({where}); {self.polls} polls")
        return "\n".join([*lines, f"failed: {', '.join(self.failed) or 'none'}"])
