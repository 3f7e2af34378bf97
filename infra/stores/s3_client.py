"""The S3 client of a process, and requests that are made again while the next answer may be better.

Credentials come from boto3's provider chain alone, the endpoint from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or
the profile.
"""

import functools
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from genremill.infra.errors import StorageError

_GONE = ("404", "NoSuchKey", "NotFound", "InvalidObjectState")  # the last: moved to an archive
_STALE = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400")  # HEAD has no other code
_TRANSIENT = (
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "ConditionalRequestConflict",
    "OperationAborted",
)

_AWS = re.compile(r"https://s3(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")

Result = TypeVar("Result")


class ClientMeta(Protocol):
    """What is used of a client's description of itself."""

    endpoint_url: str


class Client(Protocol):
    """What is used of boto3's client."""

    @property
    def meta(self) -> ClientMeta:
        """Where it sends its requests."""
        ...

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """ETag and size of an object."""
        ...

    def get_object(self, *, Bucket: str, Key: str, **conditions: str) -> dict[str, Any]:
        """An object's body."""
        ...

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, **conditions: str) -> dict[str, Any]:
        """Writes an object."""
        ...

    def delete_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        """Removes an object."""
        ...

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        """Removes up to a thousand objects."""
        ...

    def list_objects_v2(self, *, Bucket: str, Prefix: str, **page: str) -> dict[str, Any]:
        """A page of the keys under a prefix."""
        ...

    def list_multipart_uploads(self, *, Bucket: str, Prefix: str, **page: str) -> dict[str, Any]:
        """A page of the uploads that were begun and neither finished nor aborted."""
        ...

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:
        """Gives up an upload, and frees what it holds."""
        ...


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


class AccessDenied(StorageError):
    """The credentials do not allow a request."""


class ObjectMissing(Exception):
    """There is no such object, or it lies in an archive."""


class ObjectChanged(Exception):
    """The object's ETag is not the one that was asked for."""


def patiently(operation: Callable[[Client], Result], what: str, patience: Patience) -> Result:
    """What the operation makes of a client; a fault that a retry may mend is tried again, with pauses.

    Raises `ObjectMissing` or `ObjectChanged` where S3 says so, `StorageError` where `what` cannot be had.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            return operation(_client(os.getpid(), patience.connect_timeout_s, patience.read_timeout_s))
        except ClientError as err:
            _raise_if_final(err, what)
            fault: Exception = err
        except (BotoCoreError, HTTPError, ShortBody) as err:
            fault = err
        except OSError as err:
            raise StorageError(f"cannot keep {what} while it is read: {err.strerror}") from err
        if attempt < patience.attempts:
            time.sleep(patience.pause(attempt))
    raise StorageError(f"cannot reach {what}: {_name(fault)}, {patience.attempts} times") from fault


def etag_of(response: dict[str, Any]) -> str:
    """The ETag in an answer, without its quotes."""
    return str(response["ETag"]).strip('"')


def custom_endpoint() -> str | None:
    """The endpoint that environment or profile name, None where it is AWS's own."""
    patience = Patience()
    endpoint = _client(os.getpid(), patience.connect_timeout_s, patience.read_timeout_s).meta.endpoint_url
    return None if _AWS.fullmatch(endpoint) else endpoint


def region() -> str | None:
    """The region that environment or profile name."""
    import boto3

    return os.environ.get("AWS_REGION") or boto3.session.Session().region_name


def forget() -> None:
    """Lets the next request ask environment and provider chain again."""
    _client.cache_clear()


def _raise_if_final(err: ClientError, what: str) -> None:
    code, status = _name(err), err.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "NoSuchBucket":
        raise StorageError(f"{what}: there is no such bucket") from err
    if status == 404 or code in _GONE:
        raise ObjectMissing(code) from err
    if status == 412:
        raise ObjectChanged("has another ETag by now") from err
    if code in _STALE:
        forget()  # the next client asks the provider chain again
    elif status in (401, 403):
        # Without s3:ListBucket, S3 gives this answer for a key that does not exist, too.
        raise AccessDenied(
            f"{what}: access denied ({code}); s3:GetObject and s3:ListBucket are needed, "
            "to write s3:PutObject and s3:DeleteObject too"
        ) from err
    elif not (status >= 500 or status == 429 or code in _TRANSIENT):
        raise StorageError(f"cannot reach {what}: {code} ({status})") from err


def _name(fault: Exception) -> str:
    """What to call a fault: never its text, which may hold the endpoint's address with all its parts."""
    if isinstance(fault, ClientError):
        return str(fault.response["Error"].get("Code", "unknown error"))
    return f"{type(fault).__name__} ({fault})" if isinstance(fault, ShortBody) else type(fault).__name__


@functools.cache
def _client(process: int, connect_timeout_s: float, read_timeout_s: float) -> Client:
    """The S3 client of a process; a forked one makes its own, as connections cannot be shared."""
    import boto3  # 0.4 s, and only where something is on S3
    from botocore.config import Config

    config = Config(
        region_name=os.environ.get("AWS_REGION"),
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": 1},  # `patiently` counts them: bodies fail as often as requests
    )
    # A session of its own: boto3's default one would keep credentials that have expired.
    client: Client = boto3.session.Session().client("s3", config=config)
    return client
