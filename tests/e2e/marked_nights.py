"""Nights in their own process groups, whose processes are found by a mark in their environment.

Java, training ranks and decoders run in sessions of their own, so the process group of a night has only some
of its processes.
"""

import contextlib
import enum
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import psutil

from tests.e2e.faulty_nights import JOBS, RunResult
from tests.e2e.killed_nights import Job, start_job

MARK = "GENREMILL_TEST_NIGHT"
LOOK_S = 0.02
SAMPLE_S = 0.1
DEADLINE_S = 600.0
"""Longest time of a night, which takes half a minute on an idle machine."""
GIVE_UP_S = 60.0
"""Time after which processes that are left are killed."""
EDGE = 10
"""Number of samples at each end of a life that are drawn more often than others."""


class Victim(enum.Enum):
    """What is killed."""

    GROUP = "process group"
    DRIVER = "driver"
    JVM = "JVM"
    DAEMON = "Python daemon"
    WORKER = "Python worker"
    RANK = "training rank"
    DECODER = "decoder child"

    @property
    def is_the_night(self) -> bool:
        """Whether the night ends with it."""
        return self in (Victim.GROUP, Victim.DRIVER)


_COMMANDS = {
    Victim.JVM: "org.apache.spark.deploy.SparkSubmit",
    Victim.DAEMON: "pyspark.daemon",
    Victim.RANK: "genremill.models.training.local_ranks",
    Victim.DECODER: "genremill.udfs.decoding.child",
}


class Stage(enum.IntEnum):
    """Where a night stands."""

    START = 0
    INGEST, EXTRACT, CLUSTER, TRAIN, EVALUATE, SCORE, PUBLISH = range(1, len(JOBS) + 1)
    END = len(JOBS) + 1

    @classmethod
    def of(cls, log: str) -> "Stage":
        """The step that a log names last; `END` after the last step."""
        named = re.findall(r" nightly: (\w+): (starting|skipped|done)", log)
        name, state = named[-1] if named else ("start", "starting")
        stage = cls[name.upper()]
        return cls.END if stage is cls.PUBLISH and state != "starting" else stage


@dataclass(frozen=True)
class Moment:
    """Seconds after the start of a stage."""

    stage: Stage
    seconds: float


@dataclass(frozen=True)
class Sample:
    """What a night was doing at a moment, and which victims were alive."""

    moment: Moment
    alive: frozenset[Victim]


def draw(random: Random, samples: Sequence[Sample], victim: Victim) -> Moment:
    """A moment at which the victim was alive; very early and very late ones are drawn more often."""
    life = [sample.moment for sample in samples if victim in sample.alive]
    edge = random.choice([life, life, life, life[:EDGE], life[-EDGE:]])
    drawn = random.choice(edge or [sample.moment for sample in samples])
    return Moment(drawn.stage, drawn.seconds + random.uniform(0, SAMPLE_S))


@dataclass(frozen=True)
class Night:
    """A running night."""

    mark: str
    job: Job

    @classmethod
    def start(cls, mark: str, flags: Sequence[str], log: Path) -> "Night":
        """Starts a night whose processes all have the mark."""
        return cls(mark, start_job("nightly", flags, log, **{MARK: mark}))

    @cached_property
    def driver(self) -> psutil.Process:
        """The process of the command."""
        return psutil.Process(self.job.process.pid)

    def wait(self) -> RunResult:
        """Waits for the end of the night, or kills it after `DEADLINE_S`."""
        return self.job.wait(DEADLINE_S)

    @property
    def has_ended(self) -> bool:
        return not is_running(self.driver)

    @property
    def stage(self) -> Stage:
        return Stage.of(self.job.log.read_text(errors="replace"))

    def processes(self) -> set[psutil.Process]:
        """The processes with the mark and their children: a decoder has an environment of its own."""
        found = [process for pid in psutil.pids() if (process := _process(pid))]
        marked = {process.pid for process in found if _is_marked(process, self.mark)}
        return {process for process in found if process.pid in marked or _parent(process) in marked}

    def victims(self) -> dict[Victim, list[psutil.Process]]:
        """The processes of each kind that run; the group is found by its leader."""
        found: dict[Victim, list[psutil.Process]] = {}
        processes = sorted(filter(is_running, self.processes()), key=lambda process: process.pid)
        lines = {process: _command(process) for process in processes}
        daemons = {process.pid for process, line in lines.items() if _COMMANDS[Victim.DAEMON] in line}
        for process, line in lines.items():
            if process == self.driver:
                found |= {Victim.GROUP: [process], Victim.DRIVER: [process]}
            elif _parent(process) in daemons and process.pid in daemons:
                found.setdefault(Victim.WORKER, []).append(process)
            elif kind := next((kind for kind, text in _COMMANDS.items() if text in line), None):
                found.setdefault(kind, []).append(process)
        return found

    def samples(self) -> list[Sample]:
        """What the night does until it ends."""
        samples: list[Sample] = []
        stage, since = Stage.START, time.monotonic()
        while not self.has_ended:
            if self.stage is not stage:
                stage, since = self.stage, time.monotonic()
            alive = frozenset(self.victims())
            samples.append(Sample(Moment(stage, time.monotonic() - since), alive))
            time.sleep(SAMPLE_S)
        return samples

    def wait_for(self, moment: Moment) -> bool:
        """Waits for a moment, or for a later stage; returns whether the night still runs."""
        since = None
        while not self.has_ended:
            stage = self.stage
            if since is None and stage is moment.stage:
                since = time.monotonic()
            if stage > moment.stage or (since and time.monotonic() - since >= moment.seconds):
                return True
            time.sleep(LOOK_S)
        return False

    def until_gone(self, known: Iterable[psutil.Process]) -> tuple[float, str]:
        """Waits until no process of the night is left; kills those that are left after `GIVE_UP_S`.

        Returns the seconds, and the command of the last process.
        """
        started, processes, last = time.monotonic(), set(known), ""
        while left := [process for process in processes | self.processes() if is_running(process)]:
            last = _command(left[0]) or last
            if time.monotonic() - started > GIVE_UP_S:
                self.end(left)
            time.sleep(LOOK_S)
        return time.monotonic() - started, last

    def end(self, processes: Iterable[psutil.Process] = ()) -> None:
        """Kills processes, and all that have the mark."""
        for process in {*processes, *self.processes()}:
            with contextlib.suppress(psutil.Error):
                process.kill()


def is_running(process: psutil.Process) -> bool:
    """Whether a process has not ended; a zombie has."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except psutil.Error:
        return False


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
