"""Audio objects on S3, read whole: ETag and length checked, faults of the storage tried again."""

import contextlib
import hashlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import IO, Any, Protocol

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Place, shown
from genremill.infra.stores import s3_client
from genremill.infra.stores.s3_client import (
    AccessDenied,
    Client,
    ObjectChanged,
    ObjectMissing,
    Patience,
    Result,
    ShortBody,
    etag_of,
)

CHUNK_BYTES = 1 << 20
WORTH_A_LISTING = 16
"""Objects of one page of a folder's listing, at least: fewer are asked for one by one."""
IN_MEMORY_BYTES = 64 << 20
"""Objects up to this size are kept in memory while they are decoded; larger ones in an unlinked file."""


class _Body(Protocol):
    def read(self, amt: int) -> bytes: ...


def state(place: Place, patience: Patience) -> tuple[str, int]:
    """ETag, without its quotes, and size in bytes of an object."""

    def head(client: Client) -> tuple[str, int]:
        found = client.head_object(Bucket=place.bucket, Key=place.key)
        return etag_of(found), int(found["ContentLength"])

    return _patiently(head, place, patience)


def states(places: Sequence[Place], patience: Patience) -> dict[Place, tuple[str, int] | AudioRejected]:
    """What `state` gives or raises for each of many objects; those that lie close together are listed.

    A page of a listing tells of a thousand objects in about the time that one takes by itself.
    """
    found: dict[Place, tuple[str, int] | AudioRejected] = {}
    folders: dict[tuple[str, str], list[Place]] = defaultdict(list)
    for place in places:
        folders[place.bucket, place.key.rpartition("/")[0]].append(place)
    for asked in folders.values():
        rest = sorted(asked, key=lambda place: place.key.encode())
        while rest:
            listed, passed = _listed(rest, patience) if len(rest) >= WORTH_A_LISTING else ({}, 0)
            # What lies too far apart goes one by one, and so does what a listing lacks: it may know why.
            count = passed if passed >= WORTH_A_LISTING else passed + WORTH_A_LISTING
            for place in rest[:count]:
                found[place] = listed.get(place.key) or _state_or_reason(place, patience)
            rest = rest[count:]
    return found


def _listed(asked: Sequence[Place], patience: Patience) -> tuple[dict[str, tuple[str, int]], int]:
    """A page of the listing of a folder from the first of some objects on, and how many of them it passes."""
    bucket, key = asked[0].bucket, asked[0].key
    folder = key[: key.rfind("/") + 1]

    def page(client: Client) -> dict[str, Any]:
        return client.list_objects_v2(
            Bucket=bucket, Prefix=folder, Delimiter="/", StartAfter=max(folder, _just_before(key))
        )

    try:
        found = s3_client.patiently(page, f"s3://{bucket}/{folder}", patience)
    except AccessDenied:  # reading needs no right to list
        return {}, 0
    listed = {one["Key"]: (etag_of(one), int(one["Size"])) for one in found.get("Contents", ())}
    if not found.get("IsTruncated"):
        return listed, len(asked)
    last = max([*listed, *(one["Prefix"] for one in found.get("CommonPrefixes", ()))], default="").encode()
    return listed, sum(place.key.encode() <= last for place in asked)


def _just_before(key: str) -> str:
    """A key that sorts before another, with few between them.

    >>> _just_before("clips/a5")
    'clips/a4~'
    """
    last = key[-1]
    return key[:-1] + (chr(ord(last) - 1) + "~" if last.isascii() and last.isalnum() else "")


def _state_or_reason(place: Place, patience: Patience) -> tuple[str, int] | AudioRejected:
    try:
        return state(place, patience)
    except AudioRejected as err:
        return err


def fetch(place: Place, etag: str, size: int, patience: Patience) -> tuple[IO[bytes], str]:
    """The object's bytes in an unnamed file, at its start, and their sha256.

    `AudioRejected` where the object is gone or has another ETag, `StorageError` where it cannot be read.
    """

    def get(client: Client) -> tuple[IO[bytes], str]:
        found = client.get_object(Bucket=place.bucket, Key=place.key, IfMatch=etag)
        with contextlib.closing(found["Body"]) as body:
            if etag_of(found) != etag:  # a server that does not know If-Match
                raise ObjectChanged(f"ETag {etag_of(found)}, expected {etag}")
            return _copy(body, size)

    return _patiently(get, place, patience)


def _patiently(operation: Callable[[Client], Result], place: Place, patience: Patience) -> Result:
    what = shown(str(place))
    try:
        return s3_client.patiently(operation, what, patience)
    except ObjectMissing as err:
        raise AudioRejected(AudioReason.MISSING, f"{what}: {err}") from err
    except ObjectChanged as err:
        raise AudioRejected(AudioReason.CHANGED, f"{what}: {err}") from err


def _copy(body: _Body, size: int) -> tuple[IO[bytes], str]:
    digest, count = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(_unnamed_file(size))
        while chunk := body.read(min(CHUNK_BYTES, size + 1 - count)):
            digest.update(chunk)
            kept.write(chunk)
            count += len(chunk)
            if count > size:
                break
        if count != size:
            raise ShortBody(f"{count} bytes of {size}")
        kept.flush()
        kept.seek(0)
        stack.pop_all()
    return kept, digest.hexdigest()


def _unnamed_file(size: int) -> IO[bytes]:
    if size <= IN_MEMORY_BYTES and hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("audio", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile()
