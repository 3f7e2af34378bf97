"""The generations of a warehouse as a list: what is current, staged or past, and why."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from genremill.infra.errors import DamagedRecord
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Generation, Snapshot, Warehouse
from genremill.jobs.generations.members import generation_of, recorded
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES


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
    run_id: str
    """The run that published it or made its newest table; runs have an order, and clocks may be wrong."""
    tables: dict[str, Snapshot]
    reason: str = ""
    """Why it was refused."""


def entries(warehouse: Warehouse) -> list[Entry]:
    """The generations of a warehouse, newest first; runs that were staged and removed are not listed."""
    found = [*_published(warehouse), *_unpublished(warehouse)]
    return sorted(found, key=lambda entry: (entry.run_id, entry.state is State.STAGED), reverse=True)


def _published(warehouse: Warehouse) -> Iterator[Entry]:
    """The current, the earlier and the withdrawn generations."""
    now = recorded(warehouse)
    if now is None:
        current = warehouse.all_current(*SNAPSHOT_TABLES)
        if current:
            tables = {name: each.snapshot for name, each in current.items()}
            last = max(current.values(), key=lambda each: each.snapshot.run_id)
            yield Entry(State.CURRENT, Why.PUBLISHED, last.published_at, last.snapshot.run_id, tables)
        return
    yield _of(now, State.CURRENT)
    yield from (_of(each, State.PAST) for each in now.previous)
    yield from (_of(each, State.PAST, Why.ROLLED_BACK) for each in now.withdrawn)


def _of(generation: Generation, state: State, why: Why = Why.PUBLISHED) -> Entry:
    return Entry(state, why, generation.published_at, generation.published_by, generation.tables)


def _unpublished(warehouse: Warehouse) -> Iterator[Entry]:
    """Tags that were never current with what they were made from, and newer snapshots without tags."""
    current, last = warehouse.current("tags"), warehouse.last_published("tags")
    known = (current.snapshot, *current.previous, *current.withdrawn) if current else ()
    published = {run.run_id for run in known}
    listed = set()
    for tags in warehouse.runs("tags"):
        if tags.run_id not in published:
            state = State.STAGED if tags.run_id > last else State.PAST
            tables, refusal = _tables(warehouse, tags), warehouse.refusal("tags", tags.run_id)
            listed |= {(name, run.run_id) for name, run in tables.items()}
            if refusal:
                yield Entry(state, Why.REFUSED, refusal.refused_at, tags.run_id, tables, refusal.why)
            else:
                yield Entry(state, Why.STAGED, tags.written_at, tags.run_id, tables)
    now = {name: each.snapshot.run_id for name, each in warehouse.all_current(*SNAPSHOT_TABLES).items()}
    newest = {name: run for name in SNAPSHOT_TABLES if name != "tags" and (run := warehouse.newest(name))}
    waiting = {
        name: run
        for name, run in newest.items()
        if run.run_id != now.get(name) and (name, run.run_id) not in listed
    }
    if waiting:
        last_run = max(waiting.values(), key=lambda run: run.run_id)
        yield Entry(State.STAGED, Why.STAGED, last_run.written_at, last_run.run_id, waiting)


def _tables(warehouse: Warehouse, tags: Snapshot) -> dict[str, Snapshot]:
    """What belongs to tags; the tags alone if a record of that is damaged."""
    try:
        return generation_of(warehouse, tags)
    except DamagedRecord as err:
        LOGGER.warning("skipping a damaged record: %s", err)
        return {"tags": tags}
