"""Small objects of a warehouse (pointers, records, model files, reports); Spark handles the tables.

Every operation takes a full URI in the notation of Hadoop, without percent-encoding. `file:` URIs are on the
file system, `s3a:` URIs on S3; other schemes are an error.
"""

import calendar
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pyarrow.fs import FileSystem

from genremill.infra.audio.paths import CREDENTIALS, redacted
from genremill.infra.errors import UsageError
from genremill.infra.stores.local import LocalStore, path_of
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.stores.s3 import S3Store

_S3 = re.compile(r"s3[an]?://", re.IGNORECASE)
_BUCKET = re.compile(r"s3a://[A-Za-z0-9][A-Za-z0-9._-]{2,254}(/.*)?")

Store: TypeAlias = LocalStore | S3Store
_STORES: dict[str, Store] = {"file": LocalStore(), "s3a": S3Store()}


def absolute_uri(location: str) -> str:
    """A path or URI as a full URI: `file:///…` for a plain path, `s3a:` for `s3:`, without trailing slash.

    >>> absolute_uri("s3://music/warehouse/")
    's3a://music/warehouse'
    """
    if not location.strip():
        raise UsageError("the path is empty; expected a path, a file: or an s3a: URI")
    if "://" in location and ("?" in location or CREDENTIALS.match(location, location.index("//"))):
        raise UsageError(
            f"{redacted(location)}: expected a URI without credentials or a query; give credentials in the "
            "environment, a profile, a role or Spark's configuration"
        )
    if pattern := sorted(set(location) & set("*?[]{}\\")):
        raise UsageError(
            f"{location}: Spark reads {' '.join(pattern)} in a path as a pattern; rename the file or folder"
        )
    if location.startswith("file:"):
        return "file:///" + location.removeprefix("file:").strip("/")
    if "://" not in location:
        return f"file://{Path(location).absolute()}"
    uri = _S3.sub("s3a://", location, count=1).rstrip("/")
    if uri.startswith("s3a:") and (not _BUCKET.fullmatch(uri) or "//" in uri.removeprefix("s3a://")):
        raise UsageError(f"{location}: expected s3a://bucket/prefix without empty names between slashes")
    return uri


def _store(uri: str) -> tuple[Store, str]:
    """The store of a URI, and the full URI; raises `UsageError` for schemes that are not supported."""
    absolute = absolute_uri(uri)
    scheme = absolute.partition("://")[0]
    if scheme not in _STORES:
        raise UsageError(f"{uri}: only file: and s3a: URIs are supported here, found {scheme}:")
    return _STORES[scheme], absolute


def is_s3(uri: str) -> bool:
    """Whether a full URI is on S3."""
    return uri.startswith("s3a:")


def local_path(uri: str) -> Path:
    """The path of a `file:` URI; raises `UsageError` for other schemes."""
    absolute = absolute_uri(uri)
    if not absolute.startswith("file:"):
        raise UsageError(f"{uri}: expected a local path, found {absolute.partition(':')[0]}:")
    return path_of(absolute)


def exists(uri: str) -> bool:
    """Whether an object or a folder exists."""
    store, uri = _store(uri)
    return store.state(uri) is not None or bool(store.folders(uri)) or any(True for _ in store.objects(uri))


def is_object(uri: str) -> bool:
    """Whether an object (not a folder) exists."""
    store, uri = _store(uri)
    return store.state(uri) is not None


def read_bytes(uri: str) -> bytes:
    """All bytes of an object; raises `StorageError` if it cannot be read."""
    return read_version(uri)[0]


def read_version(uri: str) -> tuple[bytes, str]:
    """All bytes of an object, and its version for `write_over`; raises `StorageError` like `read_bytes`."""
    store, uri = _store(uri)
    return store.read(uri)


def read_start(uri: str, size: int) -> bytes:
    """The first bytes of an object, at most `size`; raises `StorageError` if it cannot be read."""
    store, uri = _store(uri)
    return store.read(uri, size)[0]


def write_atomic(uri: str, data: bytes) -> None:
    """Writes an object atomically: readers see the old bytes or the new ones, never a mixture."""
    store, uri = _store(uri)
    store.write(uri, data)


def write_over(uri: str, data: bytes, version: str | None) -> None:
    """Replaces an object atomically; raises `Conflict` if it no longer has this version (None: no object)."""
    store, uri = _store(uri)
    store.write_over(uri, data, version)


def folders(uri: str) -> list[str]:
    """Sorted names of the folders directly below `uri`; an empty list if it does not exist."""
    store, uri = _store(uri)
    return store.folders(uri)


def objects(uri: str) -> Iterator[StoredObject]:
    """All objects below a folder, including hidden ones, sorted by name."""
    store, uri = _store(uri)
    return store.objects(uri)


def remove(uri: str) -> None:
    """Removes a folder and everything below it; does nothing if it does not exist."""
    store, uri = _store(uri)
    store.remove(uri)


def remove_object(uri: str) -> None:
    """Removes one object; does nothing if it does not exist."""
    store, uri = _store(uri)
    store.remove_object(uri)


def uploads(uri: str) -> list[Upload]:
    """Unfinished multipart uploads below a folder on S3, by any process."""
    store, uri = _store(uri)
    return store.uploads(uri)


def abort(uri: str, upload: Upload) -> None:
    """Aborts an upload below a folder; does nothing if it has ended."""
    store, uri = _store(uri)
    store.abort(uri, upload)


def arrow(uri: str) -> tuple[FileSystem, str]:
    """The file system of pyarrow for a URI, and the path in it."""
    store, uri = _store(uri)
    return store.arrow(uri)


@dataclass(frozen=True)
class Inventory:
    """Number, size and digest of the files at a URI, to find out whether they have changed."""

    files: int
    size_bytes: int
    digest: str


def inventory(uri: str) -> Inventory:
    """The data files below a folder, or the one file; raises `UsageError` if nothing is there."""
    files = data_files(uri)
    digest = hashlib.sha256(repr([(file.name, file.size, file.version) for file in files]).encode())
    return Inventory(len(files), sum(file.size for file in files), digest.hexdigest()[:16])


def is_parquet(uri: str) -> bool:
    """Whether a file, or the first data file of a folder, begins with the magic bytes of Parquet."""
    files = data_files(uri)
    first = uri if is_object(uri) or not files else f"{uri}/{files[0].name}"
    return bool(files) and read_start(first, 4) == b"PAR1"


def data_files(uri: str) -> list[StoredObject]:
    """The object itself, or the objects below the folder that Spark would read: not the hidden ones."""
    store, uri = _store(uri)
    if file := store.state(uri):
        return [file]
    files = list(store.objects(uri))
    if not files and not store.folders(uri):
        raise UsageError(f"{uri}: no such file or folder, or an empty folder")
    return [file for file in files if not re.search(r"(^|/)[._]", file.name)]


UTC = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> str:
    """The current time in UTC as ISO 8601, to the second: `2026-11-21T10:54:00Z`."""
    return time.strftime(UTC, time.gmtime())


def utc_seconds(utc: str) -> float:
    """Seconds since the epoch of a time from `utc_now`."""
    return calendar.timegm(time.strptime(utc, UTC))
