"""A lock between processes on one machine, or on several machines that mount the same folder by NFS.

It is a write lock on an open file description (`man fcntl`): it needs a file that is open for writing,
excludes threads too, and ends with its process. Only users who can write the file can read it, because a
reader could hold a read lock, which keeps writers out. Users who can write its folder can write it, whoever
has created it.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from genremill.infra.errors import StorageError, StorageRefused
from genremill.infra.log import LOGGER

WAIT_S = 60.0
"""How long a process waits for the lock before it fails."""
NOTICE_S = 1.0
"""How long it waits before it logs that it waits."""
LOOK_S = 0.02

_FLOCK = "hhqqi4x"
"""Linux's `struct flock`: type, whence, start, length (0: to the end) and process id."""
_HOLDER_BYTES = 200


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock until the block ends; raises `StorageError` if another process holds it for `WAIT_S`.

    Raises `StorageRefused` if this user may not write the file, and `OSError` if it cannot be locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _opened(path)
    try:
        _wait(path, lock)
        _sign(lock, f"process {os.getpid()} on {os.uname().nodename}")
        try:
            yield
        finally:
            _sign(lock, "")
    finally:
        os.close(lock)


def _opened(path: Path) -> int:
    """The file, open for writing. Links are not followed, because the owner and the mode are changed."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with contextlib.suppress(FileExistsError):
            lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            _share_with_writers_of(path.parent, lock)
            return lock
        lock = os.open(path, flags)
    except PermissionError as err:
        raise StorageRefused(
            f"cannot write {path}: {err.strerror}. Run the job as a user who can write the warehouse; if you "
            f"can, give the file the owner, group and write permissions of its folder, or remove it while no "
            f"job runs"
        ) from err
    status = os.fstat(lock)
    if status.st_uid == os.geteuid():
        _let_only_writers_read(lock, status.st_mode & 0o222)
    return lock


def _share_with_writers_of(folder: Path, lock: int) -> None:
    """Lets those who can write the folder write the file, as far as this user may grant it."""
    of_folder = folder.stat()
    owner = of_folder.st_uid if os.geteuid() == 0 else -1
    with contextlib.suppress(OSError):  # not a member of the group, or a file system without owners
        os.fchown(lock, owner, of_folder.st_gid)
    has_its_group = os.fstat(lock).st_gid == of_folder.st_gid
    _let_only_writers_read(lock, of_folder.st_mode & (0o222 if has_its_group else 0o202) | 0o200)


def _let_only_writers_read(lock: int, writers: int) -> None:
    """Gives read and write access to those with these write bits, and takes it from all others."""
    with contextlib.suppress(OSError):  # a file system without modes
        os.fchmod(lock, writers | writers << 1)


def _wait(path: Path, lock: int) -> None:
    started, noticed = time.monotonic(), False
    while not _try(lock):
        waited_s = time.monotonic() - started
        if waited_s > WAIT_S:
            raise StorageError(
                f"{path} has been locked for {WAIT_S:g} s by {_holder(path, lock)}; "
                "end that process if it hangs, and run the command again"
            )
        if waited_s > NOTICE_S and not noticed:
            LOGGER.info("waiting at most %g s for %s, which %s holds", WAIT_S, path, _holder(path, lock))
            noticed = True
        time.sleep(LOOK_S)


def _try(lock: int) -> bool:
    """Whether this process has got the lock."""
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except BlockingIOError:
        return False
    return True


def _sign(lock: int, holder: str) -> None:
    """Writes who holds the lock into its file, for the messages of those who wait."""
    with contextlib.suppress(OSError):  # a full disk, for example, which the job reports itself
        os.ftruncate(lock, 0)
        os.pwrite(lock, holder.encode(), 0)


def _holder(path: Path, lock: int) -> str:
    """Who holds the lock: a lock by process id is known to the system; else what the holder has written."""
    wanted = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    *_, pid = struct.unpack(_FLOCK, fcntl.fcntl(lock, fcntl.F_OFD_GETLK, wanted))
    if pid > 0:
        return f"process {pid} on {os.uname().nodename}"
    with contextlib.suppress(OSError), path.open(errors="replace") as source:
        if holder := source.read(_HOLDER_BYTES):
            return holder
    return "an unknown process (`lslocks` lists the locks of a machine)"
