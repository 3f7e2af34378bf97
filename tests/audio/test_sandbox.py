"""Whatever a child process does only rejects one file, and does not affect good files."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import StorageError
from genremill.udfs.decoding import decode
from genremill.udfs.decoding.child_process import DecodingLimits
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Budget, DecodeSettings, Offset
from tests.audio.audio_faults_corpus import FAULTS, SR, encoded, tone

ROOT = Path(__file__).parent.parent.parent
MISBEHAVING = "tests.audio.misbehaving_decoder"
SETTINGS = DecodeSettings(sr=SR, seconds=30)
MEMORY_BYTES = 128 * 2**20
PATIENT = DecodingLimits(memory_bytes=MEMORY_BYTES)
HASTY = DecodingLimits(memory_bytes=MEMORY_BYTES, seconds=0.75)


@pytest.fixture
def good(tmp_path: Path) -> Iterator[int]:
    """A descriptor of half a second of audio."""
    path = tmp_path / "good.wav"
    path.write_bytes(encoded(tone(SR // 2)))
    fd = os.open(path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose child does the actions of the files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        with Sandbox(PATIENT, module=MISBEHAVING) as made:
            yield made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The same with short timeouts."""
    monkeypatch.syspath_prepend(str(ROOT))
    with Sandbox(HASTY, module=MISBEHAVING) as made:
        yield made


def file_with_action(action: str, folder: Path) -> int:
    """A descriptor of a file with an action for the child."""
    path = folder / action
    path.write_bytes(f"do:{action}".encode())
    return os.open(path, os.O_RDONLY)


def answer(action: str, sandbox: Sandbox, folder: Path, *, ffmpeg: bool = False) -> str:
    """What the child answers to an action that does it no harm."""
    fd = file_with_action(action, folder)
    with pytest.raises(AudioRejected) as caught:
        sandbox.decode(fd, dataclasses.replace(SETTINGS, ffmpeg=ffmpeg))
    os.close(fd)
    return caught.value.detail


def rejected(sandbox: Sandbox, fd: int) -> AudioRejected:
    with pytest.raises(AudioRejected) as caught:
        sandbox.decode(fd, SETTINGS)
    return caught.value


def ended_by(action: str, sandbox: Sandbox, good: int, folder: Path) -> AudioRejected:
    """The detail of a crash that ends the child; checks that nothing is left and that the next file works."""
    before = sandbox.decode(good, SETTINGS)
    first = sandbox.pid
    assert first is not None
    fd = file_with_action(action, folder)
    found = rejected(sandbox, fd)
    os.close(fd)
    assert sandbox.pid is None
    assert emptied(first)
    np.testing.assert_array_equal(sandbox.decode(good, SETTINGS).y, before.y)
    assert sandbox.pid != first
    return found


def group(pid: int) -> list[int]:
    """The running processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == pid and state not in "ZX":
            found.append(int(entry.name))
    return found


def emptied(pid: int) -> bool:
    """Whether a session ends soon; a killed process needs a moment."""
    deadline = time.monotonic() + 5
    while group(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    return not group(pid)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def page_faults(pid: int) -> int:
    """Memory pages that a process has received, without pages of files."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_the_signal_is_the_same_as_without_a_sandbox(good: int) -> None:
    with Sandbox() as sandbox:
        for settings in (
            DecodeSettings(sr=16000, seconds=0.25, offset=Offset.MIDDLE),
            SETTINGS,  # more samples than the memory of the first child holds
            DecodeSettings(sr=44100, seconds=0.1),
        ):
            found, expected = sandbox.decode(good, settings), decode.decode(good, settings)
            np.testing.assert_array_equal(found.y, expected.y)
            assert (found.coverage, found.seconds_decoded) == (expected.coverage, expected.seconds_decoded)


def test_the_next_file_does_not_change_the_signal(good: int, tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(encoded(-tone(SR // 2)))
    other = os.open(tmp_path / "other.wav", os.O_RDONLY)
    with Sandbox() as sandbox:
        first = sandbox.decode(good, SETTINGS).y
        kept = first.copy()
        sandbox.decode(other, SETTINGS)
    os.close(other)
    np.testing.assert_array_equal(first, kept)


def test_every_bad_file_has_its_reason_or_coverage(tmp_path: Path) -> None:
    found: dict[str, tuple[AudioReason | None, float]] = {}
    with Sandbox() as sandbox:
        for fault in FAULTS:
            (tmp_path / "audio").write_bytes(fault.make())
            fd = os.open(tmp_path / "audio", os.O_RDONLY)
            try:
                found[fault.name] = (None, round(sandbox.decode(fd, SETTINGS).coverage, 3))
            except AudioRejected as caught:
                found[fault.name] = (caught.reason, 1.0)
            finally:
                os.close(fd)
    assert found == {fault.name: (fault.reason, fault.coverage) for fault in FAULTS}


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        ("segfault", "SIGSEGV"),
        ("exit", "exit status 3"),
        ("allocate", "MemoryError"),
        ("map_memory", "OSError: [Errno 12]"),
        ("write_file", "Errno"),
        ("grandchild", "PermissionError: [Errno 1]"),
        ("shrink_memory", "Error"),
        ("raise", "ZeroDivisionError: float division by zero"),
        ("garbage", "garbage"),
        ("deep_nesting", "[[["),
        ("unknown_reason", "bad mood"),
        ("too_many_samples", "1000000000"),
        ("nan_coverage", "NaN"),
        ("infinite_samples", "Infinity"),
    ],
)
def test_a_crash_of_the_child_only_rejects_one_file(
    action: str, detail: str, sandbox: Sandbox, good: int, tmp_path: Path
) -> None:
    found = ended_by(action, sandbox, good, tmp_path)
    assert found.reason is AudioReason.DECODE_CRASHED
    assert detail in found.detail


def test_a_blocked_child_only_rejects_one_file(hasty: Sandbox, good: int, tmp_path: Path) -> None:
    found = ended_by("hang", hasty, good, tmp_path)
    assert (found.reason, found.detail) == (AudioReason.DECODE_TIMEOUT, "not finished after 0.75 s")


def test_the_output_of_a_child_is_discarded(sandbox: Sandbox, tmp_path: Path) -> None:
    fd = file_with_action("print", tmp_path)
    assert rejected(sandbox, fd).reason is AudioReason.NOT_AUDIO
    os.close(fd)
    assert sandbox.pid is not None


def test_an_unexpected_answer_is_ignored(sandbox: Sandbox, good: int, tmp_path: Path) -> None:
    fd = file_with_action("answer_twice", tmp_path)
    assert rejected(sandbox, fd).detail == "too early"
    os.close(fd)
    first = sandbox.pid
    time.sleep(0.05)
    assert len(sandbox.decode(good, SETTINGS).y) == SR // 2
    assert sandbox.pid != first


def test_long_details_are_truncated(sandbox: Sandbox, tmp_path: Path) -> None:
    fd = file_with_action("refuse", tmp_path)
    assert rejected(sandbox, fd).detail == "\N{SNOWMAN}" * 300
    os.close(fd)
    assert sandbox.pid is not None


def test_one_malicious_file_of_a_thousand_only_rejects_itself(
    sandbox: Sandbox, good: int, tmp_path: Path
) -> None:
    poison = file_with_action("segfault", tmp_path)
    pids, refused = set(), []
    for number in range(1000):
        try:
            assert len(sandbox.decode(poison if number == 500 else good, SETTINGS).y) == SR // 2
            pids.add(sandbox.pid)
        except AudioRejected as caught:
            refused.append((number, caught.reason))
    os.close(poison)
    assert refused == [(500, AudioReason.DECODE_CRASHED)]
    assert len(pids) == 2


def test_a_child_that_dies_between_files_rejects_no_file(good: int) -> None:
    with Sandbox() as sandbox:
        sandbox.decode(good, SETTINGS)
        first = sandbox.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        time.sleep(0.05)
        assert len(sandbox.decode(good, SETTINGS).y) == SR // 2
        assert sandbox.pid != first


def rejected_while_killed(sandbox: Sandbox, number: signal.Signals, folder: Path) -> AudioRejected:
    """The reject of a slow file whose decoder, which must run already, gets a signal."""
    child = sandbox.pid
    assert child is not None
    slow = file_with_action("dawdle", folder)
    killer = threading.Timer(0.1, os.kill, (child, number))
    killer.start()
    found = rejected(sandbox, slow)
    killer.join()
    os.close(slow)
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_file_is_decoded_again_if_its_child_was_killed_from_outside(
    sandbox: Sandbox, good: int, tmp_path: Path, number: signal.Signals
) -> None:
    sandbox.decode(good, SETTINGS)
    first = sandbox.pid
    found = rejected_while_killed(sandbox, number, tmp_path)
    assert (found.reason, found.detail) == (AudioReason.SILENT, "too late")
    assert sandbox.pid != first


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_file_that_may_have_crashed_its_child_is_not_decoded_again(
    sandbox: Sandbox, good: int, tmp_path: Path, number: signal.Signals
) -> None:
    sandbox.decode(good, SETTINGS)
    found = rejected_while_killed(sandbox, number, tmp_path)
    assert (found.reason, found.detail) == (AudioReason.DECODE_CRASHED, number.name)


def test_the_answer_to_an_interrupted_caller_is_ignored(sandbox: Sandbox, good: int, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(_: int, __: object) -> None:
        raise Interrupted

    sandbox.decode(good, SETTINGS)
    slow = file_with_action("dawdle", tmp_path)
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(Interrupted):
        sandbox.decode(slow, SETTINGS)
    signal.signal(signal.SIGALRM, previous)
    os.close(slow)
    assert len(sandbox.decode(good, SETTINGS).y) == SR // 2


def test_two_hundred_files_leave_no_open_descriptor(sandbox: Sandbox, good: int, tmp_path: Path) -> None:
    poison = file_with_action("segfault", tmp_path)
    sandbox.decode(good, SETTINGS)
    mine, childs = descriptors(), answer("count_descriptors", sandbox, tmp_path)
    for number in range(200):
        sandbox.decode(good, SETTINGS)
        if number in (50, 100):
            rejected(sandbox, poison)
    os.close(poison)
    assert descriptors() == mine - 1
    assert answer("count_descriptors", sandbox, tmp_path) == childs == "6"


def test_the_memory_of_a_file_is_reused_for_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "audio.ogg").write_bytes(encoded(tone(5 * SR, 2 * SR, 2), 2 * SR, "OGG"))
    fd = os.open(tmp_path / "audio.ogg", os.O_RDONLY)
    with Sandbox() as sandbox:
        for _ in range(5):
            sandbox.decode(fd, SETTINGS)
        before = page_faults(sandbox.pid or 0)
        for _ in range(20):
            sandbox.decode(fd, SETTINGS)
        assert page_faults(sandbox.pid or 0) - before < 100
    os.close(fd)


def test_closing_leaves_no_process_and_no_descriptor(good: int) -> None:
    before = descriptors()
    with Sandbox() as sandbox:
        sandbox.decode(good, SETTINGS)
        pid = sandbox.pid
        assert pid is not None
        assert group(pid) == [pid]
    assert sandbox.pid is None
    assert not Path(f"/proc/{pid}").exists()  # not even as a zombie
    assert descriptors() == before


def test_a_killed_worker_leaves_no_child(tmp_path: Path) -> None:
    fd = file_with_action("hang", tmp_path)
    os.close(fd)
    worker = (
        "import os\n"
        "from genremill.udfs.decoding.sandbox import Sandbox\n"
        "from genremill.udfs.decoding.settings import DecodeSettings\n"
        "from genremill.infra.audio.faults import AudioRejected\n"
        f"sandbox = Sandbox(module={MISBEHAVING!r})\n"
        "settings = DecodeSettings(sr=22050, seconds=30)\n"
        "try:\n"
        "    sandbox.decode(os.open('/dev/null', os.O_RDONLY), settings)\n"
        "except AudioRejected:\n"
        "    print(sandbox.pid, flush=True)\n"
        f"sandbox.decode(os.open({str(tmp_path / 'hang')!r}, os.O_RDONLY), settings)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, env=environment) as running:
        assert running.stdout
        pid = int(running.stdout.readline())
        time.sleep(0.1)
        assert group(pid) == [pid]
        running.kill()
    assert emptied(pid)


def test_the_child_has_no_secrets_and_another_working_folder(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    with Sandbox() as sandbox:
        sandbox.decode(good, SETTINGS)
        process = Path(f"/proc/{sandbox.pid}")
        limits = (process / "limits").read_text().splitlines()
        for name in ("Max core file size", "Max file size", "Max processes"):
            assert [line.split()[-3:-1] for line in limits if line.startswith(name)] == [["0", "0"]]
        status = (process / "status").read_text()
        assert all(line in status for line in ("NoNewPrivs:\t1", "Seccomp:\t2"))
        with pytest.raises(PermissionError) if os.getuid() else contextlib.nullcontext():
            names = {line.split("=")[0] for line in (process / "environ").read_text().split("\0") if line}
            own = {"PYTHONPATH", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "PYTHONHOME"}
            assert names <= own
            assert os.readlink(process / "cwd") == "/"


@pytest.mark.parametrize(("ffmpeg", "packages"), [(False, "soundfile"), (True, "av soundfile")])
def test_the_child_only_imports_what_decoding_needs(
    ffmpeg: bool, packages: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    if ffmpeg:
        pytest.importorskip("av")
    sandbox.close()
    assert answer("name_modules", sandbox, tmp_path, ffmpeg=ffmpeg) == packages


def test_a_child_with_ffmpeg_decodes_the_other_formats_too(
    sandbox: Sandbox, good: int, tmp_path: Path
) -> None:
    pytest.importorskip("av")
    answer("name_modules", sandbox, tmp_path, ffmpeg=True)
    first = sandbox.pid
    sandbox.decode(good, SETTINGS)
    assert sandbox.pid == first


def test_a_child_that_cannot_start_is_a_storage_error(good: int) -> None:
    with (
        Sandbox(module="genremill.udfs.no_such_module") as sandbox,
        pytest.raises(StorageError, match="status 1"),
    ):
        sandbox.decode(good, SETTINGS)


def test_the_child_uses_the_budget_of_the_sandbox(good: int) -> None:
    with Sandbox(budget=Budget(object_bytes=100)) as sandbox:
        assert rejected(sandbox, good).reason is AudioReason.HEADER_OVER_BUDGET
