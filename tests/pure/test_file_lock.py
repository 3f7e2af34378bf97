"""The lock of a local warehouse: only who can write its file can hold it, and nobody waits without an end."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from genremill.infra import storage
from genremill.infra.errors import ExitCode, StorageError, StorageRefused
from genremill.infra.stores import file_lock
from genremill.infra.stores.file_lock import locked

NOBODY = 65534

Other: TypeAlias = Callable[[str], int]
"""Starts a process that runs code with the lock file as `path` and then stops; returns its pid."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "_current.lock"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process waits a fifth of a second for a lock."""
    monkeypatch.setattr(file_lock, "WAIT_S", 0.2)
    monkeypatch.setattr(file_lock, "NOTICE_S", 0.05)


@pytest.fixture
def other(path: Path) -> Iterator[Other]:
    started = []

    def start(code: str) -> int:
        start = "import fcntl, os, sys, time; path = sys.argv[1]"
        whole = f"{start}; {code}; print('ready', flush=True); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", whole, str(path)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


HOLD = (
    "from pathlib import Path; from genremill.infra.stores.file_lock import locked; "
    "held = locked(Path(path)); held.__enter__()"
)
"""A process that holds the lock as a job does."""


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
@pytest.mark.parametrize(
    ("folder", "expected"),
    [(0o755, 0o600), (0o700, 0o600), (0o775, 0o660), (0o2770, 0o660), (0o777, 0o666), (0o1777, 0o666)],
)
def test_who_can_write_the_folder_can_lock_and_nobody_else(
    path: Path, umask: int, folder: int, expected: int
) -> None:
    path.parent.chmod(folder)
    before = os.umask(umask)
    try:
        with locked(path):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lock_that_root_has_made_belongs_to_the_owner_of_the_folder(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)
    with locked(path):
        pass
    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_group_of_another_folder_cannot_lock(path: Path) -> None:
    os.chown(path.parent, NOBODY, 1)
    path.parent.chmod(0o775)
    folder = os.open(path.parent, os.O_RDONLY)  # the folders above are closed to other users
    os.seteuid(NOBODY)
    try:
        with locked(Path(f"/proc/self/fd/{folder}/{path.name}")):
            pass
    finally:
        os.seteuid(0)
        os.close(folder)
    assert path.stat().st_gid == os.getegid()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_system_without_modes_and_owners_is_enough(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    for _ in range(2):
        with locked(path):
            pass


def test_a_lock_that_cannot_be_opened_is_an_error_with_advice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageRefused, match=rf"cannot write {path}: Permission denied. .* its folder"):
        storage.write_over(f"file://{path.with_name('_current.json')}", b"{}", None)


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("kept")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"), locked(path):
        pass
    assert (tmp_path / "other").read_text() == "kept"


def test_a_lock_file_of_an_earlier_version_is_closed_to_readers(path: Path) -> None:
    path.touch(mode=0o644)
    with locked(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_with_read_access_cannot_hold_the_lock(path: Path, tmp_path: Path) -> None:
    with locked(path):
        pass
    folder = os.open(tmp_path, os.O_RDONLY)  # the folders above are closed to other users
    tmp_path.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            os.open(path.name, os.O_RDONLY, dir_fd=folder)
    finally:
        os.seteuid(0)
        os.close(folder)


def test_a_lock_of_a_reader_does_not_count(path: Path, other: Other) -> None:
    path.touch()
    other("f = open(path); fcntl.flock(f, fcntl.LOCK_EX)")
    with locked(path):
        pass


def test_waiting_ends_with_the_name_of_the_holder(
    path: Path, other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    pid = other(HOLD)
    holder = f"process {pid} on {os.uname().nodename}"
    with caplog.at_level("INFO"), pytest.raises(StorageError, match="has been locked for") as raised:
        storage.write_over(f"file://{path.with_name('_current.json')}", b"{}", None)
    assert f"by {holder}; end that process" in str(raised.value)
    assert str(path) in str(raised.value)
    assert raised.value.exit_code is ExitCode.RETRY
    assert [record.message for record in caplog.records] == [
        f"waiting at most 0.2 s for {path}, which {holder} holds"
    ]


@pytest.mark.parametrize("kind", ["LOCK_EX", "LOCK_SH"])
def test_a_foreign_lock_by_process_id_is_named(path: Path, other: Other, kind: str) -> None:
    with locked(path):
        pass
    pid = other(f"f = open(path, 'r+'); fcntl.lockf(f, fcntl.{kind})")
    with pytest.raises(StorageError, match=f"by process {pid} on "), locked(path):
        pass


def test_a_holder_that_does_not_say_who_it_is_is_unknown(path: Path, other: Other) -> None:
    with locked(path):
        assert path.read_text() == f"process {os.getpid()} on {os.uname().nodename}"
    other(f"{HOLD}; os.truncate(path, 0)")
    with pytest.raises(StorageError, match="by an unknown process"), locked(path):
        pass


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_has_ended_blocks_nobody(path: Path, other: Other, sent: signal.Signals) -> None:
    os.kill(other(HOLD), sent)
    with locked(path):
        pass


def test_a_waiting_process_gets_the_lock_when_it_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "WAIT_S", 30.0)
    order: list[str] = []

    def second() -> None:
        with locked(path):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_lock_is_free_after_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(path):
        _ = 1 / 0
    with locked(path), path.open("r+") as again, pytest.raises(BlockingIOError):
        fcntl.lockf(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
