"""The details of a snapshot: which JSON they are stored as, and what is rejected when they are read."""

import dataclasses
from typing import Any

import pytest

from genremill.infra import records
from genremill.infra.errors import StorageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.snapshot_details import Feature, Kind, SplitRule, TagsDetails, TracksDetails
from genremill.models.evaluation.split import SplitBy

STORED: dict[str, Any] = {
    "features": [{"name": "key", "kind": "categorical", "is_popularity": False}],
    "split": {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0, "file": None},
    "kept": ["year"],
    "with_audio": 240,
}
"""As version 0.1.0 stored them."""
READ = TracksDetails(
    features=(Feature("key", Kind.CATEGORICAL),),
    split=SplitRule(SplitBy.ARTIST, (0.8, 0.1, 0.1), 0),
    kept=("year",),
    with_audio=240,
)


def snapshot(details: dict[str, Any]) -> Snapshot:
    return Snapshot("r1", "tracks/run=r1", 1, "", {}, "0.1.0", "2026-01-01T00:00:00Z", details)


def test_details_of_version_0_1_are_read() -> None:
    assert TracksDetails.of(snapshot(STORED)) == READ


def test_details_are_stored_under_the_same_keys() -> None:
    features = [STORED["features"][0] | {"missing": 0.0}]
    new = {"features": features, "synthetic": False, "columns": [], "texts": [], "vectors": []}
    assert records.to_builtins(READ) == STORED | new
    assert TracksDetails.of(snapshot(records.to_builtins(READ))) == READ


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"features": None}, r"Expected `array`, got `null` - at `\$.features`"),
        ({"features": [{"name": 3}]}, r"Expected `str`, got `int` - at `\$.features\[0\].name`"),
        ({"split": {"by": "weekday"}}, r"Invalid enum value 'weekday' - at `\$.split.by`"),
        ({"with_audio": "many"}, r"Expected `int`, got `str` - at `\$.with_audio`"),
    ],
)
def test_damaged_details_are_rejected_with_the_place_of_the_damage(
    damage: dict[str, Any], message: str
) -> None:
    with pytest.raises(StorageError, match="details of tracks/run=r1 .*TracksDetails record: " + message):
        TracksDetails.of(snapshot(STORED | damage))


def test_tags_must_name_their_model_and_tracks() -> None:
    tags = TagsDetails("fcnn/1", "r1")
    assert TagsDetails.of(dataclasses.replace(snapshot({}), details=records.to_builtins(tags))) == tags
    with pytest.raises(StorageError, match="missing required field `model_version`"):
        TagsDetails.of(snapshot({"tracks_run": "r1"}))
