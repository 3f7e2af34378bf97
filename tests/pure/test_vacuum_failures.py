"""`vacuum` counts only what is gone, and names what could not be removed."""

import datetime
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.stores import s3, s3_client
from genremill.infra.stores.objects import StoredObject
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from genremill.models.training import checkpoints
from genremill.models.training.checkpoints import Checkpoint, Progress
from tests.pure.test_vacuum import aged, put, run_id, tags_of_nights


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


def test_an_outage_while_files_are_removed_does_not_lose_the_report(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(warehouse, "_checkpoints/1/weights", "_checkpoints/2/weights")
    aged(warehouse)
    really = storage.objects

    def objects(uri: str) -> Iterator[StoredObject]:
        if uri.endswith("_checkpoints/2"):
            raise StorageError(f"cannot list {uri}: the storage does not answer")
        return really(uri)

    monkeypatch.setattr(storage, "objects", objects)
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--yes", "--json"]) == 4
    by_path = {found["path"]: found for found in json.loads(capsys.readouterr().out)["found"]}
    assert by_path["_checkpoints/1"]["objects"] == 1
    assert by_path["_checkpoints/2"]["objects"] == 0
    assert "does not answer" in by_path["_checkpoints/2"]["error"]


def test_files_that_another_job_writes_meanwhile_are_no_negative_count(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(warehouse, "_checkpoints/1/weights")
    aged(warehouse)
    remove = storage.remove

    def while_another_job_writes(uri: str) -> None:
        if "_checkpoints" in uri:
            put(warehouse, "_checkpoints/1/more")
        else:
            remove(uri)

    monkeypatch.setattr(storage, "remove", while_another_job_writes)
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--yes", "--json"]) == 4
    (found,) = json.loads(capsys.readouterr().out)["found"]
    assert (found["objects"], found["size_bytes"]) == (0, 0)


def test_scratch_files_that_cannot_be_removed_do_not_fail_a_job(
    warehouse: Warehouse, undeletable: Callable[[str, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    put(warehouse, "_checkpoints/1/stuck", "_checkpoints/1/weights")
    undeletable("stuck", errno.EBUSY)
    storage.discard(warehouse.path("_checkpoints"))
    stuck = storage.local_path(warehouse.path("_checkpoints/1/stuck"))
    assert f"_checkpoints could not be removed: cannot remove {stuck}: Device or" in caplog.text
    assert [stored.name for stored in storage.objects(warehouse.uri)] == ["_checkpoints/1/stuck"]


def test_old_checkpoints_that_cannot_be_removed_do_not_fail_a_training(
    warehouse: Warehouse, undeletable: Callable[[str, int], None]
) -> None:
    undeletable("model", errno.EACCES)
    for epoch in range(1, checkpoints.KEEP + 2):
        progress = Progress(history=(), best_epoch=1, best_figure=None)
        checkpoints.save(warehouse.uri, Checkpoint(epoch, {"w": torch.zeros(1)}, progress))
    assert len(storage.folders(warehouse.uri)) == checkpoints.KEEP + 1


def test_an_error_without_a_file_name_names_the_file(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str | Path, **_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    put(warehouse, "_tmp/1/x")
    stuck = storage.local_path(warehouse.path("_tmp/1/x"))
    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(StorageError, match=f"cannot remove {stuck}: Input/output error"):
        storage.remove(warehouse.path("_tmp"))


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
