"""Errors of the operating system, wherever they happen, end a command with one line and never a traceback."""

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genremill.infra import session, storage
from genremill.infra.errors import ExitCode, StorageError, StorageRefused
from genremill.infra.new_files import create
from genremill.jobs import command
from genremill.jobs.catalog.converted_files import copy_bytes
from genremill.jobs.catalog.file_format import Packing
from genremill.jobs.catalog.source_files import SourceFile, opened


@dataclass(frozen=True)
class NoFlags:
    """A command without flags."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text("track_id,track_genre\nt0,rock\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


def failing(error: OSError) -> command.Command[command.NoFlags, NoFlags]:
    """A command that ends with an error of the operating system."""

    def run(common: command.NoFlags, options: NoFlags) -> command.Outcome:
        raise error

    return command.Command("tool", "", NoFlags, run, command.NoFlags)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (errno.EACCES, ExitCode.USAGE),
        (errno.ENAMETOOLONG, ExitCode.USAGE),
        (errno.ELOOP, ExitCode.USAGE),
        (errno.EISDIR, ExitCode.USAGE),
        (errno.ENOSPC, ExitCode.RETRY),
        (errno.EMFILE, ExitCode.RETRY),
    ],
)
def test_any_other_error_of_the_operating_system_is_one_line(
    capsys: pytest.CaptureFixture[str], number: int, exit_code: ExitCode
) -> None:
    reason = os.strerror(number)
    assert failing(OSError(number, reason, "/tmp/x"))([]) == exit_code
    assert capsys.readouterr().err == f"genremill tool: cannot use /tmp/x: {reason}\n"
    assert failing(OSError(number, reason))([]) == exit_code
    assert capsys.readouterr().err == f"genremill tool: the operating system reports: {reason}\n"
    with pytest.raises(StorageError, match=f"cannot use /tmp/x: {reason}") as caught, session.faults():
        raise OSError(number, reason, "/tmp/x")
    assert caught.value.exit_code == exit_code
    text = f"Traceback:\n  File …\nOSError: [Errno {number}] {reason}: '/tmp/x'\n"
    found = session.raised_in_worker(text)
    assert found
    assert found.exit_code == exit_code
    assert str(found).endswith(f"{reason}: '/tmp/x'")


@pytest.mark.parametrize("error", [OSError("a bug"), OSError(), ValueError("No space left on device")])
def test_an_error_that_does_not_come_from_the_operating_system_is_a_bug(error: Any) -> None:
    with pytest.raises(type(error)):
        failing(error)([])
    with pytest.raises(type(error)), session.faults():
        raise error
    assert session.raised_in_worker(f"Traceback:\n  File …\n{type(error).__name__}: {error}\n") is None
    chained = "\nOSError: [Errno 28] No space\n\nDuring handling …\nKeyError: 'x'\n"
    assert session.raised_in_worker(chained) is None


@pytest.mark.parametrize(
    ("path", "exit_code", "reason"),
    [
        ("/dev/full", ExitCode.RETRY, "No space left on device"),
        ("{folder}/t.csv/x", ExitCode.USAGE, "Not a directory|File exists"),
        ("{folder}/empty", ExitCode.USAGE, "Is a directory"),
        ("{folder}/loop", ExitCode.USAGE, "Too many levels of symbolic links"),
        ("{folder}/" + "n" * 256, ExitCode.USAGE, "File name too long"),
    ],
)
def test_a_converted_table_that_cannot_be_written_is_refused_with_its_path(
    folder: Path, path: str, exit_code: ExitCode, reason: str
) -> None:
    uri = f"file://{path.replace('{folder}', str(folder))}"
    with pytest.raises(StorageError, match=f"cannot write {uri}: .*({reason})") as caught:
        copy_bytes(SourceFile(f"file://{folder}/t.csv", 9, "t.csv"), uri)
    assert caught.value.exit_code == exit_code


def test_a_damaged_table_is_not_taken_for_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Couldn't deserialize"), create(f"file://{tmp_path}/x"):
        raise OSError("Couldn't deserialize thrift")


@pytest.mark.parametrize("packing", [Packing.NONE, Packing.GZIP, Packing.ZIP])
@pytest.mark.parametrize("name", ["loop", "n" * 256, "t.csv/x"])
def test_a_table_that_cannot_be_opened_is_refused_with_its_path(
    folder: Path, name: str, packing: Packing
) -> None:
    uri = f"file://{folder}/{name}"
    with (
        pytest.raises(StorageRefused, match=f"cannot read {uri}: "),
        opened(SourceFile(uri, 9, name, packing=packing)) as content,
    ):
        content.read()


def test_a_lock_that_the_file_system_does_not_offer_is_an_error_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", fail)
    with pytest.raises(StorageError, match=r"cannot lock .*/_x\.lock: No locks available"):
        storage.write_over(f"file://{tmp_path}/x.json", b"", None)
