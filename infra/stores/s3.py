"""Objects of a warehouse on S3, by boto3: pointers, records, models, reports.

S3 has no folders: one is there as long as a key begins with its name. Keys of no bytes that end in a slash
are markers that Hadoop leaves for empty folders, and count as nothing.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

from genremill.infra.errors import StorageError
from genremill.infra.stores import s3_client
from genremill.infra.stores.objects import Conflict, StoredObject, Upload
from genremill.infra.stores.s3_client import (
    Client,
    ObjectChanged,
    ObjectMissing,
    Patience,
    Result,
    ShortBody,
    etag_of,
)

KEYS_A_DELETION = 1000
"""The most that S3 removes in one request."""


class S3Store:
    """The operations of `storage` on `s3a://bucket/key` URIs."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()

    def state(self, uri: str) -> StoredObject | None:
        """What is known of an object; None where there is none."""
        bucket, key = _parts(uri)
        if not key:
            return None
        try:
            found = self._ask(lambda client: client.head_object(Bucket=bucket, Key=key), uri)
        except ObjectMissing:
            return None
        name = key.rpartition("/")[2]
        return StoredObject(name, found["ContentLength"], etag_of(found), found["LastModified"].timestamp())

    def objects(self, uri: str) -> Iterator[StoredObject]:
        """All objects under a folder, by name."""
        _, prefix = _folder(uri)
        for page in self._pages(uri):
            for found in page.get("Contents", ()):
                name = found["Key"].removeprefix(prefix)
                if name and not (name.endswith("/") and not found["Size"]):
                    modified = found["LastModified"].timestamp()
                    yield StoredObject(name, found["Size"], etag_of(found), modified)

    def folders(self, uri: str) -> list[str]:
        """Names of the folders directly under a folder, sorted."""
        _, prefix = _folder(uri)
        prefixes = [
            found["Prefix"]
            for page in self._pages(uri, Delimiter="/")
            for found in page.get("CommonPrefixes", ())
        ]
        return sorted(found.removeprefix(prefix).rstrip("/") for found in prefixes)

    def read(self, uri: str, first: int | None = None) -> tuple[bytes, str]:
        """The bytes of an object, or the `first` of them, and its ETag."""
        bucket, key = _parts(uri)
        part = {} if first is None else {"Range": f"bytes=0-{first - 1}"}

        def get(client: Client) -> tuple[bytes, str]:
            found = client.get_object(Bucket=bucket, Key=key, **part)
            with contextlib.closing(found["Body"]) as body:
                data: bytes = body.read()
            if len(data) != found["ContentLength"]:
                raise ShortBody(f"{len(data)} bytes of {found['ContentLength']}")
            return data, etag_of(found)

        try:
            return self._ask(get, uri)
        except ObjectMissing as err:
            raise StorageError(f"cannot read {uri}: no such object") from err

    def write(self, uri: str, data: bytes) -> None:
        """Puts an object in place in one step."""
        bucket, key = _parts(uri)
        self._ask(lambda client: client.put_object(Bucket=bucket, Key=key, Body=data), uri)

    def write_over(self, uri: str, data: bytes, version: str | None) -> None:
        """The same where the object still has the version that `read` gave, or None: still is not there."""
        bucket, key = _parts(uri)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            self._ask(lambda client: client.put_object(Bucket=bucket, Key=key, Body=data, **condition), uri)
        except (ObjectChanged, ObjectMissing) as err:
            # The answer to a request that was carried out may be lost; made again, it meets its own bytes.
            if self.state(uri) is None or self.read(uri)[0] != data:
                raise Conflict(f"{uri} was written meanwhile by somebody else; nothing has changed") from err

    def remove(self, uri: str) -> None:
        """Removes a folder and all below it; one that is not there is fine."""
        bucket, _ = _parts(uri)
        keys = [found["Key"] for page in self._pages(uri) for found in page.get("Contents", ())]
        for at in range(0, len(keys), KEYS_A_DELETION):
            part = [{"Key": key} for key in keys[at : at + KEYS_A_DELETION]]
            request = {"Objects": part, "Quiet": True}

            def delete(client: Client, request: dict[str, Any] = request) -> dict[str, Any]:
                return client.delete_objects(Bucket=bucket, Delete=request)

            if failed := self._ask(delete, uri).get("Errors"):
                why = failed[0].get("Code", "unknown error")
                raise StorageError(f"cannot remove {len(failed)} objects under {uri}: {why}")

    def remove_object(self, uri: str) -> None:
        """Removes one object; one that is not there is fine."""
        bucket, key = _parts(uri)
        with contextlib.suppress(ObjectMissing):
            self._ask(lambda client: client.delete_object(Bucket=bucket, Key=key), uri)

    def uploads(self, uri: str) -> list[Upload]:
        """Multipart uploads under a folder that were begun and neither finished nor aborted."""
        bucket, prefix = _folder(uri)
        uploads: list[Upload] = []
        page: dict[str, str] = {}
        while True:

            def listed(client: Client, page: dict[str, str] = page) -> dict[str, Any]:
                return client.list_multipart_uploads(Bucket=bucket, Prefix=prefix, **page)

            found = self._ask(listed, uri)
            for one in found.get("Uploads", ()):
                name = one["Key"].removeprefix(prefix)
                uploads.append(Upload(name, one["UploadId"], one["Initiated"].timestamp()))
            if not found.get("IsTruncated"):
                return uploads
            page = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}

    def abort(self, uri: str, upload: Upload) -> None:
        """Gives up an upload under a folder; one that has ended is fine."""
        bucket, prefix = _folder(uri)

        def abort(client: Client) -> dict[str, Any]:
            return client.abort_multipart_upload(
                Bucket=bucket, Key=prefix + upload.name, UploadId=upload.upload_id
            )

        with contextlib.suppress(ObjectMissing):
            self._ask(abort, uri)

    def arrow(self, uri: str) -> tuple[FileSystem, str]:
        """Pyarrow's file system, and the path in it."""
        scheme, _, host = (s3_client.custom_endpoint() or "").rpartition("://")
        store = S3FileSystem(
            endpoint_override=host or None,
            scheme=scheme or "https",
            region=s3_client.region(),
            request_timeout=self.patience.read_timeout_s,
            connect_timeout=self.patience.connect_timeout_s,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=self.patience.attempts),
        )
        return store, "/".join(_parts(uri))

    def _pages(self, uri: str, **options: str) -> Iterator[dict[str, Any]]:
        bucket, prefix = _folder(uri)
        while True:

            def listed(client: Client, options: dict[str, str] = options) -> dict[str, Any]:
                return client.list_objects_v2(Bucket=bucket, Prefix=prefix, **options)

            found = self._ask(listed, uri)
            yield found
            if not found.get("IsTruncated"):
                return
            options = options | {"ContinuationToken": found["NextContinuationToken"]}

    def _ask(self, operation: Callable[[Client], Result], uri: str) -> Result:
        return s3_client.patiently(operation, uri, self.patience)


def _parts(uri: str) -> tuple[str, str]:
    """Bucket and key of a URI."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _folder(uri: str) -> tuple[str, str]:
    """Bucket, and what the keys under a folder begin with."""
    bucket, key = _parts(uri)
    return bucket, f"{key}/" if key else ""
