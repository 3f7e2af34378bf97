"""`vacuum` counts only what is gone, and names what could not be removed."""

import datetime
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.stores import s3, s3_client
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from tests.pure.test_vacuum import aged, backdate, put, run_id, tags_of_nights


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


@pytest.fixture
def undeletable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Makes the operating system refuse to remove files whose name begins with a text."""
    unlink = os.unlink

    def refuse(start: str, code: int) -> None:
        def checked(path: str | Path, **options: int) -> None:
            if Path(path).name.startswith(start):
                raise OSError(code, os.strerror(code), str(path))
            unlink(path, **options)

        monkeypatch.setattr(os, "unlink", checked)

    return refuse


@pytest.mark.parametrize(
    ("errno_", "exit_code"), [(errno.EACCES, 2), (errno.EPERM, 2), (errno.EROFS, 2), (errno.EIO, 4)]
)
def test_what_cannot_be_removed_is_named_and_not_counted(
    warehouse: Warehouse,
    undeletable: Callable[[str, int], None],
    capsys: pytest.CaptureFixture[str],
    errno_: int,
    exit_code: int,
) -> None:
    stuck = "_tmp/20260101T000000-abcdef"
    put(warehouse, f"{stuck}/stuck-0.parquet", f"{stuck}/part-1.parquet", "_checkpoints/1234/model.json")
    aged(warehouse)
    undeletable("stuck", errno_)
    command = ["vacuum", "--warehouse", warehouse.uri, "--yes"]
    assert cli.main([*command, "--json"]) == exit_code
    document = json.loads(capsys.readouterr().out)
    assert (document["removed"], document["size_bytes"]) == (False, 8)
    by_path = {found["path"]: found for found in document["found"]}
    assert (by_path[stuck]["objects"], by_path[stuck]["size_bytes"]) == (1, 4)
    assert os.strerror(errno_) in by_path[stuck]["error"]
    assert "error" not in by_path["_checkpoints/1234"]
    left = [stored.name for stored in storage.objects(warehouse.uri) if "_sequence" not in stored.name]
    assert left == [f"{stuck}/stuck-0.parquet"]
    assert cli.main(command) == exit_code
    out = capsys.readouterr().out
    assert "0 removed, 1 not removed or not completely:" in out
    assert re.search(rf"cannot remove \S*stuck-0.parquet: {os.strerror(errno_)}", out)


def test_a_run_whose_record_cannot_be_removed_stays_complete(
    warehouse: Warehouse, undeletable: Callable[[str, int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tags_of_nights(warehouse, 2)
    backdate(warehouse)
    aged(warehouse)
    undeletable("_run.json", errno.EACCES)
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--keep-runs", "1", "--yes"]) == 2
    assert "0 removed, 2 not removed" in capsys.readouterr().out
    assert [run.run_id for run in warehouse.runs("tags")] == [run_id(0), run_id(1)]
    assert storage.is_object(warehouse.path(f"tags/run={run_id(0)}/part-0.parquet"))


def test_files_that_the_storage_keeps_without_an_error_are_not_counted(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(warehouse, "_checkpoints/1234/weights")
    aged(warehouse)
    remove = storage.remove
    monkeypatch.setattr(storage, "remove", lambda uri: "_checkpoints" in uri or remove(uri))
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--yes"]) == 4
    out = capsys.readouterr().out
    assert "0 B  0 removed, 1 not removed" in out
    assert "_checkpoints/1234 is still there, although the storage has reported no error" in out


class DenyingClient:
    """An S3 client that lists three objects and removes only those under `free/`."""

    def __init__(self) -> None:
        self.keys = ["wh/x/denied/1", "wh/x/denied/2", "wh/x/free/1"]

    def list_objects_v2(self, **_: str) -> dict[str, object]:
        now = datetime.datetime.now(datetime.UTC)
        entries = [{"Key": key, "Size": 1, "ETag": '"e"', "LastModified": now} for key in self.keys]
        return {"Contents": entries, "IsTruncated": False}

    def delete_objects(self, Bucket: str, Delete: dict[str, list[dict[str, str]]]) -> dict[str, object]:
        asked = [entry["Key"] for entry in Delete["Objects"]]
        denied = [{"Key": key, "Code": self.code} for key in asked if "denied" in key]
        self.keys = [key for key in self.keys if key not in asked or "denied" in key]
        return {"Errors": denied}

    code = "AccessDenied"


@pytest.mark.parametrize(("code", "exit_code"), [("AccessDenied", 2), ("InternalError", 4)])
def test_objects_that_s3_does_not_remove_are_an_error_after_all_others_are_gone(
    monkeypatch: pytest.MonkeyPatch, code: str, exit_code: int
) -> None:
    client = DenyingClient()
    client.code = code
    monkeypatch.setattr(s3_client, "_client", lambda *_: client)
    monkeypatch.setattr(s3, "KEYS_PER_DELETION", 1)
    with pytest.raises(StorageError, match=rf"cannot remove s3a://bucket/wh/x/denied/1: {code}") as caught:
        storage.remove("s3a://bucket/wh/x")
    assert caught.value.exit_code == exit_code
    assert client.keys == ["wh/x/denied/1", "wh/x/denied/2"]
    monkeypatch.setattr(client, "keys", ["wh/x/free/1"])
    storage.remove("s3a://bucket/wh/x")
    assert client.keys == []
