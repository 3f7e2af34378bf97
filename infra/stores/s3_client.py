"""The S3 client of a process, and its retries and errors.

Credentials come from boto3's provider chain, the endpoint from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the
profile. botocore repeats requests that fail. `with_retries` repeats what botocore does not: requests whose
body ends early or is reset while it is read, and requests with an expired token.
"""

import contextlib
import functools
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from urllib3.exceptions import HTTPError

from genremill.infra.errors import StorageError, StorageRefused

Client: TypeAlias = Any
"""boto3's S3 client, which has no type hints."""
Body: TypeAlias = Any
"""botocore's stream of the body of an object."""
Result = TypeVar("Result")

_GONE = ("NoSuchKey", "NotFound", "InvalidObjectState")  # the last one: the object is in an archive
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "400")  # HEAD has no other code
_OTHER_REGION = "the bucket is in another region; set AWS_REGION"
_REFUSED = {
    "NoSuchBucket": "there is no such bucket",
    "InvalidBucketName": "the name of the bucket is not valid",
    "KeyTooLongError": "the key is longer than S3 allows",
    "PermanentRedirect": _OTHER_REGION,
    "301": _OTHER_REGION,  # the response to HEAD has no other code
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "InvalidURI": "the key is not valid",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it, for example with NTP",
}
"""Codes of errors that a retry would meet again."""
_AWS = re.compile(r"https://s3(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class RetrySettings:
    """How often a request is sent before it fails, the pauses between repeated bodies, and the timeouts."""

    attempts: int = 10
    first_pause_s: float = 0.25
    longest_pause_s: float = 20.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0

    def pause_s(self, attempt: int) -> float:
        """Random pause after a failed attempt (1, 2, …), up to a limit that doubles with each attempt."""
        return random.uniform(0, min(self.longest_pause_s, self.first_pause_s * 2 ** (attempt - 1)))


class BrokenBody(Exception):
    """The body of an object ended early, or its connection was reset."""


class AccessDenied(StorageRefused):
    """The credentials do not allow a request."""


class ObjectMissing(Exception):
    """The object does not exist, or is in an archive."""


class ObjectChanged(Exception):
    """The object does not have the expected ETag."""


def with_retries(operation: Callable[[Client], Result], what: str, settings: RetrySettings) -> Result:
    """The result of an operation with the client; repeats it if a body breaks off or the token has expired.

    Raises `ObjectMissing` or `ObjectChanged` if S3 reports that, and `StorageError` if the operation fails.
    """
    for attempt in range(1, settings.attempts + 1):
        try:
            return operation(_client(os.getpid(), settings))
        except ClientError as err:
            _check_is_repeatable(err, what)
            cause, fault = _code(err), err
        except BrokenBody as err:
            cause, fault = f"the body broke off ({err})", err
        except ParamValidationError as err:
            raise StorageRefused(f"{what}: not a valid bucket or key") from err
        except BotoCoreError as err:
            # Only the class: the message may contain the endpoint with credentials.
            raise StorageError(f"cannot reach {what}: {type(err).__name__}") from err
        except OSError as err:
            raise StorageError(f"cannot write a local copy of {what}: {err.strerror}") from err
        if attempt < settings.attempts:
            time.sleep(settings.pause_s(attempt))
    raise StorageError(f"cannot read {what}: {cause}, after {settings.attempts} attempts") from fault


@contextlib.contextmanager
def body_of(response: dict[str, Any]) -> Iterator[Body]:
    """The body of an object to read, closed at the end of the block; raises `BrokenBody` if it breaks off."""
    with contextlib.closing(response["Body"]) as body:
        try:
            yield body
        except (BotoCoreError, HTTPError) as err:
            raise BrokenBody(type(err).__name__) from err


def etag_of(response: dict[str, Any]) -> str:
    """The ETag in a response, without its quotes."""
    return str(response["ETag"]).strip('"')


def custom_endpoint() -> str | None:
    """The endpoint from the environment or the profile; None if it is AWS's own."""
    endpoint: str = _client(os.getpid(), RetrySettings()).meta.endpoint_url
    return None if _AWS.fullmatch(endpoint) else endpoint


def region() -> str | None:
    """The region from the environment or the profile."""
    import boto3

    return os.environ.get("AWS_REGION") or boto3.session.Session().region_name


def credentials() -> dict[str, str]:
    """The credentials of the environment, profile or role, by the names of their environment variables."""
    import boto3

    found = boto3.session.Session().get_credentials()
    if found is None:
        return {}
    frozen = found.get_frozen_credentials()
    names = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
    return names | ({"AWS_SESSION_TOKEN": frozen.token} if frozen.token else {})


def forget() -> None:
    """Drops the client, so that the next request reads environment and credentials again."""
    _client.cache_clear()


def _check_is_repeatable(err: ClientError, what: str) -> None:
    """Raises the error that an error response stands for, unless another attempt may succeed."""
    code, metadata = _code(err), err.response["ResponseMetadata"]
    status = metadata["HTTPStatusCode"]
    if code in _REFUSED:
        raise StorageRefused(f"{what}: {_REFUSED[code]}") from err
    if status == 404 or code in _GONE:
        raise ObjectMissing(code) from err
    if status == 412:
        raise ObjectChanged("its ETag has changed") from err
    if code in _EXPIRED:
        forget()  # the next client gets new credentials
    elif status in (401, 403):
        # Without s3:ListBucket, S3 also gives this response for a key that does not exist.
        raise AccessDenied(
            f"{what}: access denied ({code}); reading needs s3:GetObject and s3:ListBucket, "
            "writing needs s3:PutObject and s3:DeleteObject too"
        ) from err
    elif code not in ("ConditionalRequestConflict", "OperationAborted"):
        attempts = metadata.get("RetryAttempts", 0) + 1
        raise StorageError(f"cannot reach {what}: {code} ({status}), after {attempts} attempts") from err


def _code(err: ClientError) -> str:
    """The code of an error; its text is not used, because it may contain the endpoint with credentials."""
    return str(err.response["Error"].get("Code", "unknown error"))


@functools.cache
def _client(process: int, settings: RetrySettings) -> Client:
    """The S3 client of a process; a forked process needs its own, because connections cannot be shared."""
    import boto3  # here: it takes 0.4 s, and only S3 needs it
    from botocore.config import Config

    config = Config(
        region_name=os.environ.get("AWS_REGION"),
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
    )
    # A new session: boto3's default session would keep expired credentials.
    return boto3.session.Session().client("s3", config=config)
