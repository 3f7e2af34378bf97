"""Model versions in a warehouse, and the positions of a model's features in a track table."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from genremill.infra import locations, storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.features import TABLE, Positions
from genremill.models.model_card import ModelCard, read_card

REFUSED = "refused.json"
"""File in the folder of a model version whose tags an audit refused or that was rolled back."""


@dataclass(frozen=True)
class ModelVersion:
    """A trained model: its name and version, its folder and its card."""

    version: str
    folder: str
    card: ModelCard


def refuse(warehouse: Warehouse, version: str, tags_run: str) -> None:
    """Marks a version so that jobs do not use it by default; models outside the warehouse need no mark."""
    folder = warehouse.path("models", version)
    if storage.is_object(f"{folder}/model.json"):
        storage.write_atomic(f"{folder}/{REFUSED}", json.dumps({"tags_run": tags_run}).encode())


def allow(warehouse: Warehouse, version: str) -> None:
    """Removes the mark of a refused version."""
    storage.remove_object(warehouse.path("models", version, REFUSED))


def newest(warehouse: Warehouse, with_refused: bool = False) -> str:
    """The newest version as NAME/VERSION, by default not a refused one; raises `UsageError` without one."""
    for version in _newest_first(warehouse, with_refused):
        return version
    raise UsageError(f"{warehouse.uri} has no model yet: run `genremill train` first")


def _newest_first(warehouse: Warehouse, with_refused: bool, since: str = "") -> Iterator[str]:
    """The versions that were trained after the run `since`."""
    root = warehouse.path("models")
    names = storage.folders(root)
    versions = [(version, name) for name in names for version in storage.folders(f"{root}/{name}")]
    for version, name in sorted((found for found in versions if found[0] > since), reverse=True):
        folder = f"{root}/{name}/{version}"
        if storage.is_object(f"{folder}/model.json") and (
            with_refused or not storage.is_object(f"{folder}/{REFUSED}")
        ):
            yield f"{name}/{version}"


def of_night(warehouse: Warehouse, with_refused: bool = False) -> tuple[str, str]:
    """Version and folder of the model that `nightly` uses; raises `UsageError` if there is none.

    It is the model of the current tags, or the newest that a night has trained since these tags were scored.
    So a model that somebody trains by hand changes nothing until its tags are published. Without current
    tags, it is the newest model.
    """
    tags = warehouse.current("tags")
    if tags is None:
        return folder_of(warehouse, newest(warehouse, with_refused))
    for version in _newest_first(warehouse, with_refused, since=tags.snapshot.run_id):
        folder = warehouse.path("models", version)
        with contextlib.suppress(
            UsageError
        ):  # a model of another version of genremill is no model of a night
            if read_card(folder).training.by_nightly:
                return version, folder
    version, folder = of_tags(warehouse, tags.snapshot)
    if storage.is_object(f"{folder}/model.json"):
        return version, folder
    LOGGER.warning("the model of the current tags, %s, no longer exists", version)
    return folder_of(warehouse, newest(warehouse, with_refused))


def of_tags(warehouse: Warehouse, tags: Snapshot) -> tuple[str, str]:
    """Version and folder of the model that scored tags, whether it still exists or not."""
    details = TagsDetails.of(tags)
    return details.model_version, locations.resolved(
        warehouse, details.model or f"models/{details.model_version}"
    )


def folder_of(warehouse: Warehouse, version: str | None = None) -> tuple[str, str]:
    """Version and folder of a named model version, or of the newest; raises `UsageError` if there is none."""
    version = newest(warehouse) if version is None else version
    folder = warehouse.path("models", version)
    if version.count("/") != 1 or ".." in version or not storage.is_object(f"{folder}/model.json"):
        raise UsageError(
            f"--model-version {version}: no such model in {warehouse.uri}; expected NAME/VERSION"
        )
    return version, folder


def read_version(warehouse: Warehouse, version: str | None = None) -> ModelVersion:
    """A named model version, or the newest."""
    version, folder = folder_of(warehouse, version)
    return ModelVersion(version, folder, read_card(folder))


def table_features(card: ModelCard) -> list[str]:
    """Names of the table features that the model uses."""
    return [feature.name for feature in card.features if feature.input == TABLE]


def positions(card: ModelCard, tracks: Snapshot) -> Positions:
    """Positions in `tracks` of the table features that the model uses."""
    existing = {name: position for position, name in enumerate(TracksDetails.of(tracks).feature_names)}
    return tuple(existing.get(name) for name in table_features(card))
