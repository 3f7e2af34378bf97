"""Audio objects on S3, read whole: ETag and length checked, faults of the storage tried again."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from typing import IO, Protocol

from genremill.infra import s3_client
from genremill.infra.audio_faults import AudioReason, AudioRejected
from genremill.infra.audio_paths import Place, shown
from genremill.infra.s3_client import (
    Client,
    ObjectChanged,
    ObjectMissing,
    Patience,
    Result,
    ShortBody,
    etag_of,
)

CHUNK_BYTES = 1 << 20
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
