"""Generations: once tags are current, all tables change together, in one atomic step, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from genremill.infra import records, storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.stores.objects import Conflict
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, publish
from genremill.jobs.generations import history, members
from genremill.jobs.generations.history import State, Why
from tests.pure.generation_cases import TABLES, made, make_current, published, run_id, tags_of


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


def current_runs(warehouse: Warehouse) -> dict[str, str]:
    return {name: each.snapshot.run_id for name, each in warehouse.all_current(*TABLES).items()}


def pointer_runs(warehouse: Warehouse) -> dict[str, str]:
    """What a reader of the pointer files of the tables finds."""
    found = {}
    for table in TABLES:
        path = warehouse.path(table, "_current.json")
        if storage.is_object(path):
            found[table] = Current.from_json(storage.read_bytes(path), path).snapshot.run_id
    return found


def all_of(number: int) -> dict[str, str]:
    return dict.fromkeys(TABLES, run_id(number))


def test_all_tables_become_current_together_and_the_pointers_follow(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(1)
    published(warehouse, 2)
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(2)
    for table in TABLES:
        current = warehouse.current(table)
        assert current is not None
        assert [run.run_id for run in current.previous] == [run_id(1)]


def test_once_tags_are_current_a_new_run_stays_staged_and_jobs_build_on_it(warehouse: Warehouse) -> None:
    assert warehouse.publish("tracks", made(warehouse, "tracks", 1))
    assert warehouse.newest("tracks") == warehouse.require("tracks", "ingest")
    make_current(warehouse, tags_of(warehouse, 1, 1))
    staged = made(warehouse, "tracks", 2)
    assert not warehouse.publish("tracks", staged)
    assert warehouse.newest("tracks") == staged
    assert current_runs(warehouse) == pointer_runs(warehouse) == {"tracks": run_id(1), "tags": run_id(1)}
    assert not warehouse.publish("genre_map", made(warehouse, "genre_map", 3))
    assert warehouse.current("genre_map") is None
    make_current(warehouse, tags_of(warehouse, 4, 2, 3))
    assert current_runs(warehouse) == {"tracks": run_id(2), "genre_map": run_id(3), "tags": run_id(4)}


def test_tags_without_a_genre_map_become_current_with_the_newest_one(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    for table, number in (("genre_profiles", 2), ("genre_map", 2), ("genre_profiles", 3)):
        made(warehouse, table, number)
    tags = tags_of(warehouse, 4, 1)
    tables = members.generation_of(warehouse, tags)
    assert {table: run.run_id for table, run in tables.items()} == {
        "tracks": run_id(1),
        "genre_profiles": run_id(2),
        "genre_map": run_id(2),
        "tags": run_id(4),
    }
    assert members.named_by(warehouse, tags).keys() == {"tracks", "tags"}


def test_tags_of_a_genre_map_that_is_gone_are_not_current_with_another_one(warehouse: Warehouse) -> None:
    made(warehouse, "tracks", 1)
    for table in ("genre_profiles", "genre_map"):
        made(warehouse, table, 2)
    tags = tags_of(warehouse, 3, tracks=1, genre_map=1)
    assert {*members.generation_of(warehouse, tags)} == {"tracks", "tags"}


def test_before_tags_are_current_an_unpublished_run_is_not_built_on(warehouse: Warehouse) -> None:
    warehouse.publish("tracks", made(warehouse, "tracks", 1))
    made(warehouse, "tracks", 2)
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(1)


def test_a_run_that_is_published_while_the_first_tags_become_current_stays_staged(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.publish("tracks", made(warehouse, "tracks", 1))
    tags, whole = tags_of(warehouse, 2, 1), storage.write_over

    def tags_first(uri: str, data: bytes, version: str | None) -> None:
        monkeypatch.setattr(storage, "write_over", whole)
        make_current(warehouse, tags)
        whole(uri, data, storage.read_version(uri)[1])

    monkeypatch.setattr(storage, "write_over", tags_first)
    assert not warehouse.publish("tracks", made(warehouse, "tracks", 3))
    assert current_runs(warehouse) == pointer_runs(warehouse) == {"tracks": run_id(1), "tags": run_id(2)}
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(3)


def test_jobs_do_not_build_on_refused_unchecked_or_withdrawn_runs(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    made(warehouse, "tracks", 2)
    warehouse.refuse("tracks", run_id(2), "drift")
    unchecked = made(warehouse, "tracks", 3)
    warehouse.finish("tracks", Snapshot(**vars(unchecked) | {"checked": False}))
    (Path(storage.local_path(warehouse.path("tracks"))) / f"run={run_id(4)}").mkdir()
    assert current_runs(warehouse) == all_of(1)
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(1)
    published(warehouse, 5)
    warehouse.roll_back("r")
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(1)


def test_a_refused_run_can_be_published_and_is_then_not_refused_any_more(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    made(warehouse, "tracks", 2)
    tags = tags_of(warehouse, 2, 2, 1)
    warehouse.refuse("tracks", run_id(2), "drift")
    warehouse.refuse("tags", run_id(2), "drift")
    make_current(warehouse, tags)
    assert current_runs(warehouse) == all_of(1) | {"tracks": run_id(2), "tags": run_id(2)}
    assert warehouse.refusal("tracks", run_id(2)) is None
    assert warehouse.refusal("tags", run_id(2)) is None


def killed_while_following(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]
) -> None:
    """Stops after the switch of the generation and the first of the pointers."""
    written: list[str] = []
    whole = storage.write_over

    def write_over(uri: str, data: bytes, version: str | None) -> None:
        if len(written) > 1:
            raise StorageError("killed")
        written.append(uri)
        whole(uri, data, version)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_over", write_over)
        with pytest.raises(StorageError, match="killed"):
            act()
    assert written[0].endswith("/_generation.json")


def test_a_crash_before_the_pointers_follow_leaves_one_generation_for_our_readers(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(warehouse, 1)
    killed_while_following(warehouse, monkeypatch, lambda: published(warehouse, 2))
    assert current_runs(warehouse) == all_of(2)
    assert pointer_runs(warehouse) == all_of(1) | {"tracks": run_id(2)}
    assert warehouse.lagging() == ["genre_profiles", "genre_map", "tags"]
    warehouse.follow()
    assert pointer_runs(warehouse) == all_of(2)
    assert warehouse.lagging() == []


def test_the_same_command_completes_an_interrupted_publication(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published(warehouse, 1)
    killed_while_following(warehouse, monkeypatch, lambda: published(warehouse, 2))
    assert publish.main(["--warehouse", warehouse.uri]) == 0
    assert f"tags: run {run_id(2)} is current" in capsys.readouterr().out
    assert pointer_runs(warehouse) == all_of(2)
    assert publish.main(["--warehouse", warehouse.uri]) == 2


def test_the_same_command_completes_an_interrupted_rollback_and_goes_back_only_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        published(warehouse, number)
    rollback = ["--warehouse", warehouse.uri, "--rollback"]
    killed_while_following(warehouse, monkeypatch, lambda: warehouse.roll_back("r"))
    assert publish.main(rollback) == 0
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(2)
    assert publish.main(rollback) == 0
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(1)


def test_an_interrupted_publication_can_be_rolled_back(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(warehouse, 1)
    killed_while_following(warehouse, monkeypatch, lambda: published(warehouse, 2))
    assert publish.main(["--warehouse", warehouse.uri, "--rollback"]) == 0
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(1)


def test_tags_that_were_audited_against_other_tags_change_nothing(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    audited = warehouse.current("tags")
    mine = tags_of(warehouse, 3, 1, 1)
    published(warehouse, 2)
    with pytest.raises(Conflict, match="published to by another job; nothing has changed"):
        warehouse.publish_together(members.generation_of(warehouse, mine), "r", audited)
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(2)


def test_the_slower_of_two_publishers_changes_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(warehouse, 1)
    mine, other = tags_of(warehouse, 2, 1, 1), tags_of(warehouse, 3, 1, 1)
    whole = storage.write_over

    def other_first(uri: str, data: bytes, version: str | None) -> None:
        monkeypatch.setattr(storage, "write_over", whole)
        make_current(warehouse, other)
        whole(uri, data, version)

    monkeypatch.setattr(storage, "write_over", other_first)
    with pytest.raises(Conflict, match="meanwhile"):
        make_current(warehouse, mine)
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(1) | {"tags": run_id(3)}


def test_a_slow_follower_does_not_leave_the_pointers_at_an_older_generation(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(warehouse, 1)
    whole, calls = storage.write_over, [0]

    def other_in_between(uri: str, data: bytes, version: str | None) -> None:
        calls[0] += 1
        if calls[0] == 2:  # the first pointer after the switch
            monkeypatch.setattr(storage, "write_over", whole)
            published(warehouse, 3)
            version = storage.read_version(uri)[1]  # as if it had not been read before
        whole(uri, data, version)

    monkeypatch.setattr(storage, "write_over", other_in_between)
    published(warehouse, 2)
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(3)


def test_a_rollback_moves_all_tables_and_withdraws_the_tags(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    withdrawn = published(warehouse, 2)
    warehouse.roll_back("r")
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(1)
    current = warehouse.current("tags")
    assert current is not None
    assert current.withdrew(withdrawn) == withdrawn
    assert warehouse.last_published("tracks") == run_id(2)
    with pytest.raises(UsageError, match="no earlier tags"):
        warehouse.roll_back("r")
    make_current(warehouse, withdrawn)
    current = warehouse.current("tags")
    assert current is not None
    assert (current.snapshot, current.withdrawn) == (withdrawn, ())


def test_a_table_that_the_earlier_generation_did_not_have_is_not_current_after_a_rollback(
    warehouse: Warehouse,
) -> None:
    made(warehouse, "tracks", 1)
    make_current(warehouse, tags_of(warehouse, 1, 1))
    published(warehouse, 2)
    assert publish.roll_back(command.Run(warehouse, "r")).summary["published"] == run_id(1)
    assert current_runs(warehouse) == pointer_runs(warehouse) == {"tracks": run_id(1), "tags": run_id(1)}


@pytest.mark.parametrize("table", TABLES)
def test_a_rollback_to_a_removed_run_is_refused_and_names_it(warehouse: Warehouse, table: str) -> None:
    published(warehouse, 1)
    published(warehouse, 2)
    storage.remove(warehouse.run_path(table, run_id(1)))
    with pytest.raises(UsageError, match=rf"removed from .*: {table}, run {run_id(1)}$"):
        publish.roll_back(command.Run(warehouse, "r"))
    assert current_runs(warehouse) == pointer_runs(warehouse) == all_of(2)


def as_version_0_1_0(warehouse: Warehouse) -> None:
    """Publishes tags twice as version 0.1.0 did; new tracks are current whose tags were refused."""
    for number in (1, 2):
        made(warehouse, "tracks", number)
        made(warehouse, "genre_map", number)
        tags_of(warehouse, number, number, number)
    made(warehouse, "tracks", 3)
    histories = {"tracks": (3, 2, 1), "genre_map": (2, 1), "tags": (2, 1)}
    for table, numbers in histories.items():
        newest, *earlier = (warehouse.finished(table, run_id(number)) for number in numbers)
        assert newest is not None
        pointer = Current("2026-01-01T00:00:09Z", tuple(filter(None, earlier)), (), newest)
        text = records.to_json(vars(newest) | {k: v for k, v in vars(pointer).items() if k != "snapshot"})
        storage.write_atomic(warehouse.path(table, "_current.json"), text.replace(b'"checked"', b'"unknown"'))


def test_a_warehouse_of_version_0_1_0_works_before_its_first_publication(warehouse: Warehouse) -> None:
    as_version_0_1_0(warehouse)
    expected = {"tracks": run_id(3), "genre_map": run_id(2), "tags": run_id(2)}
    assert current_runs(warehouse) == pointer_runs(warehouse) == expected
    assert not warehouse.publish("tracks", made(warehouse, "tracks", 4))
    assert current_runs(warehouse) == expected
    newest = warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == run_id(4)


def test_a_warehouse_of_version_0_1_0_is_upgraded_by_a_publication_or_a_rollback(
    warehouse: Warehouse,
) -> None:
    as_version_0_1_0(warehouse)
    members.upgrade(warehouse)
    members.upgrade(warehouse)
    second = {"tracks": run_id(2), "genre_map": run_id(2), "tags": run_id(2)}
    assert current_runs(warehouse) == pointer_runs(warehouse) == second
    assert publish.main(["--warehouse", warehouse.uri, "--rollback"]) == 0
    assert current_runs(warehouse) == pointer_runs(warehouse) == dict.fromkeys(second, run_id(1))


def test_a_damaged_record_of_the_generation_is_a_storage_error(warehouse: Warehouse) -> None:
    storage.write_atomic(warehouse.path("_generation.json"), b'{"tables": {')
    with pytest.raises(StorageError, match=r"_generation\.json is not a valid CurrentGeneration record"):
        warehouse.current("tags")


def test_a_damaged_pointer_of_a_table_is_repaired(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    storage.write_atomic(warehouse.path("tracks", "_current.json"), b"{")
    assert current_runs(warehouse) == all_of(1)
    warehouse.follow()
    assert pointer_runs(warehouse) == all_of(1)


def test_the_history_lists_current_staged_past_refused_and_withdrawn_generations(
    warehouse: Warehouse,
) -> None:
    for number in (1, 2, 3):
        published(warehouse, number)
    warehouse.roll_back("r")
    made(warehouse, "tracks", 4)
    tags_of(warehouse, 4, 4, 2)
    warehouse.refuse("tracks", run_id(4), "drift")
    warehouse.refuse("tags", run_id(4), "drift 0.3")
    made(warehouse, "tracks", 5)
    tags_of(warehouse, 6, 5, 2)
    made(warehouse, "tracks", 7)
    found = {
        (entry.tables.get("tags") or entry.tables["tracks"]).run_id: (entry.state, entry.why, entry.reason)
        for entry in history.entries(warehouse)
    }
    assert found == {
        run_id(1): (State.PAST, Why.PUBLISHED, ""),
        run_id(2): (State.CURRENT, Why.PUBLISHED, ""),
        run_id(3): (State.PAST, Why.ROLLED_BACK, ""),
        run_id(4): (State.STAGED, Why.REFUSED, "drift 0.3"),
        run_id(6): (State.STAGED, Why.STAGED, ""),
        run_id(7): (State.STAGED, Why.STAGED, ""),
    }
