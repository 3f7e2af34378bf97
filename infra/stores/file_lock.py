"""A lock between processes on one machine, or on several machines that mount the same folder by NFS.

It is a write lock on an open file description (`man fcntl`): it needs a file that is open for writing,
excludes threads too, and ends with its process. Only users who can write the file can read it, because a
reader could hold a read lock, which keeps writers out.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from genremill.infra.errors import StorageError
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

    Raises `OSError` if the file cannot be written or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o222)
    try:
        _let_only_writers_read(lock)
        _wait(path, lock)
        _sign(lock, f"process {os.getpid()} on {os.uname().nodename}")
        try:
            yield
        finally:
            _sign(lock, "")
    finally:
        os.close(lock)


def _let_only_writers_read(lock: int) -> None:
    """Gives read access to those who have write access, and takes it from all others, if this user may."""
    status = os.fstat(lock)
    writers = status.st_mode & 0o222
    if status.st_uid == os.geteuid() and status.st_mode & 0o777 != writers | writers << 1:
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
