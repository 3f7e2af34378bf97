"""`vacuum` removes old and abandoned files, and keeps everything that a reader or a running job needs."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from genremill.infra import background, storage
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from tests.conftest import SetClock

HOUR = 3600.0
DAYS_AGO = time.time() - 72 * HOUR


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


def aged(warehouse: Warehouse) -> None:
    """Makes all files and folders three days old."""
    for path in storage.local_path(warehouse.uri).rglob("*"):
        os.utime(path, (DAYS_AGO, DAYS_AGO))


def put(warehouse: Warehouse, *names: str) -> None:
    for name in names:
        storage.write_atomic(warehouse.path(name), b"1234")


def snapshot(
    warehouse: Warehouse, table: str, run_id: str, written_at: str = "2026-01-01T00:00:00Z", **details: str
) -> Snapshot:
    """A complete run with one file."""
    made = Snapshot(run_id, f"{table}/run={run_id}", 1, "", {}, "", written_at, dict(details), checked=True)
    put(warehouse, f"{table}/run={run_id}/part-0.parquet")
    warehouse.finish(table, made)
    return made


def run_id(number: int) -> str:
    return f"202601{number + 1:02d}T000000-00000{number}"


@pytest.fixture
def vacuum(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Runs the job and returns the names of the files that it removed."""

    def run(*flags: str) -> list[str]:
        before = {stored.name for stored in storage.objects(warehouse.uri)}
        assert cli.main(["vacuum", "--warehouse", warehouse.uri, *flags]) == 0, capsys.readouterr().err
        return sorted(before - {stored.name for stored in storage.objects(warehouse.uri)})

    return run


def tags_of_nights(warehouse: Warehouse, nights: int) -> None:
    """Publishes `tracks` and `tags` once for each night."""
    for night in range(nights):
        tracks = snapshot(warehouse, "tracks", run_id(night))
        details = {"tracks_run": run_id(night), "model_version": "fcnn/0", "genre_map_version": ""}
        publish(warehouse, tracks=tracks, tags=snapshot(warehouse, "tags", run_id(night), **details))


def publish(warehouse: Warehouse, **tables: Snapshot) -> None:
    warehouse.publish_together(tables, tables["tags"].run_id, warehouse.current("tags"))


def test_runs_beyond_keep_runs_are_removed_and_the_newest_are_kept(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    tags_of_nights(warehouse, 5)
    aged(warehouse)
    gone = vacuum("--keep-runs", "2", "--yes")
    assert {name.rpartition("/")[0] for name in gone} == {
        f"{table}/run={run_id(night)}" for table in ("tracks", "tags") for night in range(3)
    }
    assert [run.run_id for run in warehouse.runs("tags")] == [run_id(3), run_id(4)]
    assert vacuum("--keep-runs", "2", "--yes") == []


def test_nothing_is_removed_without_yes_or_in_a_dry_run(
    warehouse: Warehouse, vacuum: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    tags_of_nights(warehouse, 3)
    aged(warehouse)
    assert vacuum("--keep-runs", "1") == []
    assert f"tags/run={run_id(0)}" in capsys.readouterr().out
    assert vacuum("--keep-runs", "1", "--yes", "--dry-run") == []


@pytest.mark.parametrize("offset_s", [0.0, 100 * 24 * HOUR, -100 * 24 * HOUR])
def test_a_run_that_was_current_recently_is_kept_whatever_the_clock_of_its_publisher_said(
    warehouse: Warehouse, vacuum: Callable[..., list[str]], set_clock: SetClock, offset_s: float
) -> None:
    set_clock(offset_s)
    tags_of_nights(warehouse, 4)
    set_clock(0.0)
    aged(warehouse)
    for table in ("tracks", "tags"):  # published now, although the other files are old
        storage.local_path(warehouse.path(table, "_current.json")).touch()
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    assert f"tags/run={run_id(2)}" not in gone
    assert f"tracks/run={run_id(2)}" not in gone
    assert f"tags/run={run_id(1)}" in gone


def test_the_tracks_that_a_kept_model_is_evaluated_on_are_kept(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    for night in range(4):
        warehouse.publish("tracks", snapshot(warehouse, "tracks", run_id(night)))
    model = f"models/fcnn/{run_id(1)}"
    put(warehouse, f"{model}/model.safetensors")
    card = {"snapshots": {"tracks": run_id(1)}}
    storage.write_atomic(warehouse.path(model, "model.json"), json.dumps(card).encode())
    aged(warehouse)
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    assert gone == {f"tracks/run={run_id(night)}" for night in (0, 2)}


def test_the_tracks_and_the_model_of_kept_tags_are_kept(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    for night in range(4):
        snapshot(warehouse, "tracks", run_id(night))
        put(
            warehouse,
            f"models/fcnn/{run_id(night)}/model.safetensors",
            f"models/fcnn/{run_id(night)}/model.json",
        )
    details = {"tracks_run": run_id(0), "model_version": f"fcnn/{run_id(1)}", "genre_map_version": ""}
    tracks = snapshot(warehouse, "tracks", run_id(0))
    publish(warehouse, tracks=tracks, tags=snapshot(warehouse, "tags", run_id(0), **details))
    aged(warehouse)
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    assert gone == {f"tracks/run={run_id(night)}" for night in (1, 2)} | {
        f"models/fcnn/{run_id(night)}" for night in (0, 2)
    }


def test_a_staged_run_that_jobs_build_on_is_kept_beside_a_newer_refused_run(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    tags_of_nights(warehouse, 2)
    for night in (2, 3, 4):
        snapshot(warehouse, "tracks", run_id(night))
    for night in (3, 4):
        warehouse.refuse("tracks", run_id(night), "drift")
    aged(warehouse)
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    assert gone == {f"tags/run={run_id(0)}", *(f"tracks/run={run_id(night)}" for night in (0, 3))}


def test_the_genre_map_and_profiles_of_a_kept_model_are_kept(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    for night in range(4):
        for table in ("genre_profiles", "genre_map"):
            warehouse.publish(table, snapshot(warehouse, table, run_id(night)))
    model = f"models/fcnn/{run_id(1)}"
    put(warehouse, f"{model}/model.safetensors")
    card = {"snapshots": {"tracks": "", "genre_map": run_id(1)}}
    storage.write_atomic(warehouse.path(model, "model.json"), json.dumps(card).encode())
    aged(warehouse)
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    tables = ("genre_profiles", "genre_map")
    assert gone == {f"{table}/run={run_id(night)}" for table in tables for night in (0, 2)}


def test_a_generation_within_keep_runs_can_be_rolled_back_to(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    tags_of_nights(warehouse, 3)
    for night in (3, 4, 5):  # newer, but refused
        snapshot(warehouse, "tracks", run_id(night))
        warehouse.refuse("tracks", run_id(night), "drift")
    aged(warehouse)
    vacuum("--keep-runs", "2", "--yes")
    assert cli.main(["publish", "--warehouse", warehouse.uri, "--rollback"]) == 0
    assert warehouse.require("tracks", "ingest").run_id == run_id(1)
    assert cli.main(["publish", "--warehouse", warehouse.uri, "--rollback"]) == 2


def test_a_run_that_was_replaced_long_ago_is_removed_although_the_clock_of_its_publisher_was_ahead(
    warehouse: Warehouse, vacuum: Callable[..., list[str]], set_clock: SetClock
) -> None:
    set_clock(100 * 24 * HOUR)
    tags_of_nights(warehouse, 2)
    set_clock(0.0)
    aged(warehouse)
    gone = {name.rpartition("/")[0] for name in vacuum("--keep-runs", "1", "--yes")}
    assert gone == {f"{table}/run={run_id(0)}" for table in ("tracks", "tags")}


ABANDONED = (
    "_tmp/20260101T000000-abcdef/train/part-0.parquet",
    "_checkpoints/1234/epoch-00001/model.json",
    "tags/run=20260101T000000-abcdef/part-0.parquet",
    "tags/run=20260101T000000-abcdef/_temporary/0/part-1.parquet",
    "features/fingerprint=12/run=20260101T000000-abcdef/_temporary/0/part-0.parquet",
    "features/fingerprint=12/run=20260101T000000-abcdef/__magic_job-1/part-0.parquet",
    "models/fcnn/20260101T000000-abcdef/model.safetensors",
    "tags/._current.json.0123456789abcdef0123456789abcdef",
)
KEPT = (
    "features/fingerprint=12/_feature_set.json",
    "features/fingerprint=12/run=20250101T000000-abcdef/part-0.parquet",
    "features/fingerprint=12/_pending/20250101T000000-abcdef/part-0.parquet",
    "rejects/run=20250101T000000-abcdef/part-0.parquet",
    "somebody/elses/file",
)


def test_leftovers_of_killed_jobs_are_removed(warehouse: Warehouse, vacuum: Callable[..., list[str]]) -> None:
    put(warehouse, *ABANDONED, *KEPT)
    assert vacuum("--yes") == []  # too young: the job may still be running
    aged(warehouse)
    assert vacuum("--yes") == sorted(ABANDONED)


def test_files_with_the_id_of_a_running_job_are_kept(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    put(warehouse, *ABANDONED)
    aged(warehouse)
    with background.beating(warehouse.tmp("20260101T000000-abcdef")):
        gone = vacuum("--yes")
    assert gone == [
        "_checkpoints/1234/epoch-00001/model.json",
        "tags/._current.json.0123456789abcdef0123456789abcdef",
    ]


def test_reports_are_removed_with_their_model(warehouse: Warehouse, vacuum: Callable[..., list[str]]) -> None:
    for night in range(3):
        storage.write_atomic(
            warehouse.path("reports", run_id(night), "metrics.json"),
            f'{{"model_version": "m/{night}"}}'.encode(),
        )
    put(warehouse, "models/m/1/model.json", "models/m/2/model.json")
    aged(warehouse)
    assert vacuum("--keep-runs", "2", "--yes") == [f"reports/{run_id(0)}/metrics.json"]


def test_old_studies_are_removed_unless_they_are_running(
    warehouse: Warehouse, vacuum: Callable[..., list[str]]
) -> None:
    studies = [f"studies/{digest}/study.json" for digest in ("c", "a", "b")]
    put(warehouse, *studies)
    for at, name in enumerate(studies):
        os.utime(storage.local_path(warehouse.path(name)), (DAYS_AGO + at, DAYS_AGO + at))
    assert vacuum("--keep-runs", "2", "--yes") == [studies[0]]
    put(warehouse, "studies/a/_study.lease")  # renewed while its holder trains
    assert vacuum("--keep-runs", "1", "--yes") == [studies[2]]


@pytest.mark.parametrize("flags", [["--keep-runs", "0"], ["--min-age-hours", "-1"]])
def test_invalid_limits_are_errors(
    warehouse: Warehouse, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    put(warehouse, "tracks/_current.json")
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, *flags]) == 2
    assert flags[0] in capsys.readouterr().err


def test_a_heartbeat_is_renewed(warehouse: Warehouse) -> None:
    folder = warehouse.tmp("one")
    with background.beating(folder, period_s=0.01):
        first = storage.local_path(f"{folder}/{background.ALIVE}").stat().st_mtime_ns
        deadline = time.monotonic() + 5
        while storage.local_path(f"{folder}/{background.ALIVE}").stat().st_mtime_ns == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)
