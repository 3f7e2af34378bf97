"""A warehouse can be moved: its records name what is inside it by relative paths."""

import shutil
from pathlib import Path

import pytest

from genremill.infra import locations, records, storage
from genremill.infra.errors import DamagedRecord
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.snapshot_details import TagsDetails


def tags(model: str, version: str = "linear/r1") -> Snapshot:
    details = {"model_version": version, "tracks_run": "t1", "model": model}
    return Snapshot("r2", "tags/run=r2", 1, "", {}, "", "", details)


@pytest.fixture
def moved(tmp_path: Path) -> Warehouse:
    """A warehouse with the model linear/r1, which was at `…/old` when it was made."""
    old = Warehouse.at(str(tmp_path / "old"))
    storage.write_atomic(old.path("models", "linear", "r1", "model.json"), b"{}")
    shutil.copytree(tmp_path / "old", tmp_path / "100% new #1")
    shutil.rmtree(tmp_path / "old")
    return Warehouse.at(str(tmp_path / "100% new #1"))


@pytest.mark.parametrize(
    "recorded",
    [
        "models/linear/r1",
        "",
        "file:///nowhere/old/models/linear/r1",
        "s3a://bucket/models/linear/r1",
        "s3a://bucket/models/models/linear/r1",
    ],
)
def test_the_model_of_tags_is_found_in_the_moved_warehouse(moved: Warehouse, recorded: str) -> None:
    expected = "linear/r1", moved.path("models", "linear", "r1")
    assert model_registry.of_tags(moved, tags(recorded)) == expected


@pytest.mark.parametrize("recorded", ["file:///vendor/r1", "s3a://bucket/linear/r1", "file:///x/models/a/b"])
def test_a_model_from_elsewhere_stays_there(moved: Warehouse, recorded: str) -> None:
    assert model_registry.of_tags(moved, tags(recorded))[1] == recorded
    assert locations.relative(moved, recorded) == recorded


@pytest.mark.parametrize(
    "recorded", ["../other/model", "/etc/model", "http://host/model", "models/../x", "a//b"]
)
def test_a_path_that_leaves_the_warehouse_is_a_damaged_record(recorded: str) -> None:
    with pytest.raises(DamagedRecord, match=r"`\$.model`"):
        TagsDetails.of(tags(recorded))


def test_only_uris_inside_the_warehouse_become_relative() -> None:
    warehouse = Warehouse("s3a://music/wh")
    document = {
        "path": "s3a://music/wh/models/linear/r1",
        "reports": ["s3a://music/wh/reports/r1/report.html", "s3a://music/wh2/x", "s3a://music/wh"],
        "rows": 3,
        "value": None,
    }
    assert locations.relative(warehouse, document) == document | {
        "path": "models/linear/r1",
        "reports": ["reports/r1/report.html", "s3a://music/wh2/x", "s3a://music/wh"],
    }
    assert records.to_json(locations.relative(warehouse, document))
