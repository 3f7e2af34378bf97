"""What can be removed from a warehouse because no reader needs it."""

import re
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.warehouse import Warehouse
from genremill.jobs.retention.kept_runs import Kept, kept, record_text
from genremill.jobs.retention.listing import Listing
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES

_UNCOMMITTED = re.compile(r"(_temporary|__magic[^/]*|_temporary[^/]*|\.spark-staging[^/]*)$")
"""Folders in which Spark's committers keep uncommitted output."""
_UNFINISHED = re.compile(r"\.[^/]+\.[0-9a-f]{32}")
"""Files that a killed process was writing."""
ABANDONED = "left by a job that is gone"


@dataclass(frozen=True)
class Removal:
    """One folder, file or upload that can be removed."""

    why: str
    path: str
    """Relative to the warehouse."""
    objects: int = 0
    size_bytes: int = 0
    upload: Upload | None = None

    @classmethod
    def of(cls, why: str, path: str, objects: list[StoredObject]) -> "Removal":
        """The removal of a folder with these objects."""
        return cls(why, path, len(objects), sum(stored.size for stored in objects))

    def as_json(self) -> dict[str, object]:
        """The removal in the JSON document of `vacuum`."""
        return {name: value for name, value in vars(self).items() if name != "upload"}

    def remove(self, warehouse: Warehouse) -> None:
        """Removes the folder, file or upload."""
        LOGGER.info("removing %s: %s", self.path, self.why)
        path = warehouse.path(self.path)
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
    stay = kept(listing, keep_runs)
    models = _old_models(listing, stay)
    removals = [
        *_old_runs(listing, stay),
        *models,
        *_old_reports(listing, stay, models, keep_runs),
        *_old_studies(listing, keep_runs),
        *_abandoned(listing),
    ]
    inside = tuple(removal.path + "/" for removal in removals)
    outermost = {removal.path: removal for removal in removals if not removal.path.startswith(inside)}
    uploads = [
        Removal("upload that nobody ended", upload.name, upload=upload)
        for upload in listing.uploads
        if listing.is_idle(upload.name, [upload.begun_s])
    ]
    return [*(outermost[path] for path in sorted(outermost)), *uploads]


def _idle(listing: Listing, folders: dict[str, list[StoredObject]]) -> dict[str, list[StoredObject]]:
    """The folders that no running job writes to and that are old enough."""
    return {
        path: objects
        for path, objects in folders.items()
        if listing.is_idle(path, [stored.modified_s for stored in objects])
    }


def _old_runs(listing: Listing, stay: Kept) -> list[Removal]:
    folders = listing.folders("|".join(SNAPSHOT_TABLES), "run=.+")
    whole = listing.whole(folders, "_run.json")
    return [
        Removal.of("run beyond --keep-runs" if path in whole else "run that never ended", path, objects)
        for path, objects in _idle(listing, folders).items()
        if path.partition("/run=")[2] not in stay.runs[path.partition("/")[0]]
    ]


def _old_models(listing: Listing, stay: Kept) -> list[Removal]:
    folders = _idle(listing, listing.folders("models", "[^/]+", "[^/]+"))
    return [
        Removal.of(
            "model beyond --keep-runs" if path in stay.whole_models else "model that never ended",
            path,
            objects,
        )
        for path, objects in folders.items()
        if path not in stay.models
    ]


def _old_reports(listing: Listing, stay: Kept, models: list[Removal], keep_runs: int) -> list[Removal]:
    """Reports on models that no longer exist, without the newest reports."""
    folders = listing.folders("reports", "[^/]+")
    old = _idle(listing, {path: folders[path] for path in sorted(folders)[:-keep_runs]})
    remaining = stay.whole_models - {removal.path for removal in models}
    return [
        Removal.of("report beyond --keep-runs", path, objects)
        for path, objects in old.items()
        if f"models/{record_text(listing, f'{path}/metrics.json', 'model_version')}" not in remaining
    ]


def _old_studies(listing: Listing, keep_runs: int) -> list[Removal]:
    """All studies but those that were written to last."""
    folders = listing.folders("studies", "[^/]+")
    by_age = sorted(folders, key=lambda path: max(stored.modified_s for stored in folders[path]))
    old = _idle(listing, {path: folders[path] for path in by_age[:-keep_runs]})
    return [Removal.of("study beyond --keep-runs", path, objects) for path, objects in old.items()]


def _abandoned(listing: Listing) -> list[Removal]:
    """What killed jobs left behind: scratch space, checkpoints, uncommitted output, half-written files."""
    folders = listing.folders("_tmp|_checkpoints", "[^/]+")
    for stored in listing.objects:
        names = stored.name.split("/")
        for depth, name in enumerate(names[:-1], start=1):
            if _UNCOMMITTED.match(name):
                folders.setdefault("/".join(names[:depth]), []).append(stored)
                break
    files = [
        Removal.of(ABANDONED, stored.name, [stored])
        for stored in listing.objects
        if _UNFINISHED.fullmatch(stored.name.rpartition("/")[2]) and stored.modified_s < listing.before_s
    ]
    return [Removal.of(ABANDONED, path, objects) for path, objects in _idle(listing, folders).items()] + files
