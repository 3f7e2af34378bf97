"""Runs a reader on generated inputs: it must return or reject each of them, in bounded time and memory.

Hypothesis generates the inputs and minimizes one that fails. Each is bytes, so that a file can hold it.
"""

import atexit
import contextlib
import faulthandler
import functools
import hashlib
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from genremill.infra.audio.faults import AudioRejected
from genremill.infra.errors import ExitCode, GenremillError

FOUND = Path(__file__).parent / "found"
"""Folder of inputs that failed once, in one folder for each target; every test run reads them."""
STORED = Path(__file__).parents[2] / "build" / "fuzz"
"""Folder in which failing inputs are stored."""
REJECTIONS = (GenremillError, AudioRejected)
MOST_MESSAGE = 4100
"""Limit on the characters of an error message: a file must not fill the log."""
_RESERVE = 4 << 30
"""Address space beyond a target's limit, for threads and for memory that is reserved but not used."""

set_hypothesis_home_dir(STORED / "hypothesis")


class Failure(Exception):
    """A target failed on an input, which was stored."""


class TooLarge(Exception):
    """The peak of memory is above the limit, or a message is too long."""


class _Interrupt(BaseException):
    """The alarm, which no `except` in the tested code catches."""


class _TimeIsUp(BaseException):
    """The end of the time for a target."""


@dataclass(frozen=True)
class Target:
    """A reader, the inputs for it, and its limits."""

    name: str
    inputs: st.SearchStrategy[bytes]
    check: Callable[[bytes], str | None]
    """Reads an input. It must return, perhaps the kind of the outcome, or raise one of `REJECTIONS`."""
    seconds: float = 20.0
    """Limit for one input."""
    megabytes: int = 400
    """Limit on the growth of the process while the target runs."""
    examples: int = 300
    """Number of inputs in a bounded run."""
    share: int = 1
    """Its share of the time of a run of all targets."""


@dataclass
class Report:
    """What a target did with its inputs."""

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    megabytes: float = 0.0
    """Peak of memory, in addition to the memory before the run."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.outcomes.most_common(6))
        total = self.outcomes.total()
        return f"{self.target:<14}{total:>9,}{self.seconds:>9.1f}{self.megabytes:>9.0f}  {kinds}"


PROPERTY = "fuzz"
"""The property of a test that holds its line of the table."""
HEADER = f"{'target':<14}{'inputs':>9}{'seconds':>9}{'peak MB':>9}  outcomes"


def run(target: Target, seconds: float, seed: int | None = None, stored: Path = STORED) -> Report:
    """Generates inputs for at most `seconds`; raises `Failure` with the path of the minimized one that fails.

    Without a seed, a run generates `target.examples` inputs, each time the same ones. With one, it goes on
    until the time is over.
    """
    report, started = Report(target.name), time.monotonic()
    watch = _Watch(target, stored / f"{target.name}-running.bin")
    with contextlib.suppress(_TimeIsUp), watch.limited():
        while True:
            _run_once(target, watch, report, started + seconds, seed)
            if seed is None:
                break
            seed += 1
    report.seconds, report.megabytes = time.monotonic() - started, watch.peak
    return report


def _run_once(target: Target, watch: "_Watch", report: Report, until: float, seed: int | None) -> None:
    failing: list[bytes] = []

    def one(data: bytes) -> None:
        if not failing and time.monotonic() > until:
            raise _TimeIsUp
        try:
            report.outcomes[watch.outcome(data)] += 1
        except Exception:
            failing.append(data)
            watch.failing.write_bytes(data)  # in case that the run is killed while it minimizes the input
            raise

    test = settings(
        max_examples=target.examples,
        derandomize=seed is None,
        database=None,
        deadline=None,  # `_Watch` has one that also ends a hang
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(target.inputs)(one))
    try:
        (test if seed is None else hypothesis.seed(seed)(test))()
    except Exception as err:
        if not failing:
            raise
        watch.failing.unlink()
        raise Failure(_message(target, watch.running.parent, failing[-1], err)) from err


def _message(target: Target, stored: Path, data: bytes, err: Exception) -> str:
    """Stores the last failing input, which is the smallest one that Hypothesis found, and says where."""
    path = stored / f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.write_bytes(data)
    err.__notes__ = []  # they would repeat the whole input
    return (
        f"{target.name}: {type(err).__name__}: {str(err)[:300]}; the input of {len(data):,} bytes is stored "
        f"in {path}; keep a small one in {FOUND / target.name} when the fault is mended"
    )


def outcome(target: Target, data: bytes) -> str:
    """What a target does with one input."""
    watch = _Watch(target, STORED / f"{target.name}-running.bin")
    with watch.limited():
        return watch.outcome(data)


class _Watch:
    """Limits on time and memory for the inputs of a target."""

    def __init__(self, target: Target, running: Path) -> None:
        self.target, self.running, self.peak = target, running, 0.0
        self.failing = running.with_name(f"{target.name}-failing.bin")
        self.before = _megabytes("VmRSS")
        running.parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Limits the address space, so that an attempt to use all memory raises `MemoryError`."""
        old, limits = signal.signal(signal.SIGALRM, _interrupt), resource.getrlimit(resource.RLIMIT_AS)
        most = int((_megabytes("VmSize") + self.target.megabytes) * 1e6) + _RESERVE
        resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
            signal.signal(signal.SIGALRM, old)
            self.running.unlink(missing_ok=True)

    def outcome(self, data: bytes) -> str:
        """The kind of the outcome; raises on an error that is no rejection, a hang, or too much memory.

        If the whole process ends, `running` still has the input.
        """
        self.running.write_bytes(data)
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        self.before = min(self.before, _megabytes("VmRSS"))  # memory of earlier tests may be freed
        try:
            with _deadline(self.target.seconds):
                kind = self.target.check(data) or "accepted"
        except REJECTIONS as err:
            kind = _kind(err)
        growth = _megabytes("VmHWM") - self.before
        self.peak = max(self.peak, growth)
        if growth > self.target.megabytes:
            raise TooLarge(f"{growth:.0f} MB of memory; expected at most {self.target.megabytes} MB")
        return kind


def _kind(err: Exception) -> str:
    """The kind of a rejection; raises `TooLarge` for a long message, and the error itself if it is a bug."""
    if len(str(err)) > MOST_MESSAGE:
        raise TooLarge(f"a message of {len(str(err)):,} characters: {str(err)[:200]}") from err
    if isinstance(err, AudioRejected):
        return err.reason.value
    if isinstance(err, GenremillError) and err.exit_code is ExitCode.BUG:
        raise err
    return type(err).__name__


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` after some seconds; much later, a hang outside Python ends the process."""
    faulthandler.dump_traceback_later(6 * seconds, exit=True, file=2)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    except _Interrupt as err:
        raise TimeoutError(f"not finished after {seconds:g} s") from err
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _interrupt(*_: object) -> None:
    raise _Interrupt


def _megabytes(name: str) -> float:
    """A figure of the memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1e3


@functools.cache
def scratch(name: str) -> Path:
    """A folder for the files of a target, removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"genremill-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
