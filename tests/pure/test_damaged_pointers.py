"""A damaged pointer is one error that names the file and the way out, which works."""

import json
from pathlib import Path

import pytest

from genremill.infra import records, storage
from genremill.infra.warehouse import Current, CurrentGeneration, Generation, Snapshot, Warehouse
from genremill.jobs import cli, publish
from genremill.jobs.generations import members
from tests.pure.damaged_cases import OUTSIDE, damaged_texts, put, with_values
from tests.pure.generation_cases import TABLES, published, run_id

TIME = "2026-01-01T00:00:00Z"
SNAPSHOT = Snapshot("r1", "tags/run=r1", 1, "hash", {"from": "x"}, "0.1.0", TIME, checked=True)
CURRENT = CurrentGeneration(TIME, "r1", {"tags": SNAPSHOT}, (Generation(TIME, "r0", {"tags": SNAPSHOT}),))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse.at(str(tmp_path / "warehouse"))


def of_tags(**fields: object) -> dict[str, object]:
    snapshot: dict[str, object] = records.to_builtins(SNAPSHOT)
    return {"tags": snapshot | fields}


GENERATIONS = [
    *damaged_texts(CURRENT, "published_at"),
    *with_values(CURRENT, "tables", {}, of_tags(rows=-1), of_tags(run_id="../../x")),
    *with_values(CURRENT, "tables", *(of_tags(path=path) for path in OUTSIDE)),
    *with_values(
        CURRENT,
        "tables",
        *(of_tags() | {name: vars(SNAPSHOT)} for name in ("../tracks", "/etc", "..", "a/b")),
    ),
]
POINTERS = [
    *damaged_texts(Current(TIME, (), (), SNAPSHOT), "published_at"),
    *with_values(SNAPSHOT, "path", *OUTSIDE),
]


def flat(text: bytes) -> bytes:
    """The text of a pointer file, which has the fields of its snapshot at the top level."""
    try:
        fields = json.loads(text)
        return json.dumps(fields.pop("snapshot") | fields).encode()
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("_generation.json", case.values[0]) for case in GENERATIONS),
        *(("tags/_current.json", flat(case.values[0])) for case in POINTERS),
    ],
)
def test_a_damaged_pointer_is_one_line_that_names_the_file_and_the_way_out(
    warehouse: Warehouse, name: str, text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    put(warehouse, name, text)
    for command in ("tables", "vacuum"):
        assert cli.main([command, "--warehouse", warehouse.uri]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith(f"genremill {command}: {warehouse.path(name)} is not a valid ")
        assert "genremill publish --run RUN_ID" in error
        assert "Traceback" not in error
    left = {stored.name for stored in storage.objects(warehouse.uri)}
    assert left - {"_sequence.json", "_sequence.lock"} == {name}  # `vacuum` has taken a run id


@pytest.mark.parametrize("text", [b"", b"null", b"[" * 100_000, b'{"tables": {}}'])
def test_publishing_a_named_run_sets_a_damaged_generation_aside(warehouse: Warehouse, text: bytes) -> None:
    for number in (1, 2):
        published(warehouse, number)
    before = warehouse.generation()
    put(warehouse, "_generation.json", text)
    cfg = publish.Config(run=run_id(2))
    publish.repair(warehouse, cfg)
    assert storage.read_bytes(warehouse.path("_generation.json.damaged")) == text
    assert not publish.ready(warehouse, cfg).is_interrupted
    members.upgrade(warehouse)
    after = warehouse.generation()
    assert before is not None
    assert after is not None
    assert after.tables == before.tables
    assert [each.tables for each in after.previous] == [each.tables for each in before.previous]


def test_publishing_a_named_run_sets_damaged_pointers_aside(warehouse: Warehouse) -> None:
    tags = published(warehouse, 1)
    put(warehouse, "_generation.json", b"{")
    for table in TABLES:
        put(warehouse, f"{table}/_current.json", b"")
    publish.repair(warehouse, publish.Config(run=tags.run_id))
    assert warehouse.all_current(*TABLES) == {}
    warehouse.publish_together(members.generation_of(warehouse, tags), "r", None)
    assert {*warehouse.all_current(*TABLES)} == {*TABLES}


def test_only_a_complete_run_that_the_user_names_repairs_and_healthy_files_stay(warehouse: Warehouse) -> None:
    published(warehouse, 1)
    names = {stored.name for stored in storage.objects(warehouse.uri)}
    publish.repair(warehouse, publish.Config(run=run_id(1)))
    assert {stored.name for stored in storage.objects(warehouse.uri)} == names
    put(warehouse, "_generation.json", b"{")
    flags = ["publish", "--warehouse", warehouse.uri]
    for more in ([], ["--run", run_id(9)], ["--run", run_id(1), "--dry-run"], ["--rollback"]):
        assert cli.main([*flags, *more]) == 2
        assert {stored.name for stored in storage.objects(warehouse.uri)} == names
