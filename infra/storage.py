"""Small objects of a warehouse (pointers, records, model files, reports); Spark handles the tables.

Every operation takes a full URI in the notation of Hadoop, `file:///…` or `s3a://…`. Nothing in it is
percent-encoded: each character of a name stands for itself. `absolute_uri` makes it from what a user wrote.
"""

import calendar
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pyarrow.fs import FileSystem

from genremill.infra.audio.paths import BUCKET, CREDENTIALS, MAX_KEY_BYTES, redacted, split
from genremill.infra.errors import DamagedRecord, StorageError, StorageRefused, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.stores.local import LocalStore, fault, path_of
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.stores.s3 import S3Store

_MALFORMED = re.compile(r"(s3[an]?|https?|hdfs|gs|abfss?):/.*", re.IGNORECASE | re.DOTALL)
"""A URI that lacks a slash. A folder of such a name can be written with `./` before it."""
_SIGNATURE = re.compile(r"\?.*(X-Amz-|AWSAccessKeyId=|Signature=)", re.IGNORECASE | re.DOTALL)
"""The query of a signed URI. Other question marks belong to the name."""

Store: TypeAlias = LocalStore | S3Store
_STORES: dict[str, Store] = {"file": LocalStore(), "s3a": S3Store()}


def absolute_uri(location: str) -> str:
    """A path or URI of a user as a full URI, without trailing slash; raises `UsageError` if it cannot be one.

    Plain paths and S3 keys are used as they are. `file:` URIs are percent-decoded.

    >>> absolute_uri("s3://music/50% off?.csv")
    's3a://music/50% off?.csv'
    >>> absolute_uri("file:///data/my%20tracks/")
    'file:///data/my tracks'
    >>> absolute_uri("/data/my%20tracks")
    'file:///data/my%20tracks'
    """
    if not location.strip():
        raise UsageError("the path is empty; expected a path, a file: or an s3a: URI")
    _refuse_secrets(location)
    scheme, host, path = split(location)
    if "\0" in path or "\0" in host:
        raise UsageError(f"{location!r}: found a NUL character in the path; no file can have such a name")
    if scheme in ("s3", "s3a", "s3n"):
        return _s3_uri(location, host, path.strip("/"))
    if scheme not in ("", "file"):
        raise UsageError(f"{location}: only file: and s3a: URIs are supported here, found {scheme}:")
    if host:
        raise UsageError(f"{location}: found the host {host!r}; expected file:///PATH, with three slashes")
    if (scheme and not path.startswith("/")) or (not scheme and _MALFORMED.fullmatch(path)):
        raise UsageError(f"{location}: not a valid URI; expected PATH, file:///PATH or s3a://BUCKET/KEY")
    try:
        path.encode()
    except UnicodeEncodeError as err:
        raise UsageError(f"{location!r}: the path is not valid UTF-8; rename the file or folder") from err
    full = Path(path).absolute()
    # Hadoop drops the name before `..`, even if it is a link to another folder.
    return f"file://{full.resolve() if '..' in full.parts else full}"


def _s3_uri(location: str, bucket: str, key: str) -> str:
    if not BUCKET.fullmatch(bucket) or "//" in key:
        raise UsageError(f"{location}: expected s3a://bucket/prefix without empty names between slashes")
    if {".", ".."} & set(key.split("/")):
        raise UsageError(f"{location}: found '.' or '..' in the key; expected the names of folders only")
    if len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
        raise UsageError(f"{location[:200]}…: the key is longer than {MAX_KEY_BYTES} bytes, the limit of S3")
    return f"s3a://{bucket}/{key}".rstrip("/")


def _refuse_secrets(uri: str) -> None:
    """Raises `UsageError` for a URI with credentials or a query; the message does not repeat them."""
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return
    has_query = _SIGNATURE.search(uri) if scheme.lower() in ("file", "s3", "s3a", "s3n") else "?" in uri
    if has_query or CREDENTIALS.match(uri, len(scheme) + 1):
        raise UsageError(
            f"{redacted(uri)}: expected a URI without credentials or a query; give credentials in the "
            "environment, a profile, a role or Spark's configuration"
        )


def _store(uri: str) -> tuple[Store, str]:
    """The store of a URI, and the full URI; a full `file:` URI is not decoded again."""
    absolute = uri if uri.startswith("file:///") else absolute_uri(uri)
    return _STORES[absolute.partition("://")[0]], absolute


def is_s3(uri: str) -> bool:
    """Whether a full URI is on S3."""
    return uri.startswith("s3a:")


def local_path(uri: str) -> Path:
    """The path of a `file:` URI; raises `UsageError` for other schemes."""
    absolute = _store(uri)[1]
    if not absolute.startswith("file:"):
        raise UsageError(f"{uri}: expected a local path, found {absolute.partition(':')[0]}:")
    return path_of(absolute)


def required_file(flag: str, location: str, expected: str) -> str:
    """The full URI of a file that a flag names; raises `UsageError` if there is none."""
    try:
        uri = absolute_uri(location)
        if is_object(uri):
            return uri
        found = "this is a folder" if exists(uri) else "no such file"
    except (UsageError, StorageRefused) as err:
        raise UsageError(f"{flag}: {err}") from err
    raise UsageError(f"{flag} {location}: {found}; expected {expected}")


def exists(uri: str) -> bool:
    """Whether an object or a folder exists."""
    store, uri = _store(uri)
    return store.state(uri) is not None or bool(store.folders(uri)) or any(True for _ in store.objects(uri))


def is_object(uri: str) -> bool:
    """Whether an object (not a folder) exists."""
    store, uri = _store(uri)
    return store.state(uri) is not None


def modified_s(uri: str) -> float:
    """When an object was written, in seconds since the epoch on the clock of its storage."""
    store, uri = _store(uri)
    if (state := store.state(uri)) is None:
        raise StorageError(f"cannot read {uri}: no such object")
    return state.modified_s


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


def discard(uri: str) -> None:
    """Removes a folder that is not needed any more; logs a warning if it cannot be removed."""
    try:
        remove(uri)
    except StorageError as err:
        LOGGER.warning("%s could not be removed: %s", uri, err)


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

    @classmethod
    def of(cls, files: Sequence[StoredObject]) -> "Inventory":
        """The inventory of some files."""
        digest = hashlib.sha256(repr([(file.name, file.size, file.version) for file in files]).encode())
        return cls(len(files), sum(file.size for file in files), digest.hexdigest()[:16])


def arrow_error(action: str, uri: str, err: OSError) -> StorageError:
    """The error for an object that Arrow could not read or write; a retry does not help if access is denied.

    >>> arrow_error("read", "s3a://b/t.csv", OSError("AWS Error ACCESS_DENIED")).exit_code.value
    2
    """
    if re.search("ACCESS_DENIED|NO_SUCH_BUCKET", str(err)):
        return StorageRefused(f"cannot {action} {uri}: {err}")
    return fault(f"cannot {action} {uri}", err)


def inventory(uri: str) -> Inventory:
    """The data files below a folder, or the one file; raises `UsageError` if nothing is there."""
    return Inventory.of(data_files(uri))


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
        is_pattern = re.search(r"[*?{\[]", uri)
        hint = "; * ? [ ] { } in a path stand for themselves, not for a pattern" if is_pattern else ""
        raise UsageError(f"{uri}: no such file or folder, or an empty folder{hint}")
    found = [file for file in files if not re.search(r"(^|/)[._]", file.name)]
    if wrong := [file.name for file in found if not is_text(file.name)]:
        raise UsageError(f"{uri}: the name {wrong[0]!r} is not valid UTF-8; rename the file")
    return found


def is_text(name: str) -> bool:
    """Whether a name is valid UTF-8; Java cannot read other names."""
    return not any("\udc80" <= character <= "\udcff" for character in name)


UTC = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> str:
    """The current time in UTC as ISO 8601, to the second: `2026-11-21T10:54:00Z`."""
    return time.strftime(UTC, time.gmtime())


def utc_seconds(utc: str) -> float:
    """Seconds since the epoch of a time from `utc_now`; raises `DamagedRecord` for any other text."""
    try:
        return calendar.timegm(time.strptime(utc, UTC))
    except ValueError as err:
        raise DamagedRecord(f"a record of the warehouse has the time {utc!r}, which does not exist") from err
