"""The model that a night uses: what somebody trains by hand is an experiment until its tags are published."""

import dataclasses
from pathlib import Path

import pytest

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.features import FeatureSpec
from genremill.models.model_card import ModelCard, TrainingRecord
from genremill.models.recipe import Size

CARD = ModelCard(
    "linear", ("a", "b"), (FeatureSpec("tempo", False, False),), Size(), 0, "genre", False, {}, {}
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse whose current tags, of run r2, are of the model that a night trained in run r1."""
    warehouse = Warehouse.at(str(tmp_path / "warehouse"))
    save(warehouse, "linear/r1", by_nightly=True)
    publish(warehouse, "r2", "linear/r1")
    return warehouse


def save(warehouse: Warehouse, version: str, *, by_nightly: bool) -> str:
    folder = warehouse.path("models", version)
    card = dataclasses.replace(CARD, training=TrainingRecord(by_nightly=by_nightly))
    storage.write_atomic(f"{folder}/model.json", card.to_json())
    return folder


def publish(warehouse: Warehouse, run_id: str, version: str, folder: str = "") -> None:
    details = TagsDetails(model_version=version, tracks_run="r0", model=folder)
    tags = Snapshot(run_id, f"tags/run={run_id}", 1, "", {}, "", "", records.to_builtins(details))
    warehouse.publish_together({"tags": tags}, run_id, audited_against=warehouse.current("tags"))


def used(warehouse: Warehouse) -> str:
    return model_registry.of_night(warehouse)[0]


def test_a_model_trained_by_hand_is_not_the_model_of_the_night(warehouse: Warehouse) -> None:
    save(warehouse, "linear/r3", by_nightly=False)
    save(warehouse, "fusion/r4", by_nightly=False)
    assert model_registry.newest(warehouse) == "fusion/r4"
    assert used(warehouse) == "linear/r1"
    assert model_registry.of_night(warehouse, with_refused=True)[0] == "linear/r1"


def test_a_model_that_a_night_has_trained_is_used_even_if_somebody_trains_another(
    warehouse: Warehouse,
) -> None:
    save(warehouse, "linear/r3", by_nightly=True)  # this night was killed before it scored
    save(warehouse, "fusion/r4", by_nightly=False)
    assert used(warehouse) == "linear/r3"


def test_a_refused_model_is_not_used_and_not_trained_again(warehouse: Warehouse) -> None:
    save(warehouse, "linear/r3", by_nightly=True)
    model_registry.refuse(warehouse, "linear/r3", "r3")
    assert used(warehouse) == "linear/r1"
    assert model_registry.of_night(warehouse, with_refused=True)[0] == "linear/r3"


def test_a_published_model_stays_even_if_nights_have_trained_newer_ones(warehouse: Warehouse) -> None:
    save(warehouse, "linear/r3", by_nightly=True)
    save(warehouse, "fusion/r4", by_nightly=False)
    publish(warehouse, "r5", "fusion/r4")
    assert used(warehouse) == "fusion/r4"
    publish(warehouse, "r6", "linear/r1")
    assert used(warehouse) == "linear/r1"


def test_a_model_from_elsewhere_stays(warehouse: Warehouse, tmp_path: Path) -> None:
    folder = save(Warehouse.at(str(tmp_path / "100% other")), "linear/r9", by_nightly=True)
    publish(warehouse, "r3", "linear/r9", folder)
    assert model_registry.of_night(warehouse) == ("linear/r9", folder)


def test_a_model_of_another_version_of_genremill_is_skipped(warehouse: Warehouse) -> None:
    storage.write_atomic(warehouse.path("models", "linear", "r3", "model.json"), b'{"format": 99}')
    assert used(warehouse) == "linear/r1"


def test_if_the_model_of_the_tags_was_removed_the_newest_is_used(warehouse: Warehouse) -> None:
    save(warehouse, "fusion/r4", by_nightly=False)
    storage.remove(warehouse.path("models", "linear"))
    assert used(warehouse) == "fusion/r4"


def test_without_tags_the_newest_model_is_used(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    with pytest.raises(UsageError, match="has no model yet"):
        used(warehouse)
    save(warehouse, "linear/r1", by_nightly=True)
    save(warehouse, "fusion/r4", by_nightly=False)
    assert used(warehouse) == "fusion/r4"
