"""A damaged record of the past is skipped and named, and paths in records stay inside the warehouse."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from genremill.infra import lease, records, storage
from genremill.infra.errors import DamagedRecord
from genremill.infra.lease import Holder, Lease
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Refusal, Snapshot, Warehouse
from genremill.jobs import cli, publish
from genremill.jobs.nights import page as night_page, record as night_record
from genremill.jobs.nights.record import Night, State, StepRecord
from genremill.jobs.snapshot_details import TagsDetails
from genremill.jobs.studies import grid
from genremill.jobs.studies.grid import CellResult, GridPoint
from tests.pure.damaged_cases import OUTSIDE, damaged_texts, put, with_values
from tests.pure.generation_cases import TABLES, made, published, run_id

TIME = "2026-01-01T00:00:00Z"
SNAPSHOT = Snapshot("r1", "tags/run=r1", 1, "hash", {"from": "x"}, "0.1.0", TIME, checked=True)
HEADER = Header("r3", "2026-11-21 02:00 UTC", "file:///wh", "no tracks yet")
FIGURES = {
    "model_version": "m/1",
    "split": "artist",
    "top1": {"value": 0.4, "low": 0.3, "high": 0.5},
    "top5": 0.5,
}
RESULT = CellResult(GridPoint(0.2, 32, 5), 9, 0.5).as_json()
HOLDER = Holder("r0", "elsewhere", 1, "1", TIME, "t")
NIGHT = Night("r2", TIME, seconds=1.5, cores=2, metrics=FIGURES)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


def with_step(name: str, summary: object) -> list[dict[str, object]]:
    return [{"name": name, "state": "ran", "summary": summary}]


@pytest.mark.parametrize(
    "text",
    [
        *damaged_texts(NIGHT, "seconds"),
        *with_values(
            NIGHT, "metrics", {"top1": "high"}, {"top1": {"low": 0.1}}, {"top5": 1e300}, {"model_version": {}}
        ),
        *with_values(
            NIGHT,
            "steps",
            with_step("publish", {"churn": {"changed": 1}}),
            with_step("publish", {"churn": {"changed": 1, "tracks": "many"}}),
            with_step("publish", {"churn": [1, 2]}),
            with_step("extract", {"features": {"gtzan57": {}}}),
            with_step("extract", {"features": ["gtzan57"]}),
            with_step("ingest", {"source_bytes": "many"}),
            with_step("ingest", None),
            [{"name": "ingest", "state": "unknown"}],
        ),
    ],
)
def test_the_page_and_the_plan_skip_a_damaged_night_and_name_it(
    warehouse: Warehouse, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    whole = dataclasses.replace(NIGHT, run_id="r1", steps=(StepRecord("publish", State.RAN),))
    night_record.keep(warehouse, whole, "page")
    put(warehouse, "reports/r2/run.json", text)
    with caplog.at_level("WARNING"):
        earlier = night_record.earlier(warehouse, most=5)
    assert earlier == [whole]
    assert "reports/r2/run.json" in caplog.text
    assert "m/1" in night_page.render(dataclasses.replace(NIGHT, run_id="r3"), earlier, HEADER)


def test_a_night_of_another_version_is_no_damaged_night(warehouse: Warehouse) -> None:
    for number, text in enumerate(
        (
            {"run_id": "r0", "started_at": ""},
            {"run_id": "r1", "started_at": TIME, "unknown": [1], "metrics": {"new_figure": "x"}},
            {"run_id": "r2", "started_at": TIME, "steps": with_step("cluster", {"features": 3})},
            {"run_id": "r3", "started_at": TIME, "steps": with_step("publish", {"churn": None})},
        )
    ):
        put(warehouse, f"reports/r{number}/run.json", json.dumps(text).encode())
    earlier = night_record.earlier(warehouse, most=5)
    assert [night.run_id for night in earlier] == ["r3", "r2", "r1", "r0"]
    assert night_page.render(NIGHT, earlier, HEADER)


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[1]", b"\xff", b"[" * 100_000, b'{"model_version": ["m/1"]}']
)
def test_a_damaged_report_is_skipped_and_named(
    warehouse: Warehouse, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put(warehouse, "reports/r1/metrics.json", b'{"model_version": "m/1"}')
    put(warehouse, "reports/r2/metrics.json", text)
    with caplog.at_level("WARNING"):
        assert night_record.report_of(warehouse, "m/1") == warehouse.path("reports", "r1", "report.html")
    assert text.startswith(b'{"model') or "reports/r2/metrics.json is damaged" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        *damaged_texts(SNAPSHOT, "rows"),
        *with_values(SNAPSHOT, "run_id", "../r"),
        *with_values(SNAPSHOT, "path", *OUTSIDE),
    ],
)
def test_the_damaged_record_of_a_staged_run_is_skipped_and_named(
    warehouse: Warehouse,
    text: bytes,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published(warehouse, 1)
    for table in ("tags", "tracks"):
        put(warehouse, f"{table}/run={run_id(2)}/_run.json", text)
    with caplog.at_level("WARNING"):
        newest = warehouse.newest("tracks")
        assert newest is not None
        assert newest.run_id == run_id(1)
    assert f"tracks/run={run_id(2)}/_run.json" in caplog.text
    for command in (["tables", "--history"], ["vacuum", "--yes", "--min-age-hours", "0"]):
        assert cli.main([command[0], "--warehouse", warehouse.uri, *command[1:]]) == 0
    assert f"tags/run={run_id(2)}/_run.json" in capsys.readouterr().err
    assert storage.is_object(warehouse.path("tags", f"run={run_id(2)}", "_run.json"))
    with pytest.raises(DamagedRecord, match=rf"tags/run={run_id(2)}/_run\.json"):
        publish.staged(warehouse, run_id(2))


def test_vacuum_keeps_what_the_current_tags_need_if_their_own_record_is_damaged(warehouse: Warehouse) -> None:
    for number in (1, 2, 3):
        published(warehouse, number)
    for version in ("1", "2"):
        put(warehouse, f"models/m/{version}/model.json", b"{}")
    put(warehouse, f"tags/run={run_id(3)}/_run.json", b"{")
    flags = ["--yes", "--keep-runs", "1", "--min-age-hours", "0"]
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, *flags]) == 0
    assert storage.is_object(warehouse.path("models/m/1/model.json"))
    for table in TABLES:
        assert storage.is_object(warehouse.path(table, f"run={run_id(3)}", "_run.json"))


@pytest.mark.parametrize("details", [{}, {"model_version": "../m", "tracks_run": "r"}, {"model_version": 1}])
def test_vacuum_skips_past_tags_with_damaged_details(
    warehouse: Warehouse, details: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tags = published(warehouse, 1)
    warehouse.finish("tags", dataclasses.replace(tags, run_id=run_id(2), details=details))
    assert cli.main(["vacuum", "--warehouse", warehouse.uri]) == 0
    assert "skipping a damaged record" in capsys.readouterr().err


@pytest.mark.parametrize("text", [*damaged_texts(Refusal("drift", TIME), "why")])
def test_a_run_whose_refusal_is_damaged_is_still_refused(warehouse: Warehouse, text: bytes) -> None:
    published(warehouse, 1)
    made(warehouse, "tracks", 2)
    put(warehouse, f"tracks/run={run_id(2)}/_refused.json", text)
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(1)


@pytest.mark.parametrize(
    "text",
    [
        *damaged_texts(HOLDER, "renewed"),
        *with_values(HOLDER, "pid", 0, -1, 2**31, 10**30, True),
        *with_values(HOLDER, "started", ""),
    ],
)
def test_a_damaged_lease_is_taken_over_when_it_expires(
    warehouse: Warehouse, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRY_S", 0.02)
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    put(warehouse, "_night.lease", text)
    mine = Lease(warehouse.path("_night.lease"), "r2")
    mine.take(wait=False)
    put(warehouse, "_night.lease", text)
    mine.renew()
    assert mine.lost_to == "nobody"
    mine.release()
    assert storage.read_bytes(mine.uri) == text


@pytest.mark.parametrize(
    "text",
    [
        *damaged_texts(RESULT, "pairs"),
        *with_values(RESULT, "accuracy", "high", True),
        *with_values(RESULT, "epochs", 6),
    ],
)
def test_a_damaged_result_of_a_study_is_trained_again(
    warehouse: Warehouse, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    whole, other = CellResult(GridPoint(0.1, 32, 5), 9, 0.5), GridPoint(0.2, 32, 5)
    for result in (whole, CellResult(other, 9, 0.5)):
        grid.record(warehouse.uri, result)
    file = grid._file(warehouse.uri, other)
    assert len(grid.recorded(warehouse.uri, (whole.cell, other))) == 2
    storage.write_atomic(file, text)
    with caplog.at_level("WARNING"):
        assert grid.recorded(warehouse.uri, (whole.cell, other)) == {whole.cell: whole}
    assert f"{file} is damaged and is ignored" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "tags/run=r1",
        "run=..a",
        "tags/run=a b",
        "tags/…/é",
        "a/b/c.d",
        "m/my%20model",
        "m/v:1%",
        "m/...",
        "m/%2e%2ea",
    ],
)
def test_plain_relative_paths_are_read(path: str) -> None:
    details = {"model_version": path, "tracks_run": "r1"}
    snapshot = dataclasses.replace(SNAPSHOT, path=path, details=details)
    assert records.from_json(records.to_json(snapshot), Snapshot, "_run.json") == snapshot
    assert TagsDetails.of(snapshot).model_version == path


@pytest.mark.parametrize("version", ["../m/1", "/m/1", "s3a://b/m", ""])
def test_the_model_of_tags_is_inside_the_warehouse(version: str) -> None:
    snapshot = dataclasses.replace(SNAPSHOT, details={"model_version": version, "tracks_run": "r1"})
    with pytest.raises(DamagedRecord, match="details of tags/run=r1"):
        TagsDetails.of(snapshot)


@pytest.mark.parametrize("settings", ["", "{", "[]", "[" * 100_000, '{"tracks": 5}'])
def test_a_page_is_made_with_damaged_settings(warehouse: Warehouse, settings: str) -> None:
    tracks = dataclasses.replace(SNAPSHOT, inputs={"settings": settings})
    assert Header.of(warehouse, "r1", tracks).table.startswith("tracks of run r1")


def test_a_record_that_is_too_deep_to_write_is_damaged() -> None:
    details: dict[str, Any] = {}
    for _ in range(10_000):
        details = {"a": details}
    with pytest.raises(DamagedRecord, match="too many nested levels"):
        records.to_json(dataclasses.replace(SNAPSHOT, details=details))
