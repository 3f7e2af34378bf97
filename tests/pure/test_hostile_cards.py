"""Hostile model cards: every field is checked, and the message names the file and the field."""

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.errors import UsageError
from genremill.models import artifact
from genremill.models.artist_pooling import ArtistPooling
from genremill.models.evaluation.drift import Histogram
from genremill.models.features import FeatureSpec
from genremill.models.model_card import Cluster, Epoch, ModelCard, Thresholds, TrainingRecord
from genremill.models.recipe import Recipe, Size
from tests.pure.test_untrusted_models import FEATURES, with_card

Record = dict[str, Any]
EPOCH = Epoch(1, 2.0, 0.5, 2.1, 0.4, 1e-3, 0.1, 6, 2.0)
CARD = ModelCard(
    model="linear",
    classes=("a", "b", "c"),
    features=tuple(dataclasses.replace(feature, limits=(-2.5, 2.5)) for feature in FEATURES),
    size=Size(width=8, depth=1),
    categories=0,
    labels="genre",
    use_popularity=False,
    clusters={"a": Cluster(3, "roots")},
    genre_map={"a": 3},
    fingerprints={"gtzan57": "249fc71084655c49"},
    artist_pooling=ArtistPooling(0.5, 0.75, 1.0),
    together={"a": {"b": 0.5}},
    temperature=0.8,
    thresholds=Thresholds(0.9, 2.0, {"roots": 0.4}),
    snapshots={"tracks": "20261128T221955-76f593"},
    training=TrainingRecord(
        recipe=Recipe(1, 32, 1e-3, patience=3),
        settings={"workers": 2},
        made_from={"tracks": "20261128T221955-76f593"},
        genres=("a", "b", "c", "d"),
        rows={"train": 6},
        class_rows={"a": 2},
        histograms=(Histogram((1.0, 2.0), (0, 2, 0, 1, 0)),) * len(FEATURES),
        history=(EPOCH,),
    ),
    metrics={"validation": EPOCH},
    code_version="0.1.0",
    git_revision="cc426d45def1",
    created_at="2026-11-28T22:22:40Z",
    sha256="0" * 64,
)
"""A card in which almost every field has a value."""

NOT_FINITE = [math.nan, math.inf, -math.inf]
WRONG_TYPES: dict[type, list[Any]] = {
    bool: [1, "yes", [], math.nan],
    int: [*NOT_FINITE, "1", [], {"x": 1}, True, 1.5],
    float: [*NOT_FINITE, "0.5", [], {"x": 1}, True],
    str: [1, [], {"x": 1}, math.nan],
    dict: [1, "x", [], [{}], math.nan],
    list: [1, "x", {}, [[]], [None], math.nan],
}
"""Values of other types and numbers that are not finite, by the type of the right value."""
NULLABLE = (
    "patience validation_loss validation_accuracy train_cross_entropy git_revision thresholds recipe limits "
    "artist_pooling"
)
SIGNED = (
    "seed edges limits seconds train_loss train_accuracy validation_loss validation_accuracy "
    "train_cross_entropy"
)
ANY_TEXT = "code_version git_revision made_from"
CHOICES = "labels scaling_rule pooling schedule watch created_at sha256"
FURTHER: list[tuple[str, Any]] = [
    *(("temperature", value) for value in (0, 1e-40, 1e308, 5e-324)),
    *(("thresholds.overall", value) for value in (2.1, 1e308)),
    *(("size.dropout", value) for value in (1.01, 1e308)),
    ("size.frequency_deviation", 1e308),
    *(("size.rows", value) for value in (10**18, -(10**18))),
    *(("outlier_limits", {"table": value}) for value in (-1, None, "x", math.nan, math.inf)),
    *(("shapes", {"table": value}) for value in ([2], [-1, 2], [2.5, 2], [10**9, 10**9], None, "x")),
    *(("classes", value) for value in ([], ["a", "a", "c"], [""])),
    *(("inputs", value) for value in ([], ["table", "table"], ["x"])),
    *(("parts", value) for value in (["mlp4", "mlp4"], [""])),
    *(("sha256", value) for value in ("", "0" * 63, "0" * 65, "g" * 64, "A" * 64)),
    *(("features.0.limits", value) for value in ([2.0, 1.0], [1.0], [1.0, math.inf], [math.nan, 1.0])),
    *(("tokens", value) for value in ({"text": 9}, {"table": 9}, {"text": 10**18}, 9, [9])),
    ("categories", 10**18),
    ("training.histograms", [{"edges": [], "counts": [0]}]),
    ("training.histograms.0", {"edges": [2.0, 1.0], "counts": [0, 2, 0, 1, 0]}),
    ("training.histograms.0", {"edges": [1.0, 2.0], "counts": [3]}),
]
"""Values of the right type that are out of range, or do not fit other fields."""


def _parts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The parts of a record with their paths; of a list, the first element."""
    names = value if isinstance(value, dict) else range(min(len(value), 1)) if isinstance(value, list) else ()
    for name in names:
        if name != "settings":  # they may have any values
            yield f"{path}{name}", value[name]
            yield from _parts(value[name], f"{path}{name}.")


def _field(path: str) -> str:
    """The last part of a path that is a field of a record."""
    records = (
        ModelCard,
        ArtistPooling,
        Size,
        FeatureSpec,
        Thresholds,
        TrainingRecord,
        Recipe,
        Epoch,
        Cluster,
        Histogram,
    )
    names = {field.name for record in records for field in dataclasses.fields(record)}
    return [name for name in path.split(".") if name in names][-1]


def _wrong(path: str, right: Any) -> list[Any]:
    """Wrong values in place of a right one."""
    field, values = _field(path), [*WRONG_TYPES[type(right)]]
    if field not in NULLABLE.split():
        values.append(None)
    if type(right) in (int, float) and field not in SIGNED.split():
        values += [-1, 10**30] if type(right) is int else [-1]
    if type(right) is str and field not in ANY_TEXT.split():
        values += ["x" * 10_001, "x" if field in CHOICES.split() else ""]
    return values


RECORD: Record = json.loads(CARD.to_json())
WRONG = [(path, value) for path, right in _parts(RECORD) if path != "format" for value in _wrong(path, right)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The folder of a model, and its card, which has all fields."""
    folder = tmp_path_factory.mktemp("model")
    with_card(folder, lambda record: record.update(RECORD | {"sha256": record["sha256"]}))
    return folder, (folder / "model.json").read_bytes()


def _changed(model: tuple[Path, bytes], path: str, value: Any) -> str:
    """Writes the card with another value at a path, and returns the URI of the model."""
    folder, whole = model
    record = part = json.loads(whole)
    *parents, name = (int(key) if key.isdecimal() else key for key in path.split("."))
    for key in parents:
        part = part[key]
    part[name] = value
    (folder / "model.json").write_text(json.dumps(record))
    return f"file://{folder}"


def test_a_card_with_all_fields_is_loaded(model: tuple[Path, bytes]) -> None:
    card = artifact.load(_changed(model, "code_version", "x")).card
    assert dataclasses.replace(card, sha256=CARD.sha256) == dataclasses.replace(CARD, code_version="x")


@pytest.mark.parametrize(("path", "value"), WRONG + FURTHER, ids=lambda value: f"{value!r:.30}")
def test_a_wrong_value_is_one_error_with_the_file_and_the_field(
    model: tuple[Path, bytes], path: str, value: Any
) -> None:
    artifact.load.cache_clear()
    uri = _changed(model, path, value)
    with pytest.raises(UsageError) as error:
        artifact.load(uri)
    assert f"{uri}/model.json" in str(error.value)
    assert _field(path) in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("temperature", 1e308, r"Expected `float` <= 100.0 - at `\$.temperature`; found 1e\+308"),
        ("temperature", math.nan, 'JSON is malformed: .*; found \'.*"temperature": NaN'),
        ("sha256", None, r"Expected `str`, got `null` - at `\$.sha256`; found None"),
        ("thresholds.precision", "0.9", r"got `str` - at `\$.thresholds.precision`; found '0.9'"),
        ("training.history.0.epoch", -1, r"`int` >= 0 - at `\$.training.history\[0\].epoch`; found -1"),
        ("thresholds.by_cluster.roots", 3, r"`float` <= 2.0 - at .*by_cluster\[...\]`; found {'roots': 3}"),
    ],
)
def test_an_error_tells_what_was_found_and_expected(
    model: tuple[Path, bytes], path: str, value: Any, message: str
) -> None:
    artifact.load.cache_clear()
    with pytest.raises(UsageError, match=message):
        artifact.load(_changed(model, path, value))


@pytest.mark.parametrize("path", ["model", "classes", "features", "size", "categories", "sha256"])
def test_a_missing_field_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match=rf"model\.json is not a valid .*{path}"):
        artifact.load(with_card(tmp_path, lambda record: record.pop(path)))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"x":' * 100_000, "[" * 400 + "]" * 400])
def test_a_nested_value_is_rejected(tmp_path: Path, text: str) -> None:
    uri = with_card(tmp_path, lambda record: record.update(fingerprints={"x": "NESTED"}))
    file = tmp_path / "model.json"
    file.write_text(file.read_text().replace('"NESTED"', text))
    with pytest.raises(UsageError, match=r"model\.json is not a valid \w+ record"):
        artifact.load(uri)


def test_a_card_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    uri = with_card(tmp_path, lambda record: None)
    os.truncate(tmp_path / "model.json", 1 << 40)
    with pytest.raises(UsageError, match=r"model\.json .* found 1,099,511,627,776 bytes"):
        artifact.load(uri)
