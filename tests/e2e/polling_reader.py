"""A reader that polls a warehouse as the documentation says, and checks what readers are promised.

python -m tests.e2e.polling_reader URI    # polls until its stdin ends, then prints what it has seen
"""

import dataclasses
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from genremill.infra import storage
from tests.e2e.warehouse_contents import SNAPSHOTS, Place, Row

PAUSE_S = 0.15
END_S = 60.0


@dataclass
class Seen:
    """What a reader has seen."""

    polls: int = 0
    generations: list[str] = field(default_factory=list)
    """The runs of tags in the order in which they became current."""
    problems: list[str] = field(default_factory=list)


@dataclass
class Reader:
    """Polls the pointers, the generation and the rows of a warehouse that has current tags."""

    place: Place
    seen: Seen = field(default_factory=Seen)
    _newest: dict[str, str] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def poll(self) -> None:
        """Reads everything once; any error is a problem too."""
        self.seen.polls += 1
        try:
            self.seen.problems += self._problems()
        except Exception as err:  # the reader looks for bugs
            self.seen.problems.append(f"{type(err).__name__}: {err}")

    def _problems(self) -> Iterator[str]:
        pointers = {table: self._json(f"{table}/_current.json") for table in SNAPSHOTS}
        generation = self._json("_generation.json")
        tables = generation["tables"]
        if [tables["tags"]["run_id"]] != self.seen.generations[-1:]:
            self.seen.generations.append(tables["tags"]["run_id"])
        yield from self._back("_generation.json", tables["tags"])
        for table, pointer in pointers.items():
            yield from self._back(table, pointer)
            yield from _unknown(table, pointer, generation)
        records = {record["path"]: record for record in (*pointers.values(), *tables.values())}
        rows = {path: self.place.rows(path) for path in records}
        for path, record in records.items():
            yield from self._changed(record, rows[path])
        yield from _mixed(tables, {table: rows[tables[table]["path"]] for table in SNAPSHOTS})

    def _json(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self.place.read(path)))

    def _back(self, name: str, record: dict[str, Any]) -> Iterator[str]:
        """Nobody rolls back, so no earlier run becomes current again."""
        before = self._newest.setdefault(name, record["run_id"])
        if record["run_id"] < before:
            yield f"{name} went back from run {before} to {record['run_id']}"
        self._newest[name] = record["run_id"]

    def _changed(self, record: dict[str, Any], rows: list[Row]) -> Iterator[str]:
        """A published folder has the recorded number of rows, and never changes."""
        path, digest = record["path"], sha256(repr(rows).encode()).hexdigest()
        if len(rows) != record["rows"]:
            yield f"{path} has {len(rows)} rows; its record says {record['rows']}"
        if digest != self._digests.setdefault(path, digest):
            yield f"the rows of {path} have changed"


def _unknown(table: str, pointer: dict[str, Any], generation: dict[str, Any]) -> Iterator[str]:
    """A pointer follows the generation: it never names a run before the generation does."""
    known = [each["tables"].get(table, {}).get("path") for each in (generation, *generation["previous"])]
    if pointer["path"] not in known:
        yield f"{table}/_current.json names {pointer['path']}, which no generation has"


def _mixed(tables: dict[str, Any], rows: dict[str, list[Row]]) -> Iterator[str]:
    """The tags of a generation belong to its tracks and to its genre map."""
    runs = {table: record["run_id"] for table, record in tables.items()}
    tags, clusters = rows["tags"], {row["genre"]: row["cluster_id"] for row in rows["genre_map"]}
    if {row["track_id"] for row in tags} != {row["track_id"] for row in rows["tracks"]}:
        yield f"mixed: other tracks have tags than the tracks of {runs}"
    if {row["tracks_run"] for row in tags} != {runs["tracks"]}:
        yield f"mixed: the tags belong to other tracks than those of {runs}"
    if {row["genre_map_version"] for row in tags} != {runs["genre_map"]}:
        yield f"mixed: the tags belong to another genre map than that of {runs}"
    if any(row["cluster_id"] != clusters.get(row["label"]) for row in tags):
        yield f"mixed: the tags have other clusters than the genre map of {runs}"
    if runs["genre_profiles"] != runs["genre_map"]:
        yield f"mixed: other profiles than those of the genre map in {runs}"


class RunningReader:
    """A reader in its own process, which has polled at least once."""

    def __init__(self, uri: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.polling_reader", uri],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> Seen:
        """Lets it poll once more, and returns what it has seen."""
        return Seen(**json.loads(self._process.communicate(timeout=END_S)[0]))


def main(uri: str) -> None:
    """Polls until stdin ends."""
    reader = Reader(Place(*storage.arrow(uri), uri))
    reader.poll()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        reader.poll()
    reader.poll()
    print(json.dumps(dataclasses.asdict(reader.seen)))


if __name__ == "__main__":
    main(sys.argv[1])
