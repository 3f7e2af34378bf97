"""Which snapshots become current together with tags, and the generations of a warehouse as a list."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from genremill.infra.warehouse import CurrentGeneration, Generation, Snapshot, Warehouse
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails


def made_with(warehouse: Warehouse, tags: Snapshot) -> dict[str, Snapshot]:
    """The snapshots that become current together with tags, by table; without runs that were removed.

    These are the tracks that were tagged and the genre map that the model was trained with. A table that tags
    do not name, or a genre map of another warehouse, stands with its newest run.
    """
    details = TagsDetails.of(tags)
    genre_map = warehouse.finished("genre_map", details.genre_map_version or "") or warehouse.newest(
        "genre_map"
    )
    runs = {
        "tracks": warehouse.finished("tracks", details.tracks_run),
        "genre_profiles": warehouse.finished("genre_profiles", genre_map.run_id) if genre_map else None,
        "genre_map": genre_map,
        "tags": tags,
    }
    found = {name: runs[name] if name in runs else warehouse.newest(name) for name in SNAPSHOT_TABLES}
    return {name: snapshot for name, snapshot in found.items() if snapshot is not None}


def recorded(warehouse: Warehouse) -> CurrentGeneration | None:
    """The current generation and its history; those of version 0.1.0 are made from the pointers.

    None if no tags are current.
    """
    tags = warehouse.current("tags")
    if (generation := warehouse.generation()) or tags is None:
        return generation

    def of(run: Snapshot) -> Generation:
        return Generation(run.written_at, run.run_id, made_with(warehouse, run))

    return CurrentGeneration(
        tags.published_at,
        tags.snapshot.run_id,
        made_with(warehouse, tags.snapshot),
        previous=tuple(map(of, tags.previous)),
        withdrawn=tuple(map(of, tags.withdrawn)),
    )


def upgrade(warehouse: Warehouse) -> None:
    """Writes the record of the generations, if version 0.1.0 published the current tags without one."""
    if warehouse.generation() is None and (generation := recorded(warehouse)):
        warehouse.start_generations(generation)


class State(enum.StrEnum):
    """Where a generation stands: what readers get, what they may get next, or what they once got."""

    CURRENT = "current"
    STAGED = "staged"
    PAST = "past"


class Why(enum.StrEnum):
    """The last event of a generation."""

    PUBLISHED = "published"
    ROLLED_BACK = "rolled back"
    STAGED = "staged"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """A generation in the history of a warehouse."""

    state: State
    why: Why
    time: str
    tables: dict[str, Snapshot]
    reason: str = ""
    """Why it was refused."""


def history(warehouse: Warehouse) -> list[Entry]:
    """The generations of a warehouse, newest first; runs that were staged and removed are not listed."""
    entries = [*_published(warehouse), *_unpublished(warehouse)]
    entries.sort(key=lambda entry: (entry.time, entry.state is State.STAGED), reverse=True)
    return entries


def _published(warehouse: Warehouse) -> Iterator[Entry]:
    """The current, the earlier and the withdrawn generations."""
    now = recorded(warehouse)
    if now is None:
        current = warehouse.all_current(*SNAPSHOT_TABLES)
        if current:
            time = max(each.published_at for each in current.values())
            tables = {name: each.snapshot for name, each in current.items()}
            yield Entry(State.CURRENT, Why.PUBLISHED, time, tables)
        return
    yield Entry(State.CURRENT, Why.PUBLISHED, now.published_at, now.tables)
    for each in now.previous:
        yield Entry(State.PAST, Why.PUBLISHED, each.published_at, each.tables)
    for each in now.withdrawn:
        yield Entry(State.PAST, Why.ROLLED_BACK, each.published_at, each.tables)


def _unpublished(warehouse: Warehouse) -> Iterator[Entry]:
    """Tags that were never current with what they were made from, and newer snapshots without tags."""
    current, last = warehouse.current("tags"), warehouse.last_published("tags")
    known = (current.snapshot, *current.previous, *current.withdrawn) if current else ()
    published = {run.run_id for run in known}
    listed = set()
    for tags in warehouse.runs("tags"):
        if tags.run_id not in published:
            state = State.STAGED if tags.run_id > last else State.PAST
            tables, refusal = made_with(warehouse, tags), warehouse.refusal("tags", tags.run_id)
            listed |= {(name, run.run_id) for name, run in tables.items()}
            if refusal:
                yield Entry(state, Why.REFUSED, refusal.refused_at, tables, refusal.why)
            else:
                yield Entry(state, Why.STAGED, tags.written_at, tables)
    now = {name: each.snapshot.run_id for name, each in warehouse.all_current(*SNAPSHOT_TABLES).items()}
    newest = {name: run for name in SNAPSHOT_TABLES if name != "tags" and (run := warehouse.newest(name))}
    waiting = {
        name: run
        for name, run in newest.items()
        if run.run_id != now.get(name) and (name, run.run_id) not in listed
    }
    if waiting:
        yield Entry(State.STAGED, Why.STAGED, max(run.written_at for run in waiting.values()), waiting)
