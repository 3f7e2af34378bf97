"""Audio files on the file system, opened so that nothing outside the root is ever read.

Links that stay inside the root are followed: they are resolved first, and the resolved path is then walked
name by name from the root's own descriptor, following no link. What is swapped in between is refused.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Place, refused, shown
from genremill.infra.errors import StorageError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, a FIFO swapped in at the last moment would hold the worker for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def state(root: Place, place: Place, uri: str) -> tuple[str, int]:
    """Etag (size and modification time) and size of a file under a root."""
    with _faults(uri), _parent(root, place, uri) as (folder, name):
        return _state_of(_entry(folder, name, uri), uri)


@contextlib.contextmanager
def opened(root: Place, place: Place, uri: str, etag: str) -> Iterator[tuple[int, str]]:
    """A descriptor of a file that still has that etag, at its start, and the sha256 of its bytes.

    `AudioRejected` at the end of the block too, if the file was written to meanwhile.
    """
    with _faults(uri), _parent(root, place, uri) as (folder, name):
        _state_of(_entry(folder, name, uri), uri)
        fd = os.open(name, _FILE, dir_fd=folder)
    try:
        with _faults(uri):
            _check(fd, etag, uri)
            with open(fd, "rb", buffering=0, closefd=False) as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
            os.lseek(fd, 0, os.SEEK_SET)
            _check(fd, etag, uri)
        yield fd, digest
        _check(fd, etag, uri)
    finally:
        os.close(fd)


def _check(fd: int, etag: str, uri: str) -> None:
    found, _ = _state_of(os.fstat(fd), uri)
    if found != etag:
        raise AudioRejected(AudioReason.CHANGED, f"{shown(uri)}: expected {etag}, found {found}")


def _state_of(found: os.stat_result, uri: str) -> tuple[str, int]:
    if stat.S_ISLNK(found.st_mode):
        raise refused(uri, "a link that leads out of the root, in a circle, or has just been put there")
    if not stat.S_ISREG(found.st_mode):
        raise refused(uri, "not a regular file")
    return f"{found.st_size}-{found.st_mtime_ns}", found.st_size


def _entry(folder: int, name: str, uri: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


@contextlib.contextmanager
def _parent(root: Place, place: Place, uri: str) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that a file lies in, and its name there, all links resolved."""
    inside = os.path.realpath(root.path)
    real = os.path.realpath(place.path)
    if not real.startswith(f"{inside}/"):
        raise refused(uri, f"leads out of --audio-root {root}")
    *folders, name = real.removeprefix(f"{inside}/").split("/")
    try:
        folder = os.open(inside, _FOLDER)
    except OSError as err:
        # Its files are not missing: all of them would be rejected for a mount that is gone.
        raise StorageError(f"cannot open --audio-root {root}: {err.strerror}") from err
    try:
        for one in folders:
            below = _below(folder, one, uri)
            os.close(folder)
            folder = below
        yield folder, name
    finally:
        os.close(folder)


def _below(folder: int, name: str, uri: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(_entry(folder, name, uri).st_mode):
            raise refused(uri, "a link among its folders has just been put there") from None
        raise


@contextlib.contextmanager
def _faults(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in _NO_SUCH_FILE:
            raise AudioRejected(AudioReason.MISSING, f"{shown(uri)}: no such file") from err
        if err.errno in (
            errno.ELOOP,
            errno.EINVAL,
        ):  # EINVAL: `realpath` read a link that was one no more
            raise refused(uri, "links were changed while it was looked up") from err
        if err.errno in (errno.EACCES, errno.EPERM):  # the root itself has been opened by then
            raise refused(uri, "no permission to read it") from err
        raise StorageError(f"cannot read {shown(uri)}: {err.strerror}") from err
