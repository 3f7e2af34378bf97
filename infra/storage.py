"""Small objects (pointers, records, model files, reports) of a warehouse; Spark handles the tables.

Every operation takes a full URI, spelled as Hadoop spells them: nothing is percent-encoded. `file:` URIs go
to the file system, `s3a:` ones to S3; other schemes are refused by name.
"""

import calendar
import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pyarrow.fs import FileSystem

from genremill.infra.audio.paths import CREDENTIALS, shown
from genremill.infra.errors import UsageError
from genremill.infra.stores.local import LocalStore, path_of
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.stores.s3 import S3Store

_S3 = re.compile(r"s3[an]?://", re.IGNORECASE)
_BUCKET = re.compile(r"s3a://[A-Za-z0-9][A-Za-z0-9._-]{2,254}(/.*)?")


Store: TypeAlias = LocalStore | S3Store
_STORES: dict[str, Store] = {"file": LocalStore(), "s3a": S3Store()}


def absolute_uri(location: str) -> str:
    """The URI of a path or URI: a plain path becomes `file:///…`, `s3:` `s3a:`, and a trailing slash goes.

    >>> absolute_uri("file:/data/warehouse/")
    'file:///data/warehouse'
    >>> absolute_uri("s3://music/warehouse/")
    's3a://music/warehouse'
    """
    if not location.strip():
        raise UsageError("an empty path was given; expected a path, a file: or an s3a: URI")
    if "://" in location and ("?" in location or CREDENTIALS.match(location, location.index("//"))):
        raise UsageError(
            f"{shown(location)}: expected a URI without credentials or a query: credentials come from the "
            "environment, a profile, a role or Spark's configuration"
        )
    if pattern := sorted(set(location) & set("*?[]{}\\")):
        raise UsageError(f"{location}: Spark takes {' '.join(pattern)} in a path for a pattern; rename it")
    if location.startswith("file:"):
        return "file:///" + location.removeprefix("file:").strip("/")
    if "://" not in location:
        return f"file://{Path(location).absolute()}"
    uri = _S3.sub("s3a://", location, count=1).rstrip("/")
    if uri.startswith("s3a:") and (not _BUCKET.fullmatch(uri) or "//" in uri.removeprefix("s3a://")):
        raise UsageError(f"{location}: expected s3a://bucket/prefix, without an empty name between slashes")
    return uri


def _store(uri: str) -> tuple[Store, str]:
    """The storage behind a URI, and the URI in full."""
    absolute = absolute_uri(uri)
    scheme = absolute.partition("://")[0]
    if scheme not in _STORES:
        raise UsageError(f"{uri}: only file: and s3a: URIs are supported for this, found {scheme}:")
    return _STORES[scheme], absolute


def is_s3(uri: str) -> bool:
    """Whether a URI, as `absolute_uri` gives it, is of S3."""
    return uri.startswith("s3a:")


def local_path(uri: str) -> Path:
    """The path of a `file:` URI; any other scheme is a `UsageError`."""
    absolute = absolute_uri(uri)
    if not absolute.startswith("file:"):
        raise UsageError(f"{uri}: expected a local path, found {absolute.partition(':')[0]}:")
    return path_of(absolute)


def exists(uri: str) -> bool:
    """Whether an object or a folder is there."""
    store, uri = _store(uri)
    return store.state(uri) is not None or bool(store.folders(uri)) or any(True for _ in store.objects(uri))


def is_object(uri: str) -> bool:
    """Whether an object, not a folder, is there."""
    store, uri = _store(uri)
    return store.state(uri) is not None


def read_bytes(uri: str) -> bytes:
    """All bytes of an object."""
    return read_version(uri)[0]


def read_version(uri: str) -> tuple[bytes, str]:
    """All bytes of an object, and their version: what `write_over` takes."""
    store, uri = _store(uri)
    return store.read(uri)


def write_atomic(uri: str, data: bytes) -> None:
    """Puts an object in place in one step: readers see the old bytes or the new, never a part."""
    store, uri = _store(uri)
    store.write(uri, data)


def write_over(uri: str, data: bytes, version: str | None) -> None:
    """Replaces an object in one step if nobody else has; `Conflict` if somebody has, and nothing is written.

    `version` is what `read_version` gave with the bytes that these replace, None where there was no object.
    """
    store, uri = _store(uri)
    store.write_over(uri, data, version)


def folders(uri: str) -> list[str]:
    """Names of the folders directly under `uri`, sorted; none where it does not exist."""
    store, uri = _store(uri)
    return store.folders(uri)


def objects(uri: str) -> Iterator[StoredObject]:
    """All objects under a folder, hidden ones too, by name."""
    store, uri = _store(uri)
    return store.objects(uri)


def remove(uri: str) -> None:
    """Removes a folder and all below it; one that is not there is fine."""
    store, uri = _store(uri)
    store.remove(uri)


def remove_object(uri: str) -> None:
    """Removes one object; one that is not there is fine."""
    store, uri = _store(uri)
    store.remove_object(uri)


def uploads(uri: str) -> list[Upload]:
    """Multipart uploads under a folder that were begun and not ended, by anybody, on S3."""
    store, uri = _store(uri)
    return store.uploads(uri)


def abort(uri: str, upload: Upload) -> None:
    """Gives up an upload under a folder; one that has ended is fine."""
    store, uri = _store(uri)
    store.abort(uri, upload)


def arrow(uri: str) -> tuple[FileSystem, str]:
    """Pyarrow's file system for a URI, and the path in it."""
    store, uri = _store(uri)
    return store.arrow(uri)


@dataclass(frozen=True)
class Inventory:
    """What lies under a URI, enough to tell whether it has changed."""

    files: int
    size_bytes: int
    digest: str


def inventory(uri: str) -> Inventory:
    """Names, sizes and versions of all data files under a path (or of the one file)."""
    found = _data(uri)
    lines = [(one.name, one.size, one.version) for one in found]
    digest = hashlib.sha256(repr(lines).encode()).hexdigest()[:16]
    return Inventory(len(found), sum(one.size for one in found), digest)


def is_parquet(uri: str) -> bool:
    """Whether a file, or the first data file of a folder, is Parquet by its magic bytes."""
    store, uri = _store(uri)
    found = _data(uri)
    if not found:
        return False
    first = uri if store.state(uri) else f"{uri}/{found[0].name}"
    return store.read(first, 4)[0] == b"PAR1"


def _data(uri: str) -> list[StoredObject]:
    """The object itself, or all under the folder that Spark would read."""
    store, uri = _store(uri)
    if one := store.state(uri):
        return [one]
    found = list(store.objects(uri))
    if not found and not store.folders(uri):
        raise UsageError(f"{uri}: no such file or folder, or an empty folder")
    return [one for one in found if not _hidden(one.name.split("/"))]


def _hidden(names: Iterable[str]) -> bool:
    return any(name.startswith((".", "_")) for name in names)


UTC = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> str:
    """The time now as ISO 8601 in UTC, to the second."""
    return time.strftime(UTC, time.gmtime())


def utc_seconds(utc: str) -> float:
    """Seconds since the epoch of a time as `utc_now` writes it.

    >>> utc_seconds("1970-01-02T00:00:01Z")
    86401
    """
    return calendar.timegm(time.strptime(utc, UTC))
