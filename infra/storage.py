"""Small objects (pointers, manifests, model files, reports) of a warehouse; Spark handles the tables.

Every operation takes a full URI, spelled as Hadoop spells them: nothing is percent-encoded. Local files are
the one store so far: other schemes are refused by name.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genremill.infra.errors import StorageError, UsageError


def absolute_uri(location: str) -> str:
    """The URI of a path or URI: a plain path becomes `file:///…`, a trailing slash goes.

    >>> absolute_uri("file:/data/warehouse/")
    'file:///data/warehouse'
    """
    if not location.strip():
        raise UsageError("an empty path was given; expected a path or a file: URI")
    if pattern := sorted(set(location) & set("*?[]{}\\")):
        raise UsageError(f"{location}: Spark takes {' '.join(pattern)} in a path for a pattern; rename it")
    if "://" not in location and not location.startswith("file:"):
        return f"file://{Path(location).absolute()}"
    if location.startswith("file:"):
        return "file:///" + location.removeprefix("file:").strip("/")
    return location.rstrip("/")


def local_path(uri: str) -> Path:
    """The path of a `file:` URI; any other scheme is a `UsageError`."""
    scheme, _, path = absolute_uri(uri).partition("://")
    if scheme != "file":
        raise UsageError(f"{uri}: only file: URIs are supported for this, found {scheme}:")
    return Path(path)


def exists(uri: str) -> bool:
    """Whether an object or a folder is there."""
    return local_path(uri).exists()


def is_object(uri: str) -> bool:
    """Whether an object, not a folder, is there."""
    return local_path(uri).is_file()


def read_bytes(uri: str) -> bytes:
    """All bytes of an object."""
    try:
        return local_path(uri).read_bytes()
    except OSError as err:
        raise StorageError(f"cannot read {uri}: {err.strerror}") from err


def write_atomic(uri: str, data: bytes) -> None:
    """Puts an object in place in one step: readers see the old bytes or the new, never a part."""
    path = local_path(uri)
    staging = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        staging.replace(path)
    except OSError as err:
        with contextlib.suppress(OSError):
            staging.unlink(missing_ok=True)
        raise StorageError(f"cannot write {uri}: {err.strerror}") from err


@contextlib.contextmanager
def lock(uri: str) -> Iterator[None]:
    """Keeps other processes that lock the same URI waiting until the block ends."""
    path = local_path(uri)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.open("w")
    except OSError as err:
        raise StorageError(f"cannot lock {uri}: {err.strerror}") from err
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def folders(uri: str) -> list[str]:
    """Names of the folders directly under `uri`, sorted; none where it does not exist."""
    path = local_path(uri)
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def move(source: str, target: str) -> None:
    """Renames a folder that nobody reads yet to its final name; an existing target stays as it is."""
    destination = local_path(target)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        local_path(source).rename(destination)
    except OSError as err:
        raise StorageError(f"cannot move {source} to {target}: {err.strerror}") from err


def remove(uri: str) -> None:
    """Removes a folder and all below it; one that is not there is fine."""
    shutil.rmtree(local_path(uri), ignore_errors=True)


def remove_object(uri: str) -> None:
    """Removes one object; one that is not there is fine."""
    local_path(uri).unlink(missing_ok=True)


@dataclass(frozen=True)
class Inventory:
    """What lies under a URI, enough to tell whether it has changed."""

    files: int
    size_bytes: int
    digest: str


def inventory(uri: str) -> Inventory:
    """Names, sizes and modification times of all files under a path (or of the one file)."""
    path = local_path(uri)
    if not path.exists():
        raise UsageError(f"{uri}: no such file or folder")
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_data(p, path))
    lines = [(str(p.relative_to(path)), p.stat().st_size, p.stat().st_mtime_ns) for p in found]
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()[:16]
    return Inventory(len(found), sum(size for _, size, _ in lines), digest)


def _is_data(path: Path, root: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(root).parts)
    return path.is_file() and not hidden


def utc_now() -> str:
    """The time now as ISO 8601 in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def is_parquet(uri: str) -> bool:
    """Whether a file, or the first data file of a folder, is Parquet by its magic bytes."""
    path = local_path(uri)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if _is_data(p, path))
    if not files:
        return False
    with files[0].open("rb") as source:
        return source.read(4) == b"PAR1"
