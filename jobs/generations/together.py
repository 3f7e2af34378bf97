"""Which snapshots become current together with tags, and the upgrade of a warehouse without generations."""

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
