"""Runs on a machine whose clock is wrong: the order of runs stays, and nothing that is in use is removed."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from genremill.infra import background, lease, records, run_ids, storage
from genremill.infra.lease import Holder
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli, model_registry
from genremill.jobs.features import cache, set_record
from genremill.jobs.generations import history
from genremill.jobs.nights import reasons, record as night_record
from genremill.jobs.nights.record import Night
from tests.conftest import SetClock
from tests.pure.test_night_model import CARD

HOUR = 3600.0
FUTURE = 10 * 365 * 24 * HOUR
"""As far ahead as a clock in 2036 was in 2026."""
TABLES = ("tracks", "genre_map", "tags")


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


def night(warehouse: Warehouse) -> str:
    """What a night with a new model leaves behind; returns its run id."""
    run_id = run_ids.take(warehouse.uri)
    model = f"linear/{run_id}"
    card = dataclasses.replace(CARD, training=dataclasses.replace(CARD.training, by_nightly=True))
    storage.write_atomic(warehouse.path("models", model, "model.json"), card.to_json())
    features = {"name": "small", "shape": [1], "values": ["x"], "created_at": storage.utc_now()}
    path = set_record.folder_of(warehouse, f"f{run_id}")
    storage.write_atomic(f"{path}/{set_record.RECORD}", json.dumps(features | {"used_by": run_id}).encode())
    storage.write_atomic(f"{path}/run={run_id}/part-0.parquet", b"")
    details: dict[str, dict[str, Any]] = {
        "tracks": {"features": [], "split": {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}},
        "tags": {"model_version": model, "tracks_run": run_id, "genre_map_version": run_id},
    }
    made = {
        table: Snapshot(
            run_id, f"{table}/run={run_id}", 1, "", {"run": run_id}, "", storage.utc_now(),
            details.get(table, {}), checked=True,
        )
        for table in TABLES
    }  # fmt: skip
    for table, snapshot in made.items():
        warehouse.finish(table, snapshot)
    assert model_registry.of_night(warehouse)[0] == model
    assert warehouse.newest("tracks") in (made["tracks"], None)
    warehouse.publish_together(made, run_id, warehouse.current("tags"))
    night_record.keep(warehouse, Night(run_id, storage.utc_now()), "page")
    return run_id


@pytest.mark.parametrize(
    "clocks",
    [
        (FUTURE, 0.0),
        (FUTURE, 0.0, 0.0),
        (0.0, FUTURE, 0.0),
        (0.0, 0.0, FUTURE, 0.0, FUTURE, 0.0),
        (0.0, -FUTURE, 0.0, -FUTURE),
    ],
)
def test_after_runs_with_a_wrong_clock_the_last_run_is_the_newest(
    warehouse: Warehouse,
    set_clock: SetClock,
    clocks: tuple[float, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    nights = []
    for ahead_s in clocks:
        set_clock(ahead_s)
        nights.append(night(warehouse))
    newest_first = nights[::-1]
    last = f"linear/{nights[-1]}"
    assert model_registry.newest(warehouse) == last
    assert model_registry.of_night(warehouse)[0] == last
    assert [run.run_id for run in warehouse.runs("tags")] == nights
    assert warehouse.require("tags", "score").run_id == warehouse.last_published("tags") == nights[-1]
    assert cache.filled_sets(warehouse)[-1].used_by == nights[-1]
    assert [entry.run_id for entry in history.entries(warehouse)] == newest_first
    assert [each.run_id for each in night_record.earlier(warehouse, most=9)] == newest_first
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--keep-runs", "1", "--min-age-hours", "0"]) == 0
    removed = capsys.readouterr().out
    assert any(f"models/linear/{run_id}" in removed for run_id in nights[:-1])
    assert nights[-1] not in removed


RUNNING = "20260101T000000-abcdef"
OF_THE_RUN = (f"tags/run={RUNNING}/part-0.parquet", f"_tmp/{RUNNING}/train/part-0.parquet")
LEASES = ("_night.lease", "features/fingerprint=12/_extract.lease")


def put(warehouse: Warehouse, *names: str, age_s: float = 0.0) -> None:
    for name in names:
        storage.write_atomic(warehouse.path(name), b"1234")
        modified_s = time.time() - age_s
        os.utime(storage.local_path(warehouse.path(name)), (modified_s, modified_s))


def vacuumed(warehouse: Warehouse) -> set[str]:
    """The files that `vacuum` removes."""
    before = {stored.name for stored in storage.objects(warehouse.uri)}
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--yes"]) == 0
    return before - {stored.name for stored in storage.objects(warehouse.uri)}


@pytest.mark.parametrize("ahead_s", [25 * HOUR, FUTURE, -25 * HOUR, 0.0])
def test_a_machine_with_a_wrong_clock_removes_the_same_files(
    warehouse: Warehouse, set_clock: SetClock, ahead_s: float
) -> None:
    put(warehouse, *OF_THE_RUN)
    put(warehouse, f"_tmp/{RUNNING}/{background.ALIVE}", age_s=background.PERIOD_S)
    put(warehouse, "_tmp/20260101T000000-000001/part-0.parquet", age_s=23 * HOUR)
    put(warehouse, "_tmp/20260101T000000-000002/part-0.parquet", age_s=25 * HOUR)
    set_clock(ahead_s)
    assert vacuumed(warehouse) == {"_tmp/20260101T000000-000002/part-0.parquet"}


def leave_lease(warehouse: Warehouse, name: str, age_s: float, **overrides: object) -> Holder:
    holder = dataclasses.replace(Holder.this_process(RUNNING), **overrides)  # type: ignore[arg-type]
    put(warehouse, name, age_s=age_s)
    path = storage.local_path(warehouse.path(name))
    path.write_bytes(records.to_json(holder))
    os.utime(path, (time.time() - age_s,) * 2)
    return holder


@pytest.mark.parametrize("name", LEASES)
@pytest.mark.parametrize(
    ("age_s", "overrides", "is_kept"),
    [
        (72 * HOUR, {}, True),  # the clock has jumped ahead, and the lease is not renewed yet
        (72 * HOUR, {"started": "1"}, False),
        (0.0, {"started": "1"}, False),
        (0.0, {"boot_id": "another"}, True),
        (0.0, {"host": "elsewhere"}, True),
        (72 * HOUR, {"host": "elsewhere"}, False),
        (72 * HOUR, {"boot_id": "", "pid_namespace": ""}, False),  # of an earlier version
    ],
)
def test_what_belongs_to_a_run_with_a_live_lease_is_kept(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    age_s: float,
    overrides: dict[str, object],
    is_kept: bool,
) -> None:
    put(warehouse, *OF_THE_RUN, "tags/run=20260101T000000-000001/part-0.parquet", age_s=72 * HOUR)
    holder = leave_lease(warehouse, name, age_s, **overrides)
    monkeypatch.setattr(lease, "_HELD", {holder.token})
    removed = vacuumed(warehouse)
    assert "tags/run=20260101T000000-000001/part-0.parquet" in removed
    assert set(OF_THE_RUN) & removed == (set() if is_kept else set(OF_THE_RUN))


def test_the_study_of_a_live_lease_is_kept_and_a_damaged_lease_is_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hours, study in enumerate("abc"):
        put(warehouse, f"studies/{study}/study.json", age_s=(72 - hours) * HOUR)
    put(warehouse, "studies/b/_study.lease", age_s=72 * HOUR)
    holder = leave_lease(warehouse, "studies/a/_study.lease", 73 * HOUR)
    monkeypatch.setattr(lease, "_HELD", {holder.token})
    before = {stored.name for stored in storage.objects(warehouse.uri)}
    assert cli.main(["vacuum", "--warehouse", warehouse.uri, "--keep-runs", "1", "--yes"]) == 0
    removed = before - {stored.name for stored in storage.objects(warehouse.uri)}
    assert {name.split("/")[1] for name in removed} == {"b"}


@pytest.mark.parametrize(
    ("age_days", "is_due"), [(-3650, True), (-2, True), (-0.5, False), (0, False), (29, False), (31, True)]
)
def test_a_model_from_the_future_counts_as_too_old(age_days: float, is_due: bool) -> None:
    created_at = time.strftime(storage.UTC, time.gmtime(time.time() - age_days * 24 * HOUR))
    reason = reasons._too_old(
        dataclasses.replace(CARD, created_at=created_at), reasons.Config(max_age_days=30)
    )
    assert (reason is not None) is is_due
