"""The runs and models to keep: the newest, those that were current recently, and those that kept tags use."""

import json
from collections import defaultdict
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.warehouse import Current
from genremill.jobs.retention.listing import Listing
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES, TagsDetails


@dataclass(frozen=True)
class Kept:
    """The runs and models to keep."""

    runs: dict[str, set[str]]
    """Run ids by snapshot table."""
    whole_models: set[str]
    """Folders of all model versions that are complete."""
    models: set[str]
    """Folders of the model versions to keep."""


def kept(listing: Listing, keep_runs: int) -> Kept:
    """The runs and models to keep, with `keep_runs` runs of each table and versions of each model."""
    runs, versions = _kept_runs(listing, keep_runs)
    whole = listing.whole(listing.folders("models", "[^/]+", "[^/]+"), "model.json")
    models = _kept_models(whole, versions, keep_runs)
    # `evaluate` needs the tracks that a model was trained on.
    runs["tracks"] |= {record_text(listing, f"{path}/model.json", "snapshots", "tracks") for path in models}
    return Kept(runs, whole, models)


def _kept_runs(listing: Listing, keep_runs: int) -> tuple[dict[str, set[str]], set[str]]:
    """The run ids to keep by snapshot table, and the model versions that kept tags name."""
    stay: dict[str, set[str]] = defaultdict(set)
    versions: set[str] = set()
    for table in reversed(SNAPSHOT_TABLES):  # tags first: they name the tracks that they belong to
        runs = listing.warehouse.runs(table)
        stay[table] |= {run.run_id for run in runs[-keep_runs:]}
        current = listing.warehouse.current(table)
        if current is not None:
            stay[table] |= _recently_current(current, keep_runs, listing.before_s)
        if table == "tags":
            for details in (TagsDetails.of(run) for run in runs if run.run_id in stay["tags"]):
                stay["tracks"].add(details.tracks_run)
                stay["genre_map"].add(details.genre_map_version or "")
                versions.add(details.model_version)
    return stay, versions


def _recently_current(current: Current, keep_runs: int, before_s: float) -> set[str]:
    """The newest runs of a pointer's history, and those that were replaced after a time."""
    line = (current.snapshot, *current.previous)
    replaced_at = (current.published_at, *(one.written_at for one in line[1:]))
    lately = {
        one.run_id
        for one, when in zip(line[1:], replaced_at, strict=False)
        if storage.utc_seconds(when) >= before_s
    }
    return lately | {one.run_id for one in line[:keep_runs]}


def _kept_models(whole: set[str], versions: set[str], keep_runs: int) -> set[str]:
    """The newest complete versions of each model, and the versions that kept tags name."""
    by_model: dict[str, list[str]] = defaultdict(list)
    for path in sorted(whole):
        by_model[path.rpartition("/")[0]].append(path)
    newest = {path for paths in by_model.values() for path in paths[-keep_runs:]}
    return newest | (whole & {f"models/{version}" for version in versions})


def record_text(listing: Listing, name: str, *keys: str) -> str:
    """A text of a JSON record, found by its keys; empty if there is none."""
    uri = listing.warehouse.path(name)
    if not storage.is_object(uri):
        return ""
    try:
        value = json.loads(storage.read_bytes(uri))
        for key in keys:
            value = value[key]
        return str(value)
    except (ValueError, KeyError, TypeError):
        return ""
