"""A fault of a path that a retry would meet again ends with exit code 2 and one line, never with 1 or 4."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from genremill.infra import storage
from genremill.infra.errors import ExitCode, StorageError, UsageError
from genremill.infra.session import is_permanent
from genremill.infra.stores import s3_client
from genremill.infra.stores.local import PERMANENT
from genremill.jobs import cli

TABLE = "track_id,track_genre\nt0,rock\n"
LOCAL = {
    "missing": "{folder}/none.csv",
    "in a missing folder": "{folder}/none/t.csv",
    "an empty folder": "{folder}/empty",
    "below a file": "{folder}/t.csv/t.csv",
    "a loop of links": "{folder}/loop",
    "below a loop of links": "{folder}/loop/t.csv",
    "a name that is too long": "{folder}/" + "n" * 256,
    "a path that is too long": "{folder}/" + "n/" * 2100 + "t.csv",
    "a broken link": "{folder}/broken",
    "a pipe": "{folder}/pipe",
}
NO_PATH = {
    "empty": "",
    "blank": " ",
    "another scheme": "hdfs://namenode/t.csv",
    "a web page": "https://example.com/t.csv",
    "a scheme without a slash": "s3:/bucket/t.csv",
    "a bucket of one letter": "s3a://b/t.csv",
    "a bucket with a blank": "s3a://my bucket/t.csv",
    "no bucket": "s3a:///t.csv",
    "empty names in a key": "s3a://bucket/a//t.csv",
    "dots in a key": "s3a://bucket/a/../t.csv",
    "a key that is too long": "s3a://bucket/" + "k" * 1025,
    "a host": "file://server/t.csv",
    "a relative URI": "file:t.csv",
    "an encoded NUL": "file:///tmp/a%00b.csv",
    "no text": "/tmp/caf\udce9.csv",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("none")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that must end with exit code 2, without Spark."""
    assert cli.main(arguments) == ExitCode.USAGE
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"genremill {arguments[0]}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", [*LOCAL, *NO_PATH])
def test_an_input_that_cannot_be_read_is_refused(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    location = (LOCAL | NO_PATH)[kind].replace("{folder}", str(folder))
    where = ("--warehouse", f"{folder}/wh")
    table = ("--tracks", f"{folder}/t.csv")
    refused(capsys, "ingest", *where, "--tracks", location)
    refused(capsys, "nightly", *where, "--tracks", location)
    message = refused(capsys, "nightly", *where, *table, f"--ingest.split-file={location}")
    assert "--ingest.split-file" in message
    assert "--config" in refused(capsys, "ingest", *where, *table, f"--config={location}")
    refused(capsys, "nightly", *where, *table, "--score.model", location)
    # For audio, an empty folder and these keys are valid.
    if kind not in ("an empty folder", "empty names in a key", "a key that is too long"):
        assert "--audio-root" in refused(capsys, "nightly", *where, *table, "--audio-root", location)


@pytest.mark.parametrize("kind", [kind for kind in LOCAL if "missing" not in kind and "folder" not in kind])
def test_a_warehouse_that_cannot_be_a_folder_is_refused(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    location = LOCAL[kind].replace("{folder}", str(folder))
    refused(capsys, "tables", "--warehouse", location)


@pytest.mark.parametrize("kind", NO_PATH)
def test_a_warehouse_that_is_no_path_is_refused(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, "tables", "--warehouse", NO_PATH[kind])
    refused(capsys, "demo", "--out", NO_PATH[kind], "--clips", "0", "--tracks", "20")


def test_a_folder_is_refused_where_a_file_is_expected(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty" / "x.yaml").write_text("limit: 1")
    where = ("--warehouse", f"{folder}/wh", "--tracks", f"{folder}/t.csv")
    message = refused(capsys, "ingest", *where, "--config", f"{folder}/empty")
    assert message.endswith("empty: this is a folder; expected a YAML file")
    message = refused(capsys, "demo", "--out", f"{folder}/empty", "--clips", "0", "--tracks", "20")
    assert message.endswith("empty: Is a directory")


def test_a_file_is_refused_where_a_folder_is_expected(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, where = f"{folder}/t.csv", ("--warehouse", f"{folder}/wh")
    assert "is a file; expected a folder" in refused(capsys, "tables", "--warehouse", file)
    assert "no such folder" in refused(capsys, "nightly", *where, "--tracks", file, "--audio-root", file)
    message = refused(capsys, "nightly", *where, "--tracks", file, "--score.model", file)
    assert "it has no model.json" in message


def test_a_clip_that_cannot_be_written_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clips").touch()
    message = refused(capsys, "demo", "--out", f"{folder}/new.csv", "--clips", "1", "--tracks", "20")
    assert f"cannot write file://{folder}/clips/0000.wav" in message


def test_a_nul_in_a_configuration_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "c.yaml").write_text('tracks: "/tmp/a\\0b.csv"')
    where = ("--warehouse", f"{folder}/wh", "--config", f"{folder}/c.yaml")
    assert "NUL character in the path" in refused(capsys, "ingest", *where)


def test_a_warehouse_that_cannot_be_written_is_refused_before_spark_starts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (folder / "wh").mkdir()
    monkeypatch.setattr(Path, "mkdir", read_only)
    message = refused(capsys, "ingest", "--warehouse", f"{folder}/wh", "--tracks", f"{folder}/t.csv")
    assert "Read-only file system" in message


def test_without_permission_a_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file; the next test has the error of the operating system")
    (folder / "t.csv").chmod(0)
    message = refused(capsys, "ingest", "--warehouse", f"{folder}/wh", "--tracks", f"{folder}/t.csv")
    assert "Permission denied" in message


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        *((number, ExitCode.USAGE) for number in sorted(PERMANENT)),
        *((number, ExitCode.RETRY) for number in (errno.ENOSPC, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)),
        *((number, ExitCode.RETRY) for number in (errno.EDQUOT, errno.EAGAIN, errno.ENOTCONN, errno.EBUSY)),
    ],
)
def test_errors_of_the_operating_system_are_permanent_or_worth_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, exit_code: ExitCode
) -> None:
    uri = f"file://{tmp_path}/x"

    def fail(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    attempts: list[Callable[[], object]] = [
        lambda: storage.read_bytes(uri),
        lambda: storage.write_atomic(uri, b""),
        lambda: storage.write_over(uri, b"", None),
    ]
    monkeypatch.setattr(Path, "open", fail)
    for attempt in attempts:
        with pytest.raises(StorageError, match=os.strerror(number)) as caught:
            attempt()
        assert caught.value.exit_code == exit_code
    if number != errno.ENOTDIR:
        monkeypatch.setattr(Path, "stat", fail)
        with pytest.raises(StorageError, match=f"cannot read .*{os.strerror(number)}") as caught:
            storage.is_object(uri)
        assert caught.value.exit_code == exit_code


def response(code: str, status: int) -> ClientError:
    """The error of boto3 for a response of S3."""
    body: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(body, "PutObject")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (response("NoSuchBucket", 404), ExitCode.USAGE),
        (response("AccessDenied", 403), ExitCode.USAGE),  # a warehouse that may only be read
        (response("InvalidAccessKeyId", 403), ExitCode.USAGE),
        (response("InvalidBucketName", 400), ExitCode.USAGE),
        (response("KeyTooLongError", 400), ExitCode.USAGE),
        (response("PermanentRedirect", 301), ExitCode.USAGE),
        (response("RequestTimeTooSkewed", 403), ExitCode.USAGE),
        (response("301", 301), ExitCode.USAGE),
        (response("AuthorizationHeaderMalformed", 400), ExitCode.USAGE),
        (ParamValidationError(report="Invalid bucket name"), ExitCode.USAGE),
        (response("SlowDown", 503), ExitCode.RETRY),
        (response("InternalError", 500), ExitCode.RETRY),
        (response("RequestTimeout", 400), ExitCode.RETRY),
        (response("ExpiredToken", 400), ExitCode.RETRY),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), ExitCode.RETRY),
    ],
)
def test_errors_of_s3_are_permanent_or_worth_a_retry(
    monkeypatch: pytest.MonkeyPatch, error: Exception, exit_code: ExitCode
) -> None:
    def fail(client: object) -> None:
        raise error

    monkeypatch.setattr(s3_client, "_client", lambda *_: None)
    monkeypatch.setattr(s3_client, "forget", lambda: None)
    with pytest.raises(StorageError) as caught:
        s3_client.with_retries(fail, "s3a://bucket/key", s3_client.RetrySettings(attempts=1))
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        ("java.net.URISyntaxException: Relative path in absolute URI: .a:b.crc", True),
        ("java.io.FileNotFoundException: /wh/tags/part-0 (Permission denied)", True),
        ("java.io.FileNotFoundException: /wh/tags/part-0 (Read-only file system)", True),
        ("java.io.FileNotFoundException: /wh/tags (Is a directory)", True),
        ("org.apache.hadoop.fs.s3a.UnknownStoreException: s3a://nowhere/", True),
        ("java.nio.file.AccessDeniedException: s3a://b/t: getFileStatus on s3a://b/t: 403 Forbidden", True),
        ("org.apache.hadoop.fs.s3a.AWSRedirectException: getFileStatus: 301: null", True),
        ("java.io.IOException: No space left on device", False),
        ("java.net.ConnectException: Connection refused", False),
        ("java.net.SocketTimeoutException: Read timed out", False),
        ("org.apache.hadoop.fs.s3a.AWSServiceThrottledException: 503 Slow Down", False),
    ],
)
def test_errors_of_java_are_permanent_or_worth_a_retry(error: str, permanent: bool) -> None:
    assert is_permanent(error) is permanent


@pytest.mark.parametrize("uri", ["file:///a%20b", "FILE:/a%20b", "/a b", "file:///a b/"])
def test_a_file_uri_is_decoded_and_a_full_uri_is_not_decoded_again(uri: str) -> None:
    assert storage.absolute_uri(uri) == "file:///a b"
    assert storage.local_path("file:///a%20b") == Path("/a%20b")
    with pytest.raises(UsageError, match="expected a local path"):
        storage.local_path("s3a://bucket/a")
