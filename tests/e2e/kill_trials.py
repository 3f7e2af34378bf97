"""Trials of killed nights on one kind of storage: what is killed and when, and what is checked at the end."""

import itertools
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol, TypeAlias

import psutil
from pyarrow.fs import LocalFileSystem

from genremill.infra.warehouse import Warehouse
from tests.e2e.faulty_nights import Nights, different_tables
from tests.e2e.kill_results import SIGNALS, Kill, Results
from tests.e2e.marked_nights import Moment, Night, Sample, Victim, draw
from tests.e2e.polling_reader import RunningReader, Seen
from tests.e2e.warehouse_contents import Contents, Place

MOST_IN_A_ROW = 4
WAITED = "checking if it is alive"
"""What a run logs while it waits for the lease of another one."""
Plan: TypeAlias = tuple[Victim, signal.Signals, Moment]
"""Which process is killed, by which signal, and when."""


class Warehouses(Protocol):
    """Warehouses by name."""

    def uri(self, name: str) -> str:
        """The location of a warehouse, for the nights."""

    def place(self, name: str) -> Place:
        """A warehouse, for the checks."""

    def copy(self, name: str, to: str) -> None:
        """Copies a warehouse to another name."""

    def download(self, name: str, folder: Path) -> None:
        """Copies a warehouse to a folder."""


@dataclass(frozen=True)
class Folders:
    """Warehouses in the folders `NAME/warehouse`, where they are also kept."""

    root: Path

    def uri(self, name: str) -> str:
        return str(self.root / name / "warehouse")

    def place(self, name: str) -> Place:
        return Place(LocalFileSystem(), self.uri(name))

    def copy(self, name: str, to: str) -> None:
        shutil.copytree(self.uri(name), self.uri(to))

    def download(self, name: str, folder: Path) -> None:
        assert Path(self.uri(name)) == folder


@dataclass
class Lane:
    """The trials on one kind of storage, one after the other."""

    name: str
    store: Warehouses
    nights: Nights
    seed: int
    folder: Path
    """Where the logs are, and the warehouses of trials that are not correct."""
    results: Results
    ends_at: float
    running: Night | None = None
    """The newest night."""
    stopped: bool = False
    samples: list[Sample] = field(default_factory=list)
    expected: Contents = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, kills: int) -> None:
        """Runs two undisturbed nights, and then trials until there were this many kills."""
        first, second = f"{self.name}-first", f"{self.name}-undisturbed"
        self._check(self._start(first, "first"))
        self.store.copy(first, second)
        night = self._start(second, "second")
        self.samples = night.samples()
        self._check(night)
        self.expected = self.store.place(second).contents()
        for number in itertools.count(1):
            if kills <= 0 or time.monotonic() > self.ends_at:
                return
            kills -= self._trial(f"{self.name}-{number}", min(kills, MOST_IN_A_ROW))

    def _check(self, night: Night) -> None:
        if code := night.wait().exit_code:
            raise RuntimeError(f"an undisturbed night ended with {code}: see {night.job.log}")

    def stop(self) -> None:
        """Ends the night that runs; no other one starts."""
        self.stopped = True
        if self.running:
            self.running.end()

    def _start(self, name: str, night: str) -> Night:
        if self.stopped:
            raise RuntimeError("stopped")
        mark = f"{os.getpid()}-{self.name}-{next(self._numbers)}"
        flags = ["--warehouse", self.store.uri(name), *self.nights.flags("nightly", night)]
        self.running = Night.start(mark, flags, self._folder(name) / f"night-{mark}.log")
        return self.running

    def _folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _trial(self, name: str, most: int) -> int:
        """Runs a trial with at most this many kills; returns how many there were."""
        random = Random(f"{self.seed} {name}")
        plans = [self._draw(random) for _ in range(random.randint(1, most))]
        self.store.copy(f"{self.name}-first", name)
        reader = RunningReader(self.store.uri(name))
        kills = [kill for plan in plans if (kill := self._kill(name, *plan))]
        last = self._start(name, "second").wait()
        seen = reader.end()
        problems = [*seen.problems[:3], *self._waits(name)]
        problems += [problem for kill in kills for problem in kill.problems]
        if last.exit_code:
            problems.append(f"the last night ended with {last.exit_code}: {last.message}")
        else:
            problems += self._differences(name, seen)
        self._keep_or_remove(name, failed=bool(problems))
        self.results.add_trial(name, seen, problems)
        return len(kills)

    def _draw(self, random: Random) -> Plan:
        victim = random.choice([*Victim])
        return victim, random.choice(SIGNALS), draw(random, self.samples, victim)

    def _kill(self, name: str, drawn: Victim, number: signal.Signals, moment: Moment) -> Kill | None:
        """Starts a night and kills a process of it; None if the night ends before the moment."""
        night, started = self._start(name, "second"), time.monotonic()
        in_time = night.wait_for(moment)
        known, victims, stage = night.processes(), night.victims(), night.stage
        hit = drawn if drawn in victims else Victim.DRIVER
        second = time.monotonic() - started
        if not in_time or hit not in victims or not _send(number, hit, victims[hit][-1]):
            night.wait()
            return None
        if not hit.is_the_night:
            night.wait()
        gone_s, last = night.until_gone(known)
        kill = Kill(drawn, hit, number, stage, second, night.wait(), gone_s, last)
        self.results.add_kill(name, kill)
        return kill

    def _differences(self, name: str, seen: Seen) -> Iterator[str]:
        """What differs from the undisturbed night."""
        place, warehouse = self.store.place(name), Warehouse.at(self.store.uri(name))
        if wrong := different_tables(place.contents(), self.expected):
            yield f"other rows of {', '.join(wrong)}"
        if lagging := warehouse.lagging():
            yield f"the pointers of {', '.join(lagging)} do not follow"
        if place.is_file("_night.lease"):
            yield "the lease was not released"
        tags = warehouse.require("tags", "publish").run_id
        if len(seen.generations) != 2 or seen.generations[1] != tags:
            yield f"the reader saw {seen.generations}, and {tags} is current"

    def _waits(self, name: str) -> Iterator[str]:
        """A lease of a dead run on the same machine is taken over without a look at its age."""
        for log in self._folder(name).glob("*.log"):
            if WAITED in log.read_text(errors="replace"):
                yield f"{log} waited for a lease"

    def _keep_or_remove(self, name: str, failed: bool) -> None:
        if failed:
            self.store.download(name, self._folder(name) / "warehouse")
        else:
            shutil.rmtree(self._folder(name))


def _send(number: signal.Signals, hit: Victim, process: psutil.Process) -> bool:
    """Sends a signal; returns whether the process was still there."""
    try:
        if hit is Victim.GROUP:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True
