"""Objects on S3, read whole: one client a process, requests and bodies tried again, ETag and length checked.

Credentials come from the provider chain alone, the endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL.
"""

import contextlib
import functools
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from genremill.infra.audio_faults import AudioReason, AudioRejected
from genremill.infra.audio_paths import Place, shown
from genremill.infra.errors import StorageError

CHUNK_BYTES = 1 << 20
IN_MEMORY_BYTES = 64 << 20
"""Objects up to this size are kept in memory while they are decoded; larger ones in an unlinked file."""

_GONE = ("404", "NoSuchKey", "NotFound", "InvalidObjectState")  # the last: moved to an archive
_STALE = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400")  # HEAD has no other code
_TRANSIENT = ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "InternalError")

Result = TypeVar("Result")


class _Body(Protocol):
    def read(self, amt: int) -> bytes: ...


class _Client(Protocol):
    """What is used of boto3's client."""

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]: ...

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Patience:
    """How often a request is made before storage counts as down, and how long the pauses between may grow."""

    attempts: int = 8
    first_pause_s: float = 0.25
    longest_pause_s: float = 20.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after a failed attempt (1, 2, …): random, up to a bound that doubles."""
        return random.uniform(0, min(self.longest_pause_s, self.first_pause_s * 2 ** (attempt - 1)))


class ShortBody(Exception):
    """Fewer bytes came than the object has."""


def state(place: Place, patience: Patience) -> tuple[str, int]:
    """ETag, without its quotes, and size in bytes of an object."""

    def head(client: _Client) -> tuple[str, int]:
        found = client.head_object(Bucket=place.bucket, Key=place.key)
        return _etag(found), int(found["ContentLength"])

    return _patiently(head, place, patience)


def fetch(place: Place, etag: str, size: int, patience: Patience) -> tuple[IO[bytes], str]:
    """The object's bytes in an unnamed file, at its start, and their sha256.

    `AudioRejected` where the object is gone or has another ETag, `StorageError` where it cannot be read.
    """

    def get(client: _Client) -> tuple[IO[bytes], str]:
        found = client.get_object(Bucket=place.bucket, Key=place.key, IfMatch=etag)
        with contextlib.closing(found["Body"]) as body:
            if _etag(found) != etag:  # a server that does not know If-Match
                raise AudioRejected(
                    AudioReason.CHANGED, f"{shown(str(place))}: ETag {_etag(found)}, expected {etag}"
                )
            return _copy(body, size)

    return _patiently(get, place, patience)


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


def _etag(response: dict[str, Any]) -> str:
    return str(response["ETag"]).strip('"')


def _patiently(operation: Callable[[_Client], Result], place: Place, patience: Patience) -> Result:
    """The operation's result, tried again while the storage's answer may be better the next time."""
    what = shown(str(place))
    for attempt in range(1, patience.attempts + 1):
        try:
            return operation(_client(os.getpid(), patience.connect_timeout_s, patience.read_timeout_s))
        except ClientError as err:
            _raise_if_final(err, what)
            fault: Exception = err
        except (BotoCoreError, HTTPError, ShortBody) as err:
            fault = err
        except OSError as err:
            raise StorageError(f"cannot keep {what} while it is decoded: {err.strerror}") from err
        if attempt < patience.attempts:
            time.sleep(patience.pause(attempt))
    raise StorageError(f"cannot read {what}: {_name(fault)}, {patience.attempts} times") from fault


def _raise_if_final(err: ClientError, what: str) -> None:
    code, status = _name(err), err.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 404 or code in _GONE:
        raise AudioRejected(AudioReason.MISSING, f"{what}: {code}") from err
    if status == 412:
        raise AudioRejected(AudioReason.CHANGED, f"{what}: has another ETag by now") from err
    if code in _STALE:
        _client.cache_clear()  # the next client asks the provider chain again
    elif status in (401, 403):
        # Without s3:ListBucket, S3 gives this answer for a key that does not exist, too.
        raise StorageError(
            f"{what}: access denied ({code}); s3:GetObject and s3:ListBucket are needed"
        ) from err
    elif not (status >= 500 or status == 429 or code in _TRANSIENT):
        raise StorageError(f"cannot read {what}: {code} ({status})") from err


def _name(fault: Exception) -> str:
    """What to call a fault: never its text, which may hold the endpoint's address with all its parts."""
    if isinstance(fault, ClientError):
        return str(fault.response["Error"].get("Code", "unknown error"))
    return f"{type(fault).__name__} ({fault})" if isinstance(fault, ShortBody) else type(fault).__name__


@functools.cache
def _client(process: int, connect_timeout_s: float, read_timeout_s: float) -> _Client:
    """The S3 client of a process; a forked one makes its own, as connections cannot be shared."""
    import boto3  # 0.4 s, and only where audio is on S3
    from botocore.config import Config

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1},  # `_patiently` counts them: bodies fail as often as requests
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    # A session of its own: boto3's default one would keep credentials that have expired.
    client: _Client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)
    return client
