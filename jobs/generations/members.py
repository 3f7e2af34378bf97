"""Which snapshots become current together with tags, and the upgrade of a warehouse without generations."""

from collections.abc import Iterable, Iterator

from genremill.infra.errors import DamagedRecord
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import CurrentGeneration, Generation, Snapshot, Warehouse
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails


def named_by(warehouse: Warehouse, tags: Snapshot) -> dict[str, Snapshot]:
    """The tags, and the runs that they name: the tracks that were tagged, and the genre map of the model.

    Runs that were removed, and the genre map of a model of another warehouse, are missing.
    """
    details = TagsDetails.of(tags)
    named = {
        "tracks": details.tracks_run,
        "genre_profiles": details.genre_map_version,
        "genre_map": details.genre_map_version,
    }
    found = {table: warehouse.finished(table, run_id) for table, run_id in named.items() if run_id}
    return {table: snapshot for table, snapshot in found.items() if snapshot} | {"tags": tags}


def generation_of(warehouse: Warehouse, tags: Snapshot) -> dict[str, Snapshot]:
    """The snapshots that become current together with tags, by table: those that they were made from.

    If the tags name no genre map, the newest one becomes current with them. Tags always name their tracks.
    """
    found: dict[str, Snapshot | None] = {**named_by(warehouse, tags)}
    if not TagsDetails.of(tags).genre_map_version:
        found["genre_map"] = warehouse.newest("genre_map")
    if genre_map := found.get("genre_map"):
        found["genre_profiles"] = warehouse.finished("genre_profiles", genre_map.run_id)
    return {table: snapshot for table in SNAPSHOT_TABLES if (snapshot := found.get(table))}


def recorded(warehouse: Warehouse) -> CurrentGeneration | None:
    """The current generation and its history. Version 0.1.0 wrote none; they are then made from the pointers.

    None if no tags are current.
    """
    tags = warehouse.current("tags")
    if (generation := warehouse.generation()) or tags is None:
        return generation

    return CurrentGeneration(
        tags.published_at,
        tags.snapshot.run_id,
        generation_of(warehouse, tags.snapshot),
        previous=tuple(_readable(warehouse, tags.previous)),
        withdrawn=tuple(_readable(warehouse, tags.withdrawn)),
    )


def _readable(warehouse: Warehouse, past: Iterable[Snapshot]) -> Iterator[Generation]:
    """The generations of past tags; those with a damaged record are skipped with a warning."""
    for run in past:
        try:
            yield Generation(run.written_at, run.run_id, generation_of(warehouse, run))
        except DamagedRecord as err:
            LOGGER.warning("skipping a damaged record: %s", err)


def upgrade(warehouse: Warehouse) -> None:
    """Writes the record of the generations, if version 0.1.0 published the current tags without one."""
    if warehouse.generation() is None and (generation := recorded(warehouse)):
        warehouse.start_generations(generation)
