"""What can be removed from a warehouse because no reader needs it."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genremill.infra import records, storage
from genremill.infra.errors import DamagedRecord, StorageError
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.warehouse import POINTER, Snapshot, Warehouse
from genremill.jobs.lakehouse import following, tag_changes
from genremill.jobs.retention.listing import Listing
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails

_UNCOMMITTED = re.compile(r"(__magic[^/]*|_temporary[^/]*|\.spark-staging[^/]*)$")
"""Folders in which Spark's committers keep uncommitted output."""
_UNFINISHED = re.compile(r"\.[^/]+\.[0-9a-f]{32}")
"""Files that a killed process was writing."""
ABANDONED = "left by a job that is gone"


@dataclass(frozen=True)
class Removal:
    """One folder, file or upload that can be removed; its path is relative to the warehouse."""

    why: str
    path: str
    objects: int = 0
    size_bytes: int = 0
    upload: Upload | None = None
    error: StorageError | None = None
    """Why something is left."""

    @classmethod
    def of(cls, why: str, path: str, objects: list[StoredObject]) -> "Removal":
        """The removal of a folder with these objects."""
        return cls(why, path, len(objects), sum(stored.size for stored in objects))

    def as_json(self) -> dict[str, object]:
        """The removal in the JSON document of `vacuum`."""
        shown = {name: value for name, value in vars(self).items() if name not in ("upload", "error")}
        return shown | ({"error": str(self.error)} if self.error else {})

    def removed(self, warehouse: Warehouse) -> "Removal":
        """Removes the folder, file or upload; returns what is gone, with the error if something is left."""
        LOGGER.info("removing %s: %s", self.path, self.why)
        path = warehouse.path(self.path)
        objects, size_bytes, error = self.objects, self.size_bytes, None
        try:
            try:
                self._remove(warehouse, path)
            finally:
                objects, size_bytes = self._left(path)
        except StorageError as err:
            error = err
        if objects and error is None:
            error = StorageError(f"{path} is still there, although the storage has reported no error")
        # More may be left than was found, if another job writes at the same time.
        objects, size_bytes = max(self.objects - objects, 0), max(self.size_bytes - size_bytes, 0)
        return replace(self, objects=objects, size_bytes=size_bytes, error=error)

    def _left(self, path: str) -> tuple[int, int]:
        """How many objects and bytes of the removal are still there."""
        if self.upload is None and storage.is_object(path):
            return self.objects, self.size_bytes
        sizes = [] if self.upload else [stored.size for stored in storage.objects(path)]
        return len(sizes), sum(sizes)

    def _remove(self, warehouse: Warehouse, path: str) -> None:
        if self.upload is not None:
            storage.abort(warehouse.uri, self.upload)
        elif storage.is_object(path):
            storage.remove_object(path)
        else:
            for record in ("_run.json", "model.json"):  # first: a half-removed run must not look complete
                storage.remove_object(f"{path}/{record}")
            storage.remove(path)


def removable(listing: Listing, keep_runs: int) -> list[Removal]:
    """Everything that can be removed, sorted by path; uploads last."""
    removals = [*_unneeded(listing, keep_runs), *_abandoned(listing)]
    inside = tuple(removal.path + "/" for removal in removals)
    outermost = {removal.path: removal for removal in removals if not removal.path.startswith(inside)}
    uploads = [
        Removal("upload that nobody ended", upload.name, upload=upload)
        for upload in listing.uploads
        if listing.is_idle(upload.name, [upload.begun_s])
    ]
    return [*(outermost[path] for path in sorted(outermost)), *uploads]


def _unneeded(listing: Listing, keep_runs: int) -> list[Removal]:
    """Runs, models, reports and studies beyond the newest, unless something that is kept needs them."""
    runs = listing.folders("|".join(SNAPSHOT_TABLES), "run=[^/]+")
    changes = listing.folders(tag_changes.NAME, "run=[^/]+")
    models = listing.folders("models", "[^/]+", "[^/]+")
    reports, studies = listing.folders("reports", "[^/]+"), listing.folders("studies", "[^/]+")
    whole_models = _whole(models, "model.json")
    whole_runs = _whole(runs, "_run.json")
    kept = _kept_runs_and_models(listing, keep_runs, whole_runs, whole_models)
    old_models = _beyond(listing, "model", models, whole_models, kept)
    remaining = whole_models - {removal.path for removal in old_models}
    by_time = sorted(reports)
    models_of = {
        path: _record_text(listing, f"{path}/metrics.json", "model_version") for path in by_time[:-keep_runs]
    }
    on_models = [path for path, model in models_of.items() if f"models/{model}" in remaining]
    by_age = sorted(studies, key=lambda path: max(stored.modified_s for stored in studies[path]))
    return [
        *_beyond(listing, "run", runs, whole_runs, kept),
        *_beyond(listing, "run", changes, _whole(changes, "_run.json"), _kept_changes(listing, keep_runs)),
        *old_models,
        *_beyond(listing, "report", reports, set(reports), {*by_time[-keep_runs:], *on_models}),
        *_beyond(listing, "study", studies, set(studies), set(by_age[-keep_runs:])),
    ]


def _kept_changes(listing: Listing, keep_runs: int) -> set[str]:
    """The newest runs of `tag_changes`, and those that are needed for commits in other formats."""
    name, warehouse = tag_changes.NAME, listing.warehouse
    kept = {*warehouse.run_ids(name)[-keep_runs:], *following.retained(warehouse, name)}
    return {f"{name}/run={run_id}" for run_id in kept}


def _whole(folders: dict[str, list[StoredObject]], record: str) -> set[str]:
    """The folders that contain their record, which a job writes last."""
    return {path for path, objects in folders.items() if f"{path}/{record}" in {o.name for o in objects}}


def _beyond(
    listing: Listing, kind: str, folders: dict[str, list[StoredObject]], whole: set[str], kept: set[str]
) -> list[Removal]:
    """The removals of the idle folders that are not kept."""
    return [
        Removal.of(f"{kind} {'beyond --keep-runs' if path in whole else 'that never ended'}", path, objects)
        for path, objects in listing.idle(folders).items()
        if path not in kept
    ]


def _kept_runs_and_models(
    listing: Listing, keep_runs: int, whole_runs: set[str], whole_models: set[str]
) -> set[str]:
    """The newest runs and models, recently current runs, and the runs and models that these depend on."""
    runs = {table: listing.warehouse.runs(table) for table in SNAPSHOT_TABLES}
    kept = {
        table: _newest(table, runs[table][-keep_runs:], whole_runs) | _in_use(listing, table, keep_runs)
        for table in SNAPSHOT_TABLES
    }
    for table in SNAPSHOT_TABLES:
        kept[table] |= following.retained(listing.warehouse, table)
    tags = list(_details(listing, runs["tags"], kept["tags"]))
    models = {f"models/{tag.model_version}" for tag in tags} & whole_models
    for _, versions in itertools.groupby(sorted(whole_models), key=lambda path: path.rpartition("/")[0]):
        models |= set(list(versions)[-keep_runs:])
    # `evaluate` needs the tracks that a model was trained on.
    trained_on = {_record_text(listing, f"{path}/model.json", "snapshots", "tracks") for path in models}
    kept["tracks"] |= trained_on | {tag.tracks_run for tag in tags}
    # Tags become current with the genre map of their model and its profiles.
    maps = {_record_text(listing, f"{path}/model.json", "snapshots", "genre_map") for path in models}
    kept["genre_map"] |= maps | {tag.genre_map_version or "" for tag in tags}
    kept["genre_profiles"] |= kept["genre_map"]
    return models | {f"{table}/run={run_id}" for table, run_ids in kept.items() for run_id in run_ids}


def _newest(table: str, newest: Sequence[Snapshot], whole_runs: set[str]) -> set[str]:
    """The newest runs that can be read, and the runs with a damaged record that are not older."""
    since = min((run.run_id for run in newest), default="")
    prefix = f"{table}/run="
    whole = {path.removeprefix(prefix) for path in whole_runs if path.startswith(prefix)}
    return {run_id for run_id in whole if run_id >= since}


def _details(listing: Listing, runs: Sequence[Snapshot], run_ids: set[str]) -> Iterator[TagsDetails]:
    """The details of runs of tags, from the pointer if it has them; damaged records are skipped."""
    current = listing.warehouse.current("tags")
    known = (current.snapshot, *current.previous, *current.withdrawn) if current else ()
    for run in {run.run_id: run for run in (*runs, *known)}.values():
        try:
            if run.run_id in run_ids:
                yield TagsDetails.of(run)
        except DamagedRecord as err:
            if current and run == current.snapshot:
                raise
            LOGGER.warning("skipping a damaged record: %s", err)


def _in_use(listing: Listing, table: str, keep_runs: int) -> set[str]:
    """The run that jobs build on, the newest runs that were current, and those replaced after `before_s`."""
    current, newest = listing.warehouse.current(table), listing.warehouse.newest(table)
    if current is None or newest is None:
        return {newest.run_id} if newest else set()
    # The clock of the storage. When a run was published is unknown, except that it was complete by then.
    replaced_by = (f"{table}/{POINTER}", *(f"{run.path}/_run.json" for run in current.previous))
    recent = [
        run
        for run, name in zip(current.previous, replaced_by, strict=False)
        if listing.modified_s.get(name, listing.now_s) >= listing.before_s
    ]
    return {run.run_id for run in [newest, *(current.snapshot, *current.previous)[:keep_runs], *recent]}


def _record_text(listing: Listing, name: str, *keys: str) -> str:
    """A text of a JSON record, found by its keys; empty if there is none, with a warning if it is damaged."""
    uri = listing.warehouse.path(name)
    try:
        value: Any = records.json_object(storage.read_bytes(uri), uri) if storage.is_object(uri) else {}
        for key in keys:
            value = value.get(key, {})
        return str(value or "")
    except (DamagedRecord, AttributeError) as err:
        LOGGER.warning("%s is damaged and is ignored: %s", uri, err)
        return ""


def _abandoned(listing: Listing) -> list[Removal]:
    """What killed jobs left behind: scratch space, checkpoints, uncommitted output, half-written files."""
    folders = listing.folders("_tmp|_checkpoints", "[^/]+")
    for stored in listing.objects:
        names = stored.name.split("/")
        for depth, name in enumerate(names[:-1], start=1):
            if _UNCOMMITTED.match(name):
                folders.setdefault("/".join(names[:depth]), []).append(stored)
                break
    removals = [Removal.of(ABANDONED, path, objects) for path, objects in listing.idle(folders).items()]
    return removals + [
        Removal.of(ABANDONED, stored.name, [stored])
        for stored in listing.objects
        if _UNFINISHED.fullmatch(stored.name.rpartition("/")[2]) and stored.modified_s < listing.before_s
    ]
