"""Audio files on the file system, opened so that nothing outside the root is ever read.

Links to targets inside the root work: the path is resolved first, and then opened name by name from the
descriptor of the root, without following links. So a link that is created in between is refused.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Location, redacted, refused
from genremill.infra.errors import StorageError
from genremill.infra.stores.local import described

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that replaces the file at the last moment would block forever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def state(root: Location, location: Location, uri: str) -> tuple[str, int, str]:
    """Etag (size and modification time), size, and host with device and inode of a file below a root."""
    with _faults(uri), _parent(root, location, uri) as (folder, name):
        status = os.lstat(name, dir_fd=folder)
        # Devices have other numbers on other hosts.
        return *_state_of(status, uri), f"{os.uname().nodename}-{status.st_dev}-{status.st_ino}"


@contextlib.contextmanager
def opened(root: Location, location: Location, uri: str, etag: str) -> Iterator[int]:
    """A descriptor of a file with this etag, at its start.

    Raises `AudioRejected` also at the end of the block, if the file was written to in the meantime.
    """
    with _faults(uri), _parent(root, location, uri) as (folder, name):
        _state_of(os.lstat(name, dir_fd=folder), uri)
        fd = os.open(name, _FILE, dir_fd=folder)
    try:
        with _faults(uri):
            _check(fd, etag, uri)
        yield fd
        _check(fd, etag, uri)
    finally:
        os.close(fd)


def sha256(fd: int, uri: str, etag: str) -> str:
    """The sha256 of an open file with this etag, whose position is then its start again.

    Raises `AudioRejected` if the file was written to in the meantime.
    """
    with _faults(uri):
        with open(fd, "rb", buffering=0, closefd=False) as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        os.lseek(fd, 0, os.SEEK_SET)
        _check(fd, etag, uri)
    return digest


def _check(fd: int, etag: str, uri: str) -> None:
    current, _ = _state_of(os.fstat(fd), uri)
    if current != etag:
        raise AudioRejected(AudioReason.CHANGED, f"{redacted(uri)}: expected {etag}, found {current}")


def _state_of(status: os.stat_result, uri: str) -> tuple[str, int]:
    if stat.S_ISLNK(status.st_mode):
        raise refused(uri, "a link that leads out of the root or to itself, or was created just now")
    if not stat.S_ISREG(status.st_mode):
        raise refused(uri, "not a regular file")
    return described(status, "").version, status.st_size


@contextlib.contextmanager
def _parent(root: Location, location: Location, uri: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder of a file, and the name of the file, after resolving all links."""
    inside, real = os.path.realpath(root.path), os.path.realpath(location.path)
    if not real.startswith(f"{inside}/"):
        raise refused(uri, f"leads out of --audio-root {root}")
    *folders, name = real.removeprefix(f"{inside}/").split("/")
    try:
        folder = os.open(inside, _FOLDER)
    except OSError as err:
        # Not `missing`: if a mount is gone, all files would be rejected.
        raise StorageError(f"cannot open --audio-root {root}: {err.strerror}") from err
    try:
        for child in folders:
            below = _below(folder, child, uri)
            os.close(folder)
            folder = below
        yield folder, name
    finally:
        os.close(folder)


def _below(folder: int, name: str, uri: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
            raise refused(uri, "a link was created among its folders just now") from None
        raise


@contextlib.contextmanager
def _faults(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise AudioRejected(AudioReason.MISSING, f"{redacted(uri)}: no such file") from err
        if err.errno in (errno.ELOOP, errno.EINVAL):  # EINVAL: `realpath` read a link that was replaced
            raise refused(uri, "a link in the path was changed at the same time") from err
        if err.errno in (errno.EACCES, errno.EPERM):  # the root itself could be opened
            raise AudioRejected(AudioReason.DENIED, f"{redacted(uri)}: no permission to read it") from err
        raise StorageError(f"cannot read {redacted(uri)}: {err.strerror}") from err
