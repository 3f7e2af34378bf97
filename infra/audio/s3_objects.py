"""Reads whole audio objects from S3, and checks their ETag and length."""

import contextlib
import hashlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from typing import IO

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Location, redacted
from genremill.infra.stores import s3_client
from genremill.infra.stores.s3_client import Client, ObjectChanged, ObjectMissing, RetrySettings, etag_of

CHUNK_BYTES = 1 << 20
LISTING_MIN = 16
"""Fewest objects in a page of a listing; fewer objects are requested one by one."""
IN_MEMORY_BYTES = 64 << 20
"""Objects up to this size are kept in memory while they are decoded, larger ones in a file without a name."""

START_BYTES, END_BYTES = 512 << 10, 128 << 10
"""The ends of an object that `fetch_ends` gets."""

Hole = tuple[int, int]
"""Start and end of the bytes of an object that were not fetched; equal if there are none."""
State = tuple[str, int]
"""ETag and size in bytes of an object."""


def states(locations: Sequence[Location], retries: RetrySettings) -> dict[Location, State | AudioRejected]:
    """The state of each object, or why there is none; neighbors in a folder are listed together.

    A page of a listing describes a thousand objects, and takes about as long as the request for one object.
    """
    results: dict[Location, State | AudioRejected] = {}
    folders: dict[tuple[str, str], list[Location]] = defaultdict(list)
    for location in locations:
        folders[location.bucket, location.key.rpartition("/")[0]].append(location)
    for folder in folders.values():
        rest = sorted(folder, key=lambda location: location.key.encode())
        while rest:
            listed, passed = _listed(rest, retries) if len(rest) >= LISTING_MIN else ({}, 0)
            # Request objects one by one if they are too far apart, or missing in the listing: S3 may say why.
            count = passed if passed >= LISTING_MIN else passed + LISTING_MIN
            for location in rest[:count]:
                results[location] = listed.get(location.key) or _state(location, retries)
            rest = rest[count:]
    return results


def _listed(locations: Sequence[Location], retries: RetrySettings) -> tuple[dict[str, State], int]:
    """A page of a folder's listing from the first of some objects on, and how many of them it covers."""
    bucket, key = locations[0].bucket, locations[0].key
    folder = key[: key.rfind("/") + 1]
    start = max(folder, _just_before(key))
    list_page = methodcaller("list_objects_v2", Bucket=bucket, Prefix=folder, Delimiter="/", StartAfter=start)
    try:
        page = s3_client.with_retries(list_page, f"s3://{bucket}/{folder}", retries)
    except s3_client.AccessDenied:  # reading an object does not need the right to list
        return {}, 0
    listed = {entry["Key"]: (etag_of(entry), int(entry["Size"])) for entry in page.get("Contents", ())}
    if not page.get("IsTruncated"):
        return listed, len(locations)
    last = max([*listed, *(entry["Prefix"] for entry in page.get("CommonPrefixes", ()))], default="").encode()
    return listed, sum(location.key.encode() <= last for location in locations)


def _just_before(key: str) -> str:
    """A key that sorts before another one, with few keys between them.

    >>> _just_before("clips/a5")
    'clips/a4~'
    """
    last = key[-1]
    return key[:-1] + (chr(ord(last) - 1) + "~" if last.isascii() and last.isalnum() else "")


def _state(location: Location, retries: RetrySettings) -> State | AudioRejected:
    def head(client: Client) -> State:
        response = client.head_object(Bucket=location.bucket, Key=location.key)
        return etag_of(response), int(response["ContentLength"])

    try:
        return _with_retries(head, location, retries)
    except AudioRejected as err:
        return err


def fetch(location: Location, etag: str, size: int, retries: RetrySettings) -> tuple[IO[bytes], str]:
    """The bytes of an object in an unnamed file, at its start, and their sha256.

    Raises `AudioRejected` if the object is missing, has another ETag or may not be read, and `StorageError`
    if the storage fails.
    """

    def get(client: Client) -> tuple[IO[bytes], str]:
        with _body(client, location, etag) as body:
            return _copy(body, size)

    return _with_retries(get, location, retries)


def fetch_ends(location: Location, etag: str, size: int, retries: RetrySettings) -> tuple[IO[bytes], Hole]:
    """The first and the last bytes of an object at their places in a file of its size, and the hole there.

    Raises the same errors as `fetch`.
    """
    if size <= 2 * (START_BYTES + END_BYTES):
        return fetch(location, etag, size, retries)[0], (0, 0)
    hole = START_BYTES, size - END_BYTES

    def get(client: Client) -> IO[bytes]:
        with contextlib.ExitStack() as stack:
            copy = stack.enter_context(os.fdopen(os.memfd_create("audio"), "w+b"))
            for start, end in ((0, hole[0]), (hole[1], size)):
                with _body(client, location, etag, Range=f"bytes={start}-{end - 1}") as body:
                    data = body.read(end - start + 1)
                if len(data) != end - start:
                    raise s3_client.BrokenBody(f"{len(data)} bytes of {end - start}")
                copy.seek(start)
                copy.write(data)
            copy.flush()
            copy.seek(0)
            stack.pop_all()
        return copy

    return _with_retries(get, location, retries), hole


@contextlib.contextmanager
def _body(client: Client, location: Location, etag: str, **options: str) -> Iterator[s3_client.Body]:
    """The body of an object with this ETag."""
    response = client.get_object(Bucket=location.bucket, Key=location.key, IfMatch=etag, **options)
    with s3_client.body_of(response) as body:
        if etag_of(response) != etag:  # the server does not support If-Match
            raise ObjectChanged(f"expected ETag {etag}, found {etag_of(response)}")
        yield body


def _with_retries(
    operation: Callable[[Client], s3_client.Result], location: Location, retries: RetrySettings
) -> s3_client.Result:
    what = redacted(str(location))
    try:
        return s3_client.with_retries(operation, what, retries)
    except (ObjectMissing, ObjectChanged) as err:
        reason = AudioReason.MISSING if isinstance(err, ObjectMissing) else AudioReason.CHANGED
        raise AudioRejected(reason, f"{what}: {err}") from err
    except s3_client.AccessDenied as err:
        raise AudioRejected(AudioReason.DENIED, str(err)) from err


def _copy(body: s3_client.Body, size: int) -> tuple[IO[bytes], str]:
    digest, count = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        copy = stack.enter_context(_unnamed_file(size))
        while count <= size and (chunk := body.read(min(CHUNK_BYTES, size + 1 - count))):
            digest.update(chunk)
            copy.write(chunk)
            count += len(chunk)
        if count != size:
            raise s3_client.BrokenBody(f"{count} bytes of {size}")
        copy.flush()
        copy.seek(0)
        stack.pop_all()
    return copy, digest.hexdigest()


def _unnamed_file(size: int) -> IO[bytes]:
    if size > IN_MEMORY_BYTES:
        return tempfile.TemporaryFile()
    return os.fdopen(os.memfd_create("audio"), "w+b")
