"""Objects of a warehouse on a file system that all machines of the cluster can access."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from pyarrow.fs import FileSystem, LocalFileSystem

from genremill.infra.errors import StorageError, StorageRefused
from genremill.infra.stores.file_lock import locked
from genremill.infra.stores.objects import REPLACED, Conflict, StoredObject, Upload

PERMANENT = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
        *(errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.ENODEV, errno.ENXIO),
    }
)
"""Errors of the operating system that a retry meets again; a full disk or a lost mount may recover."""


class LocalStore:
    """The operations of `storage` on `file:///…` URIs."""

    def state(self, uri: str) -> StoredObject | None:
        """Size, version and time of an object; None if it does not exist or is a folder."""
        path = path_of(uri)
        with _faults("read", uri), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            return described(status, path.name) if stat.S_ISREG(status.st_mode) else None
        return None

    def objects(self, uri: str) -> Iterator[StoredObject]:
        """All objects under a folder, sorted by name."""
        root = path_of(uri)
        with _faults("list", uri):
            for path in sorted(root.rglob("*")):
                with contextlib.suppress(FileNotFoundError):  # removed while the folder was listed
                    if path.is_file():
                        yield described(path.stat(), str(path.relative_to(root)))

    def folders(self, uri: str) -> list[str]:
        """Names of the folders directly under a folder, sorted."""
        path = path_of(uri)
        with _faults("list", uri):
            return sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []

    def read(self, uri: str, first: int | None = None) -> tuple[bytes, str]:
        """The bytes of an object, or only the `first` ones, and their version."""
        with _faults("read", uri), path_of(uri).open("rb") as source:
            data = source.read(-1 if first is None else first)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, uri: str, data: bytes) -> None:
        """Writes an object atomically."""
        path = path_of(uri)
        staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with _faults("write", uri):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with staging.open("wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                staging.replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    staging.unlink(missing_ok=True)
                raise

    def write_over(self, uri: str, data: bytes, version: str | None) -> None:
        """Replaces an object of this version, or creates it (version None); raises `Conflict` otherwise."""
        path = path_of(uri)
        lock = path.with_name(f"_{path.stem.strip('_')}.lock")
        with _faults("lock", f"file://{lock}"), locked(lock):
            if (self.read(uri)[1] if self.state(uri) else None) != version:
                raise Conflict(f"{uri} {REPLACED}")
            self.write(uri, data)

    def remove(self, uri: str) -> None:
        """Removes a folder and everything below it; does nothing if it does not exist.

        Raises an error for the first of the files that cannot be removed, after it has removed the others.
        """
        errors: list[tuple[str, OSError]] = []
        shutil.rmtree(path_of(uri), onerror=lambda *failure: errors.append((failure[1], failure[2][1])))
        for path, err in errors:
            if not isinstance(err, FileNotFoundError):  # another process has removed it
                raise fault(f"cannot remove {path}", err) from err

    def remove_object(self, uri: str) -> None:
        """Removes one object; does nothing if it does not exist."""
        with _faults("remove", uri), contextlib.suppress(NotADirectoryError):
            path_of(uri).unlink(missing_ok=True)

    def uploads(self, uri: str) -> list[Upload]:
        """An empty list: a file system has no multipart uploads."""
        return []

    def abort(self, uri: str, upload: Upload) -> None:
        """Does nothing, because there are no uploads."""

    def arrow(self, uri: str) -> tuple[FileSystem, str]:
        """The file system of pyarrow for a URI, and the path in it."""
        return LocalFileSystem(), str(path_of(uri))


def path_of(uri: str) -> Path:
    """The path of a `file:///…` URI in the notation of Hadoop, without percent-encoding."""
    return Path(uri.removeprefix("file://"))


@contextlib.contextmanager
def _faults(action: str, uri: str) -> Iterator[None]:
    """Turns errors of the operating system into `StorageError`, or `StorageRefused` if they are permanent."""
    try:
        yield
    except OSError as err:
        raise fault(f"cannot {action} {uri}", err) from err


def fault(what: str, err: OSError) -> StorageError:
    """The error for a fault of the operating system; `StorageRefused` if it is permanent."""
    kind = StorageRefused if err.errno in PERMANENT else StorageError
    return kind(f"{what}: {err.strerror or err}")


def system_error(err: OSError) -> StorageError:
    """The error for a fault of the operating system elsewhere, such as a full folder for temporary files.

    >>> str(system_error(OSError(28, "No space left on device", "/tmp/x")))
    'cannot use /tmp/x: No space left on device'
    """
    return fault(f"cannot use {err.filename}" if err.filename else "the operating system reports", err)


def described(status: os.stat_result, name: str) -> StoredObject:
    """A file as a stored object; its version is its size and modification time."""
    return StoredObject(name, status.st_size, f"{status.st_size}-{status.st_mtime_ns}", status.st_mtime)
