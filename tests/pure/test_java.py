"""The `java` that a session would start is asked for its version first, and never for longer than a limit."""

import errno
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyspark import java_gateway

from genremill.infra import java
from genremill.infra.errors import UsageError
from genremill.jobs import cli

SPARK_CONF: Any = None
PRINTS_17 = """echo 'openjdk version "17.0.15" 2025-04-15' >&2"""
HANGS = {
    "sleeps": "exec sleep 600",
    "a wrapper that sleeps": "sleep 600; true",
    "ignores SIGTERM": "trap '' TERM; while true; do sleep 1; done",
    "leaves a process with its stderr": f"sleep 600 & {PRINTS_17}",
}
NOT_JAVA = {"prints nothing": "true", "fails": "exit 3", "another program": "echo 'perl 5' >&2"}


def fake_java(folder: Path, script: str) -> Path:
    """A `java` that runs a shell script, in the `bin` of a JAVA_HOME."""
    path = folder / "bin" / "java"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "ANSWER_S", 0.5)


@pytest.mark.parametrize("kind", HANGS)
def test_java_that_hangs_is_named_and_leaves_no_process(tmp_path: Path, kind: str) -> None:
    path = fake_java(tmp_path, HANGS[kind])
    before, started = set(psutil.Process().children()), time.monotonic()
    with pytest.raises(UsageError, match=f"{re.escape(str(path))} hangs"):
        java.version_of(str(path))
    assert time.monotonic() - started < 5
    assert set(psutil.Process().children()) == before
    assert not [one for one in psutil.process_iter(["cmdline", "ppid"]) if _is_left(one, path)]


def _is_left(process: psutil.Process, path: Path) -> bool:
    orphan = process.info["ppid"] == 1 and process.info["cmdline"] == ["sleep", "600"]
    return orphan or str(path) in (process.info["cmdline"] or ())


@pytest.mark.parametrize("kind", NOT_JAVA)
def test_a_program_that_is_not_java_is_named(tmp_path: Path, kind: str) -> None:
    path = fake_java(tmp_path, NOT_JAVA[kind])
    with pytest.raises(UsageError, match=f"{re.escape(str(path))} is not Java"):
        java.version_of(str(path))


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"#!/no/such/shell\n"])
def test_a_file_that_cannot_be_run_is_named(tmp_path: Path, content: bytes) -> None:
    path = fake_java(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"{re.escape(str(path))} cannot be run: "):
        java.version_of(str(path))


def test_what_java_prints_is_read_although_stderr_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source, target = os.pipe()
    write = os.write
    monkeypatch.setattr(os, "write", refuse)
    reader = threading.Thread(target=java._forward, args=(source,), daemon=True)
    reader.start()
    much = b"x" * 9999 + b"\n"
    prints = threading.Thread(target=lambda: [write(target, much) for _ in range(100)], daemon=True)
    prints.start()
    prints.join(5)
    assert not prints.is_alive()
    os.close(target)
    reader.join(5)
    assert not reader.is_alive()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_start_that_fails_leaves_no_open_pipe(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(java, "installed", lambda: None)
    monkeypatch.setattr(java_gateway, "launch_gateway", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(error):
        java.start(SPARK_CONF)
    deadline = time.monotonic() + 5
    while os.listdir("/proc/self/fd") != before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (HANGS["sleeps"], "bin/java hangs"),
        (PRINTS_17.replace("17", "11"), "is Java 11; expected 17 or newer"),
        (PRINTS_17, "17, "),
    ],
)
def test_doctor_names_the_java_that_it_tried(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    expected: str,
) -> None:
    path = fake_java(tmp_path, script)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    cli.main(["doctor"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if " java " in line)
    assert expected in line
    assert str(path) in line


def test_the_java_of_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_java(tmp_path, PRINTS_17)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(path.parent), prepend=os.pathsep)
    assert java.installed() == str(path)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    assert java.installed() is None
