"""Pointers and runs: before the first tags, each table becomes current alone, in one atomic step."""

from pathlib import Path

import pytest

from genremill.infra import storage
from genremill.infra.errors import DamagedRecord, StorageError, UsageError
from genremill.infra.warehouse import Snapshot, Warehouse


def _snapshot(run_id: str, rows: int = 3) -> Snapshot:
    return Snapshot(
        run_id, f"tracks/run={run_id}", rows, "hash", {"table": "x"}, "0.1.0", "2026-01-01T00:00:00Z"
    )


def _finished(warehouse: Warehouse, run_id: str) -> Snapshot:
    snapshot = _snapshot(run_id)
    warehouse.finish("tracks", snapshot)
    return snapshot


def test_a_pointer_records_the_earlier_snapshots(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    assert warehouse.current("tracks") is None
    for run_id in ("1", "2", "3"):
        assert warehouse.publish("tracks", _finished(warehouse, run_id))
    current = warehouse.current("tracks")
    assert current is not None
    assert current.snapshot == _snapshot("3")
    assert [snapshot.run_id for snapshot in current.previous] == ["2", "1"]
    assert warehouse.last_published("tracks") == "3"


def test_a_run_compared_with_an_outdated_snapshot_is_not_published(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    warehouse.publish("tracks", _finished(warehouse, "1"))
    seen = warehouse.current("tracks")
    warehouse.publish("tracks", _finished(warehouse, "2"))
    with pytest.raises(StorageError, match="published to by another job"):
        warehouse.publish("tracks", _finished(warehouse, "3"), audited_against=seen)
    assert warehouse.require("tracks", "ingest").run_id == "2"


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "tags").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="cannot write"):
        storage.write_atomic(f"file://{tmp_path}/tags/_current.json", b"")
    with pytest.raises(StorageError, match="cannot lock"):
        storage.write_over(f"file://{tmp_path}/tags/_current.json", b"", None)


def test_a_run_without_a_record_is_not_listed(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    _finished(warehouse, "1")
    (tmp_path / "tracks" / "run=2").mkdir()
    assert [snapshot.run_id for snapshot in warehouse.runs("tracks")] == ["1"]


def test_the_error_for_a_missing_table_names_the_job_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no current 'tracks' table yet: run `genremill ingest` first"):
        Warehouse.at(str(tmp_path)).require("tracks", "ingest")


def test_a_damaged_pointer_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags" / "_current.json").write_text('{"run_id": 1')
    with pytest.raises(StorageError, match=r"_current\.json is not a valid Pointer record"):
        Warehouse.at(str(tmp_path)).current("tags")


def test_an_atomic_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a b.json"
    storage.write_atomic(uri, b"old")
    storage.write_atomic(uri, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a b.json"]
    assert storage.read_bytes(uri) == b"new"


def test_a_path_and_its_uri_are_the_same_file(tmp_path: Path) -> None:
    for location in (str(tmp_path / "x y"), f"file://{tmp_path}/x y/", f"file:{tmp_path}/x y"):
        assert storage.local_path(storage.absolute_uri(location)) == tmp_path / "x y"


def test_the_error_for_another_uri_scheme_lists_the_supported_schemes() -> None:
    with pytest.raises(UsageError, match="only file: and s3a: URIs"):
        storage.read_bytes("http://169.254.169.254/latest")


def test_inventories_change_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "_SUCCESS").write_text("")
    before = storage.inventory(str(tmp_path))
    assert (before.files, before.size_bytes) == (1, 1)
    (tmp_path / "_SUCCESS").write_text("x")
    assert storage.inventory(str(tmp_path)) == before
    (tmp_path / "a.csv").write_text("12")
    assert storage.inventory(str(tmp_path)).digest != before.digest


@pytest.mark.parametrize("time", ["2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "", "yesterday"])
def test_a_time_that_does_not_exist_is_a_damaged_record(time: str) -> None:
    with pytest.raises(DamagedRecord, match="which does not exist"):
        storage.utc_seconds(time)
