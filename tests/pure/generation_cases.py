"""Runs of the tables of a warehouse, without data behind their records, and their publication."""

import dataclasses

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.generations import members

TABLES = ("tracks", "genre_profiles", "genre_map", "tags")
SPLIT = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}
DETAILS = {"tracks": {"features": [], "split": SPLIT}}


def run_id(number: int) -> str:
    return f"20260101T00000{number}-000000"


def made(warehouse: Warehouse, table: str, number: int, **details: str) -> Snapshot:
    """A complete run of a table, with the details that the jobs read."""
    run = run_id(number)
    snapshot = Snapshot(
        run,
        f"{table}/run={run}",
        number,
        "hash",
        {"from": f"{table}{number}"},
        "0.1.0",
        f"2026-01-01T00:00:0{number}Z",
        DETAILS.get(table, {}) | details,
        checked=True,
    )
    warehouse.finish(table, snapshot)
    return snapshot


def tags_of(warehouse: Warehouse, number: int, tracks: int, genre_map: int | None = None) -> Snapshot:
    """Staged tags of a run of tracks, by a model that was trained with a genre map."""
    version = {} if genre_map is None else {"genre_map_version": run_id(genre_map)}
    return made(warehouse, "tags", number, model_version="m/1", tracks_run=run_id(tracks), **version)


def published(warehouse: Warehouse, number: int, inputs: dict[str, str] | None = None) -> Snapshot:
    """Publishes new tracks, genre map and tags together. The tracks were made from `inputs`."""
    tracks = made(warehouse, "tracks", number)
    if inputs is not None:
        warehouse.finish("tracks", dataclasses.replace(tracks, inputs=inputs))
    for table in ("genre_profiles", "genre_map"):
        made(warehouse, table, number)
    tags = tags_of(warehouse, number, number, number)
    make_current(warehouse, tags)
    return tags


def make_current(warehouse: Warehouse, tags: Snapshot) -> None:
    warehouse.publish_together(
        members.generation_of(warehouse, tags), "r", audited_against=warehouse.current("tags")
    )
