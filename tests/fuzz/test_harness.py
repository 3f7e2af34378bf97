"""The harness itself finds a traceback, a hang and a blow-up of memory, and stores the smallest input."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import GenremillError, UsageError
from tests.fuzz import harness
from tests.fuzz.harness import Failure, Target
from tests.fuzz.mutations import Strategy, documents, mutated

Check = Callable[[bytes], str | None]


def target(check: Check, **limits: int) -> Target:
    return Target("example", st.binary(max_size=50), check, **limits)


def _when_x(action: Callable[[], object]) -> Check:
    def check(data: bytes) -> None:
        if b"x" in data:
            action()

    return check


def _raise(error: BaseException) -> None:
    raise error


def _spin() -> None:
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (lambda: [][len("a")], "IndexError"),
        (lambda: _raise(AssertionError()), "AssertionError"),
        (lambda: _raise(GenremillError("a bug, by its exit code")), "GenremillError"),
        (lambda: _raise(UsageError("a" * 10)), None),
        (lambda: _raise(AudioRejected(AudioReason.SILENT)), None),
        (lambda: _raise(AudioRejected(AudioReason.SILENT, "a" * 10**6)), "TooLarge"),
        (_spin, "TimeoutError"),
        (lambda: bytearray(100 << 20), "TooLarge"),
        (lambda: bytearray(1 << 45), "MemoryError"),
    ],
)
def test_what_is_no_rejection_fails_and_the_smallest_input_is_stored(
    action: Callable[[], object], kind: str | None, tmp_path: Path
) -> None:
    tested = target(_when_x(action), seconds=1, megabytes=50, examples=100)
    if kind is None:
        harness.run(tested, 20.0, stored=tmp_path)
        assert list(tmp_path.iterdir()) == []
        return
    with pytest.raises(Failure, match=f"example: {kind}"):
        harness.run(tested, 60.0, stored=tmp_path)
    (stored,) = tmp_path.iterdir()
    assert stored.read_bytes() == b"x"


def _seen(inputs: Strategy, examples: int, stored: Path, seed: int | None = None) -> list[bytes]:
    """The inputs of a run."""
    seen: list[bytes] = []
    harness.run(
        Target("example", inputs, seen.append, examples=examples), 60.0 if seed is None else 2.0, seed, stored
    )
    return seen


def test_the_inputs_depend_on_the_seed_alone(tmp_path: Path) -> None:
    def inputs(seed: int | None) -> list[bytes]:
        return _seen(st.binary(max_size=50), 20, tmp_path, seed)[:10]

    assert inputs(None) == inputs(None)
    assert inputs(1) == inputs(1) != inputs(2)


def test_the_input_that_ends_the_process_is_kept(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time, pathlib\n"
        "from hypothesis import strategies as st\n"
        "from tests.fuzz.harness import Target, run\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "target = Target('example', st.just(b'x'), lambda _: time.sleep(60), seconds=0.2)\n"
        "run(target, 60.0, stored=pathlib.Path(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, timeout=50, text=True)
    assert ended.returncode == 1
    assert "in outcome" in ended.stderr
    assert (tmp_path / "example-running.bin").read_bytes() == b"x"


def test_a_run_ends_when_its_time_is_over(tmp_path: Path) -> None:
    started = time.monotonic()
    report = harness.run(target(lambda _: time.sleep(0.02), examples=10**4), 0.5, stored=tmp_path)
    assert time.monotonic() - started < 5
    assert report.outcomes["accepted"] > 5


def test_the_table_has_inputs_and_outcomes(tmp_path: Path) -> None:
    def check(data: bytes) -> str | None:
        if len(data) > 5:
            raise UsageError("too long")
        return "short"

    report = harness.run(target(check, examples=50), 20.0, stored=tmp_path)
    assert report.outcomes.keys() == {"short", "UsageError"}
    assert str(report).split()[:2] == ["example", str(report.outcomes.total())]


def test_generated_files_are_valid_damaged_and_different(tmp_path: Path) -> None:
    seed = b'{"a": [1, {"b": "text"}], "c": 2.5}'
    for inputs in (mutated([seed]), documents([seed])):
        seen = set(_seen(inputs, 200, tmp_path))
        assert len(seen) > 100
        assert any(seed[:10] in data and data != seed for data in seen)
