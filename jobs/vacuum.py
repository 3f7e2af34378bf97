"""Removes old runs, leftovers of killed jobs and unfinished uploads.

Removes runs of snapshot tables, models, reports and studies beyond --keep-runs, abandoned folders and
abandoned uploads. Keeps features and rejects, which every run reads whole. Reads the file list of the
warehouse and its pointer files. Starts no Spark.

    genremill vacuum --warehouse s3a://music/warehouse --yes
"""

import dataclasses
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genremill.infra import heartbeat, storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.snapshot_details import TagsDetails
from genremill.jobs.tables import TABLES

_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
_DEBRIS = re.compile(r"(_temporary|__magic[^/]*|_temporary[^/]*|\.spark-staging[^/]*)$")
"""Folders in which Spark's committers keep what a job has not committed."""
_UNFINISHED = re.compile(r"\.[^/]+\.[0-9a-f]{32}")
"""Files that a killed process was writing."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How much is kept."""

    keep_runs: int = 14
    """Number of newest runs of each table, versions of each model, reports and studies to keep."""
    min_age_hours: float = 24.0
    """Keep everything younger than this many hours, and runs that were current within that time."""
    yes: bool = False
    """Remove the files; without this flag, they are only listed."""


@dataclass(frozen=True)
class Removal:
    """One folder, file or upload that nobody needs."""

    why: str
    path: str
    """From the warehouse's URI on."""
    objects: int = 0
    size_bytes: int = 0
    upload: Upload | None = None


@dataclass(frozen=True)
class Listing:
    """All that lies in a warehouse, and which of its jobs are running."""

    warehouse: Warehouse
    objects: tuple[StoredObject, ...]
    uploads: tuple[Upload, ...]
    now_s: float

    @classmethod
    def of(cls, warehouse: Warehouse) -> "Listing":
        """What lies in a warehouse now."""
        uploads = storage.uploads(warehouse.uri)  # first: one that ends meanwhile is an object by then
        return cls(warehouse, tuple(storage.objects(warehouse.uri)), tuple(uploads), time.time())

    def folders(self, *pattern: str) -> dict[str, list[StoredObject]]:
        """Objects by folder, for the folders whose names match regular expressions one by one."""
        matches = [re.compile(one) for one in pattern]
        found = defaultdict(list)
        for one in self.objects:
            names = one.name.split("/")
            if len(names) > len(matches) and all(
                match.fullmatch(name) for match, name in zip(matches, names, strict=False)
            ):
                found["/".join(names[: len(matches)])].append(one)
        return dict(found)

    def running(self) -> set[str]:
        """Ids of the runs that have given a sign of life lately."""
        fresh = self.now_s - heartbeat.ALIVE_S
        signs = [one for one in self.objects if re.fullmatch(f"_tmp/[^/]+/{heartbeat.NAME}", one.name)]
        return {one.name.split("/")[1] for one in signs if one.modified_s > fresh}

    def is_idle(self, path: str, modified_s: Iterable[float], before_s: float) -> bool:
        """Whether nothing of a path was written since a time, and no running job's id is in it."""
        return max(modified_s, default=0.0) < before_s and not self.running() & set(_RUN_ID.findall(path))


def check(work: command.Run, cfg: Config) -> Config:
    """Raises on settings that are wrong for every warehouse."""
    if cfg.keep_runs < 1:
        raise UsageError(f"--keep-runs {cfg.keep_runs}: expected 1 or more")
    if cfg.min_age_hours < 0:
        raise UsageError(f"--min-age-hours {cfg.min_age_hours:g}: expected 0 or more")
    return cfg


def run(work: command.Run, cfg: Config) -> command.Outcome:
    """Finds what can go, and with `--yes` removes it."""
    removals = removable(Listing.of(work.warehouse), cfg)
    remove = cfg.yes and not work.dry_run
    for one in removals if remove else ():
        _remove(work.warehouse, one)
    size = sum(one.size_bytes for one in removals)
    summary = {
        "removed": remove,
        "size_bytes": size,
        "found": [_as_json(one) for one in removals],
    }
    lines = [f"{one.size_bytes:>15,} B  {one.why:<34}{one.path}" for one in removals]
    closing = f"{len(removals)} removed" if remove else f"{len(removals)} would go; --yes removes them"
    return command.Outcome(summary, "\n".join([*lines, f"{size:>15,} B  {closing}"]))


def removable(listing: Listing, cfg: Config) -> list[Removal]:
    """What can go, by path."""
    before_s = listing.now_s - cfg.min_age_hours * 3600
    kept = _kept_runs(listing, cfg.keep_runs, before_s)
    whole = _whole_models(listing)
    models = _kept_models(whole, kept["models"], cfg.keep_runs)
    # A model is measured on the tracks that it was trained on.
    kept["tracks"] |= {_told(listing, f"{path}/model.json", "snapshots", "tracks") for path in models}
    found = _old_runs(listing, kept, before_s)
    found += _old_models(listing, whole, models, cfg.keep_runs, before_s)
    found += [*_old_studies(listing, cfg.keep_runs, before_s), *_abandoned(listing, before_s)]
    inside = tuple(one.path + "/" for one in found if not one.upload)
    distinct = {one.path: one for one in found if not one.path.startswith(inside)}
    uploads = [
        Removal("upload that nobody ended", one.name, upload=one)
        for one in listing.uploads
        if listing.is_idle(one.name, [one.begun_s], before_s)
    ]
    return [*(distinct[path] for path in sorted(distinct)), *uploads]


def _kept_runs(listing: Listing, keep_runs: int, before_s: float) -> dict[str, set[str]]:
    """Ids of the runs of each snapshot table that stay."""
    warehouse = listing.warehouse
    kept: dict[str, set[str]] = {}
    referred: dict[str, set[str]] = defaultdict(set)
    for table in reversed(TABLES):  # tags first: they say which tracks they are the tags of
        runs = warehouse.runs(table)
        kept[table] = {one.run_id for one in runs[-keep_runs:]} | referred[table]
        current = warehouse.current(table)
        if current is not None:
            line = (current.snapshot, *current.previous)
            replaced_at = [current.published_at, *(one.written_at for one in line[1:])]
            kept[table] |= {one.run_id for one in line[:keep_runs]}
            kept[table] |= {
                one.run_id
                for one, when in zip(line[1:], replaced_at, strict=False)
                if storage.utc_seconds(when) >= before_s
            }
        for one in runs:
            if table == "tags" and one.run_id in kept[table]:
                details = TagsDetails.of(one)
                referred["tracks"].add(details.tracks_run)
                referred["models"].add(details.model_version)
                referred["genre_map"].add(details.genre_map_version or "")
    return kept | {"models": referred["models"]}


def _old_runs(listing: Listing, kept: dict[str, set[str]], before_s: float) -> list[Removal]:
    found = []
    for path, objects in listing.folders("|".join(TABLES), "run=.+").items():
        table, run_id = path.split("/run=")
        if run_id in kept[table] or not _idle(listing, path, objects, before_s):
            continue
        finished = any(one.name == f"{path}/_run.json" for one in objects)
        found.append(
            _removal("run beyond --keep-runs" if finished else "run that never ended", path, objects)
        )
    return found


def _whole_models(listing: Listing) -> set[str]:
    """Folders of the model versions that are complete."""
    versions = listing.folders("models", "[^/]+", "[^/]+")
    return {
        path for path, objects in versions.items() if any(o.name == f"{path}/model.json" for o in objects)
    }


def _kept_models(whole: set[str], referred: set[str], keep_runs: int) -> set[str]:
    """Those of the complete model versions that stay: the newest of each model, and those of kept tags."""
    by_model: dict[str, list[str]] = defaultdict(list)
    for path in sorted(whole):
        by_model[path.rpartition("/")[0]].append(path)
    newest = {path for paths in by_model.values() for path in paths[-keep_runs:]}
    return newest | (whole & {f"models/{version}" for version in referred})


def _old_models(
    listing: Listing, whole: set[str], stay: set[str], keep_runs: int, before_s: float
) -> list[Removal]:
    """Model versions, and reports on models that go."""
    versions = listing.folders("models", "[^/]+", "[^/]+")
    found = [
        _removal("model beyond --keep-runs" if path in whole else "model that never ended", path, objects)
        for path, objects in versions.items()
        if path not in stay and _idle(listing, path, objects, before_s)
    ]
    reports = listing.folders("reports", "[^/]+")
    models_left = {path.removeprefix("models/") for path in whole} - {
        one.path.removeprefix("models/") for one in found
    }
    for path in sorted(reports)[:-keep_runs]:
        if not _idle(listing, path, reports[path], before_s):
            continue
        if _told(listing, f"{path}/metrics.json", "model_version") not in models_left:
            found.append(_removal("report beyond --keep-runs", path, reports[path]))
    return found


def _told(listing: Listing, name: str, *keys: str) -> str:
    """A text of a JSON record, by the names on the way to it; empty where there is none."""
    uri = listing.warehouse.path(name)
    if not storage.is_object(uri):
        return ""
    try:
        found = json.loads(storage.read_bytes(uri))
        for key in keys:
            found = found[key]
        return str(found)
    except (ValueError, KeyError, TypeError):
        return ""


def _old_studies(listing: Listing, keep_runs: int, before_s: float) -> list[Removal]:
    """Studies by when something was last written to them."""
    studies = listing.folders("studies", "[^/]+")
    by_age = sorted(studies, key=lambda path: max(one.modified_s for one in studies[path]))
    return [
        _removal("study beyond --keep-runs", path, studies[path])
        for path in by_age[:-keep_runs]
        if _idle(listing, path, studies[path], before_s)
    ]


def _abandoned(listing: Listing, before_s: float) -> list[Removal]:
    """What killed jobs have left: scratch space, checkpoints, uncommitted output, half-written files."""
    folders = listing.folders("_tmp|_checkpoints", "[^/]+")
    for one in listing.objects:
        names = one.name.split("/")
        for depth, name in enumerate(names[:-1], start=1):
            if _DEBRIS.match(name):
                folders.setdefault("/".join(names[:depth]), []).append(one)
                break
    found = [
        _removal("left by a job that is gone", path, objects)
        for path, objects in folders.items()
        if _idle(listing, path, objects, before_s)
    ]
    return found + [
        _removal("left by a job that is gone", one.name, [one])
        for one in listing.objects
        if _UNFINISHED.fullmatch(one.name.rpartition("/")[2]) and one.modified_s < before_s
    ]


def _idle(listing: Listing, path: str, objects: list[StoredObject], before_s: float) -> bool:
    return listing.is_idle(path, [one.modified_s for one in objects], before_s)


def _removal(why: str, path: str, objects: list[StoredObject]) -> Removal:
    return Removal(why, path, len(objects), sum(one.size for one in objects))


def _remove(warehouse: Warehouse, one: Removal) -> None:
    LOGGER.info("removing %s: %s", one.path, one.why)
    if one.upload is not None:
        storage.abort(warehouse.uri, one.upload)
        return
    path = warehouse.path(one.path)
    if storage.is_object(path):
        storage.remove_object(path)
        return
    for record in ("_run.json", "model.json"):  # first: a run that is half removed must not look whole
        storage.remove_object(f"{path}/{record}")
    storage.remove(path)


def _as_json(one: Removal) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(one).items() if name != "upload"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("vacuum", __doc__, Config, run, argv, check)


if __name__ == "__main__":
    sys.exit(main())
