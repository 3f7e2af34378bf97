"""Objects of a warehouse on S3: pointers, records, models, reports.

S3 has no folders: a folder exists as long as a key begins with its name. Empty objects whose key ends with a
slash are markers that Hadoop creates for empty folders, and are ignored.
"""

import contextlib
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any

from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

from genremill.infra.errors import StorageError
from genremill.infra.stores import s3_client
from genremill.infra.stores.objects import REPLACED, Conflict, StoredObject, Upload
from genremill.infra.stores.s3_client import Client, ObjectChanged, ObjectMissing, RetrySettings, etag_of

KEYS_PER_DELETION = 1000
"""The most objects that S3 removes in one request."""


class S3Store:
    """The operations of `storage` on `s3a://bucket/key` URIs."""

    def __init__(self, retries: RetrySettings | None = None) -> None:
        self.retries = retries or RetrySettings()

    def state(self, uri: str) -> StoredObject | None:
        """Size, version and time of an object; None if it does not exist."""
        bucket, key = _parts(uri)
        if not key:
            return None
        try:
            response = self._ask(methodcaller("head_object", Bucket=bucket, Key=key), uri)
        except ObjectMissing:
            return None
        name, modified = key.rpartition("/")[2], response["LastModified"]
        return StoredObject(name, response["ContentLength"], etag_of(response), modified.timestamp())

    def objects(self, uri: str) -> Iterator[StoredObject]:
        """All objects under a folder, sorted by name."""
        _, prefix = _folder(uri)
        for entry in self._listed(uri, "Contents"):
            name = entry["Key"].removeprefix(prefix)
            if name and (entry["Size"] or not name.endswith("/")):
                yield StoredObject(name, entry["Size"], etag_of(entry), entry["LastModified"].timestamp())

    def folders(self, uri: str) -> list[str]:
        """Names of the folders directly under a folder, sorted."""
        _, prefix = _folder(uri)
        folders = self._listed(uri, "CommonPrefixes", Delimiter="/")
        return sorted(entry["Prefix"].removeprefix(prefix).rstrip("/") for entry in folders)

    def read(self, uri: str, first: int | None = None) -> tuple[bytes, str]:
        """The bytes of an object, or only the `first` ones, and its ETag."""
        bucket, key = _parts(uri)
        part = {} if first is None else {"Range": f"bytes=0-{first - 1}"}

        def get(client: Client) -> tuple[bytes, str]:
            response = client.get_object(Bucket=bucket, Key=key, **part)
            with s3_client.body_of(response) as body:
                data: bytes = body.read()
            if len(data) != response["ContentLength"]:
                raise s3_client.BrokenBody(f"{len(data)} bytes of {response['ContentLength']}")
            return data, etag_of(response)

        try:
            return self._ask(get, uri)
        except ObjectMissing as err:
            raise StorageError(f"cannot read {uri}: no such object") from err

    def write(self, uri: str, data: bytes) -> None:
        """Writes an object atomically."""
        bucket, key = _parts(uri)
        self._ask(methodcaller("put_object", Bucket=bucket, Key=key, Body=data), uri)

    def write_over(self, uri: str, data: bytes, version: str | None) -> None:
        """Replaces an object of this version, or creates it (version None); raises `Conflict` otherwise."""
        bucket, key = _parts(uri)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            self._ask(methodcaller("put_object", Bucket=bucket, Key=key, Body=data, **condition), uri)
        except (ObjectChanged, ObjectMissing) as err:
            # If the response to a successful request is lost, the repeated request finds its own bytes.
            if self.state(uri) is None or self.read(uri)[0] != data:
                raise Conflict(f"{uri} {REPLACED}") from err

    def remove(self, uri: str) -> None:
        """Removes a folder and everything below it; does nothing if it does not exist.

        Raises an error for the first of the objects that cannot be removed, after it has removed the others.
        """
        bucket, _ = _parts(uri)
        keys = [{"Key": entry["Key"]} for entry in self._listed(uri, "Contents")]
        failed: list[dict[str, str]] = []
        for start in range(0, len(keys), KEYS_PER_DELETION):
            request = {"Objects": keys[start : start + KEYS_PER_DELETION], "Quiet": True}
            delete = methodcaller("delete_objects", Bucket=bucket, Delete=request)
            failed += self._ask(delete, uri).get("Errors", ())
        if failed:
            key, code = failed[0].get("Key", ""), failed[0].get("Code", "unknown error")
            kind = s3_client.AccessDenied if code == "AccessDenied" else StorageError
            raise kind(f"cannot remove s3a://{bucket}/{key}: {code}")

    def remove_object(self, uri: str) -> None:
        """Removes one object; does nothing if it does not exist."""
        bucket, key = _parts(uri)
        with contextlib.suppress(ObjectMissing):
            self._ask(methodcaller("delete_object", Bucket=bucket, Key=key), uri)

    def uploads(self, uri: str) -> list[Upload]:
        """Multipart uploads under a folder that were started and neither finished nor aborted."""
        bucket, prefix = _folder(uri)

        def list_uploads(client: Client) -> list[Upload]:
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
            return [
                Upload(entry["Key"].removeprefix(prefix), entry["UploadId"], entry["Initiated"].timestamp())
                for page in pages
                for entry in page.get("Uploads", ())
            ]

        return self._ask(list_uploads, uri)

    def abort(self, uri: str, upload: Upload) -> None:
        """Aborts an upload under a folder; does nothing if it has ended."""
        bucket, prefix = _folder(uri)
        request = {"Bucket": bucket, "Key": prefix + upload.name, "UploadId": upload.upload_id}
        with contextlib.suppress(ObjectMissing):
            self._ask(methodcaller("abort_multipart_upload", **request), uri)

    def arrow(self, uri: str) -> tuple[FileSystem, str]:
        """The file system of pyarrow for a URI, and the path in it."""
        scheme, _, host = (s3_client.custom_endpoint() or "").rpartition("://")
        store = S3FileSystem(
            endpoint_override=host or None,
            scheme=scheme or "https",
            region=s3_client.region(),
            request_timeout=self.retries.read_timeout_s,
            connect_timeout=self.retries.connect_timeout_s,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=self.retries.attempts),
        )
        return store, "/".join(_parts(uri))

    def _listed(self, uri: str, kind: str, **options: str) -> Iterator[dict[str, Any]]:
        bucket, prefix = _folder(uri)
        while True:
            page = self._ask(methodcaller("list_objects_v2", Bucket=bucket, Prefix=prefix, **options), uri)
            yield from page.get(kind, ())
            if not page.get("IsTruncated"):
                return
            options = options | {"ContinuationToken": page["NextContinuationToken"]}

    def _ask(self, operation: Callable[[Client], s3_client.Result], uri: str) -> s3_client.Result:
        return s3_client.with_retries(operation, uri, self.retries)


def _parts(uri: str) -> tuple[str, str]:
    """Bucket and key of a URI."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def _folder(uri: str) -> tuple[str, str]:
    """Bucket, and the common beginning of the keys under a folder."""
    bucket, key = _parts(uri)
    return bucket, f"{key}/" if key else ""
