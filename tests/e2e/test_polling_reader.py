"""The reader of the killed nights accepts a publication, and finds each promise that is broken."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import LocalFileSystem

from tests.e2e.polling_reader import Reader
from tests.e2e.warehouse_contents import SNAPSHOTS, Place

OLD, NEW = "20261121T021500-000001", "20261122T021500-000001"
TRACKS = {OLD: ["t1", "t2"], NEW: ["t1", "t2", "t3"]}
CLUSTERS = {OLD: {"rock": 0, "jazz": 1}, NEW: {"rock": 1, "jazz": 0}}


class Catalog:
    """A folder with two runs of each table, of which the old ones are current."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for run in (OLD, NEW):
            self.write("tracks", run, [{"track_id": track} for track in TRACKS[run]])
            genres = [{"genre": name, "cluster_id": number} for name, number in CLUSTERS[run].items()]
            self.write("genre_map", run, genres)
            self.write("genre_profiles", run, [{"genre": name} for name in CLUSTERS[run]])
            self.write("tags", run, self.tags(run))
        self.become(OLD)
        self.follow(OLD)

    def tags(self, run: str) -> list[dict[str, Any]]:
        named: dict[str, Any] = {"tracks_run": run, "genre_map_version": run}
        rows: list[dict[str, Any]] = [
            {"label": "rock", "cluster_id": CLUSTERS[run]["rock"]},
            {"label": None, "cluster_id": None},
        ]
        return [rows[at % 2] | named | {"track_id": track} for at, track in enumerate(TRACKS[run])]

    def write(self, table: str, run: str, rows: list[dict[str, Any]]) -> None:
        folder = self.root / table / f"run={run}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), folder / "part-0.parquet")

    def record(self, table: str, run: str) -> dict[str, Any]:
        rows = len(CLUSTERS[run]) if "genre" in table else len(TRACKS[run])
        return {"run_id": run, "path": f"{table}/run={run}", "rows": rows}

    def become(self, run: str, **others: str) -> None:
        """Replaces the generation; `others` names tables of another run."""
        runs = dict.fromkeys(SNAPSHOTS, run) | others
        old = {"tables": {table: self.record(table, OLD) for table in SNAPSHOTS}}
        new = {"tables": {table: self.record(table, name) for table, name in runs.items()}}
        (self.root / "_generation.json").write_text(json.dumps(new | {"previous": [old]}))

    def follow(self, run: str, *tables: str) -> None:
        """Replaces the pointers of some tables, or of all."""
        for table in tables or SNAPSHOTS:
            (self.root / table / "_current.json").write_text(json.dumps(self.record(table, run)))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path)


@pytest.fixture
def reader(catalog: Catalog) -> Reader:
    """A reader that has seen the old generation."""
    reader = Reader(Place(LocalFileSystem(), str(catalog.root)))
    reader.poll()
    assert reader.seen.problems == []
    return reader


def test_a_publication_is_no_problem_at_any_moment(catalog: Catalog, reader: Reader) -> None:
    catalog.become(NEW)
    reader.poll()
    for table in SNAPSHOTS:
        catalog.follow(NEW, table)
        reader.poll()
    assert reader.seen.problems == []
    assert reader.seen.generations == [OLD, NEW]
    assert reader.seen.polls == 2 + len(SNAPSHOTS)


DAMAGES: dict[str, Callable[[Catalog], object]] = {
    "mixed: other tracks have tags": lambda it: it.become(NEW, tracks=OLD),
    "mixed: the tags belong to other tracks": lambda it: it.write(
        "tags", OLD, [row | {"tracks_run": NEW} for row in it.tags(OLD)]
    ),
    "mixed: the tags belong to another genre map": lambda it: it.become(NEW, genre_map=OLD),
    "mixed: the tags have other clusters": lambda it: it.write(
        "tags", OLD, [row | {"cluster_id": 7} for row in it.tags(OLD)]
    ),
    "mixed: other profiles": lambda it: it.become(NEW, genre_profiles=OLD),
    "which no generation has": lambda it: it.follow(NEW, "tags"),
    "the rows of tracks/.* have changed": lambda it: it.write(
        "tracks", OLD, [{"track_id": track} for track in ("t2", "t1")]
    ),
    "has 3 rows; its record says 2": lambda it: it.write("genre_profiles", OLD, [{"genre": "rock"}] * 3),
    "FileNotFoundError": lambda it: shutil.rmtree(it.root / "genre_map" / f"run={OLD}"),
    "Failed to open local file .*_current.json": lambda it: (it.root / "tags" / "_current.json").unlink(),
    "JSONDecodeError": lambda it: (it.root / "_generation.json").write_text('{"tables": {'),
}


@pytest.mark.parametrize("problem", DAMAGES)
def test_each_broken_promise_is_found(catalog: Catalog, reader: Reader, problem: str) -> None:
    DAMAGES[problem](catalog)
    reader.poll()
    assert any(re.search(problem, found) for found in reader.seen.problems), reader.seen.problems


def test_a_return_to_the_old_generation_is_found(catalog: Catalog, reader: Reader) -> None:
    for run in (NEW, OLD):
        catalog.become(run)
        reader.poll()
    assert reader.seen.problems == [f"_generation.json went back from run {NEW} to {OLD}"]
    assert reader.seen.generations == [OLD, NEW, OLD]
