"""Which model version a job uses, and how its features are found in a track table."""

import json

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.snapshot_details import TracksDetails
from genremill.models.features import TABLE
from genremill.models.model_card import ModelCard

REFUSED = "refused.json"
"""Stands in the folder of a model whose tags an audit refused, or that were rolled back."""


def refuse(warehouse: Warehouse, version: str, tags_run: str) -> None:
    """Keeps a version of this warehouse from being taken unnamed; one from elsewhere always is named."""
    folder = warehouse.path("models", version)
    if storage.is_object(f"{folder}/model.json"):
        storage.write_atomic(f"{folder}/{REFUSED}", json.dumps({"tags_run": tags_run}).encode())


def allow(warehouse: Warehouse, version: str) -> None:
    """Takes a refusal back."""
    storage.remove_object(warehouse.path("models", version, REFUSED))


def newest(warehouse: Warehouse, with_refused: bool = False) -> str:
    """The newest model version that no audit refused, as <name>/<version>; versions sort by time."""
    root = warehouse.path("models")
    found = [
        (version, name) for name in storage.folders(root) for version in storage.folders(f"{root}/{name}")
    ]
    for version, name in sorted(found, reverse=True):
        folder = f"{root}/{name}/{version}"
        if storage.is_object(f"{folder}/model.json") and (
            with_refused or not storage.is_object(f"{folder}/{REFUSED}")
        ):
            return f"{name}/{version}"
    raise UsageError(f"{warehouse.uri} has no model yet: run `genremill train` first")


def folder_of(warehouse: Warehouse, version: str | None = None) -> tuple[str, str]:
    """Version and folder of a named model version, or of the newest."""
    version = version or newest(warehouse)
    folder = warehouse.path("models", version)
    if version.count("/") != 1 or ".." in version or not storage.is_object(f"{folder}/model.json"):
        raise UsageError(
            f"--model-version {version}: no such model in {warehouse.uri}; expected <name>/<version>"
        )
    return version, folder


def positions(card: ModelCard, tracks: Snapshot, of: str = TABLE) -> tuple[int, ...]:
    """Where the table features that an input of the model is made of stand in `tracks`, by name.

    Empty where tracks have none.
    """
    there = TracksDetails.of(tracks).feature_names
    if not there:
        return ()
    wanted = list(dict.fromkeys(one.source for one in card.features if one.input == of))
    if missing := [name for name in wanted if name not in there]:
        raise UsageError(
            f"the model takes {', '.join(missing)}, which the tracks of run {tracks.run_id} lack; "
            f"they have {', '.join(there)}"
        )
    return tuple(there.index(name) for name in wanted)
