"""Which inputs a flag selects, which inputs a trained model gets, and the errors if there are none."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.errors import StorageError, UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.features.input_selection import chosen, of_model
from genremill.models import zoo
from genremill.models.features import TABLE, TEXT, FeatureSpec
from genremill.models.model_card import ModelCard
from genremill.models.recipe import Size

POPULARITY, TEMPO, KEY = (
    FeatureSpec("popularity", False, True),
    FeatureSpec("tempo", False),
    FeatureSpec("key", True),
)
RMS, ZCR = (FeatureSpec(name, False, input="gtzan57") for name in ("rms", "zcr"))

SPLIT = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}


def _tracks(*features: FeatureSpec) -> Snapshot:
    kinds = [
        {
            "name": feature.name,
            "kind": "categorical" if feature.categorical else "numeric",
            "is_popularity": feature.is_popularity,
        }
        for feature in features
    ]
    return Snapshot("t1", "tracks/run=t1", 1, "", {}, "", "", {"features": kinds, "split": SPLIT})


TABULAR, BARE = _tracks(POPULARITY, TEMPO, KEY), _tracks()


def _add_set(
    warehouse: Warehouse,
    name: str,
    fingerprint: str,
    created_at: str,
    *runs: str,
    shape: tuple[int, ...] = (2,),
) -> None:
    folder = Path(warehouse.uri.removeprefix("file://")) / "features" / f"fingerprint={fingerprint}"
    folder.mkdir(parents=True)
    values = ["rms", "zcr"] if len(shape) == 1 else []
    record = {"name": name, "values": values, "created_at": created_at, "settings": {}, "shape": shape}
    (folder / "_feature_set.json").write_text(json.dumps(record))
    for run in runs:
        (folder / f"run={run}").mkdir()


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse with two fingerprints of gtzan57, and a third that has no rows."""
    filled = Warehouse.at(str(tmp_path))
    _add_set(filled, "gtzan57", "aa", "2026-01-02", "r1", "r2")
    _add_set(filled, "gtzan57", "bb", "2026-01-01", "r1")
    _add_set(filled, "gtzan57", "cc", "2026-01-03")
    return filled


def test_a_name_selects_the_newest_fingerprint_that_has_rows(warehouse: Warehouse) -> None:
    inputs = chosen(warehouse, TABULAR, "gtzan57", None, use_popularity=False)
    assert (inputs.names, inputs.features, inputs.positions) == (("gtzan57",), (RMS, ZCR), ())
    assert inputs.made_from == {"gtzan57": "aa: 2 runs to r2"}


def test_inputs_keep_the_runs_that_existed_when_they_were_selected(warehouse: Warehouse) -> None:
    inputs = chosen(warehouse, TABULAR, "gtzan57", None, use_popularity=False)
    (Path(warehouse.uri.removeprefix("file://")) / "features" / "fingerprint=aa" / "run=r3").mkdir()
    cached = inputs.sets["gtzan57"]
    assert isinstance(cached, CachedSet)
    assert cached.runs == ("r1", "r2")
    assert inputs.made_from == {"gtzan57": "aa: 2 runs to r2"}


def test_sequences_and_images_have_a_shape_and_no_features(warehouse: Warehouse) -> None:
    _add_set(warehouse, "segments", "ss", "2026-01-01", "r1", shape=(512, 24))
    _add_set(warehouse, "logmel", "ll", "2026-01-01", "r1", shape=(1, 96, 64))
    inputs = chosen(warehouse, TABULAR, "segments+gtzan57+logmel", None, use_popularity=False)
    assert inputs.features == (RMS, ZCR)
    assert inputs.shapes == {"segments": (512, 24), "logmel": (1, 96, 64)}
    assert inputs.values == 512 * 24 + 2 + 96 * 64
    assert inputs.vectors == ("gtzan57",)


@pytest.mark.parametrize("shape", [(3,), (0, 2), (1, 2, 3, 4), (2.0, 2), ()])
def test_an_invalid_shape_is_an_error(warehouse: Warehouse, shape: tuple[Any, ...]) -> None:
    _add_set(warehouse, "segments", "ss", "2026-01-01", "r1", shape=shape)
    with pytest.raises(StorageError, match=r"fingerprint=ss/_feature_set\.json is not a valid"):
        chosen(warehouse, TABULAR, "gtzan57", None, use_popularity=False)


def test_inputs_keep_the_order_of_the_flag_and_popularity_belongs_to_the_table(warehouse: Warehouse) -> None:
    inputs = chosen(warehouse, TABULAR, "gtzan57+table", None, use_popularity=False)
    assert inputs.features == (RMS, ZCR, TEMPO, KEY)
    assert inputs.positions == (1, 2)
    popular = chosen(warehouse, TABULAR, "table+gtzan57", None, use_popularity=True)
    assert popular.features == (POPULARITY, TEMPO, KEY, RMS, ZCR)


@pytest.mark.parametrize(
    ("tracks", "asked", "model", "names"),
    [
        (TABULAR, None, None, (TABLE,)),
        (BARE, None, None, ("gtzan57",)),
        (TABULAR, None, "mlp4", ("gtzan57",)),
        (TABULAR, "table", "mlp4", (TABLE,)),
        (TABULAR, "auto", None, (TABLE, "gtzan57")),
        (BARE, "auto", "multiwindow_mlp", ("gtzan57",)),
        (TABULAR, None, "fusion", (TABLE, TEXT, "gtzan57")),
        (BARE, "auto", "fusion", (TEXT, "gtzan57")),
        (TABULAR, "text", "fusion", (TEXT,)),
        (TABULAR, "auto+text", None, (TABLE, "gtzan57", TEXT)),
    ],
)
def test_without_a_flag_a_model_gets_its_default_inputs(
    warehouse: Warehouse, tracks: Snapshot, asked: str | None, model: str | None, names: tuple[str, ...]
) -> None:
    entry = zoo.entry(model) if model else None
    assert chosen(warehouse, tracks, asked, entry, use_popularity=False).names == names


@pytest.mark.parametrize("asked", ["artist", "auto+artist"])
def test_the_input_that_pooling_replaced_is_an_error(warehouse: Warehouse, asked: str) -> None:
    message = (
        rf"--inputs {re.escape(asked)}: the input 'artist' was replaced by `train --pool-artists`, which is"
    )
    with pytest.raises(UsageError, match=message):
        chosen(warehouse, TABULAR, asked, None, use_popularity=False)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("gtzna57", "no features of the set 'gtzna57'; it has: gtzan57"),
        ("gtzan57+fma518", "Run `genremill extract --features fma518`"),
        ("table", "the tracks of run t1 have no table features"),
        ("auto+gtzan57", r"--inputs auto\+gtzan57: expected different names, joined by \+"),
        ("gtzan57+gtzan57", r"--inputs gtzan57\+gtzan57: expected different names, joined by \+"),
        ("gtzan57+", r"--inputs gtzan57\+: expected different names, joined by \+"),
    ],
)
def test_missing_inputs_are_an_error(warehouse: Warehouse, asked: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(warehouse, BARE, asked, None, use_popularity=False)


def test_the_flag_is_needed_if_there_are_several_sets(warehouse: Warehouse) -> None:
    _add_set(warehouse, "fma518", "dd", "2026-01-01", "r1")
    with pytest.raises(UsageError, match="--inputs is needed: one or more of fma518, gtzan57"):
        chosen(warehouse, BARE, None, None, use_popularity=False)
    assert chosen(warehouse, TABULAR, None, None, use_popularity=False).names == (TABLE,)


def test_without_any_features_the_error_names_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no table features, and .* no features of audio\. Run `genremill extract"
    ):
        chosen(Warehouse.at(str(tmp_path)), BARE, "auto", None, use_popularity=False)


def _card(
    names: tuple[str, ...], features: tuple[FeatureSpec, ...], fingerprints: dict[str, str]
) -> ModelCard:
    return ModelCard(
        model="linear",
        classes=("a", "b"),
        features=features,
        size=Size(),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=names,
        fingerprints=fingerprints,
    )


def test_a_model_finds_its_own_fingerprint_and_its_columns_by_name(warehouse: Warehouse) -> None:
    card = _card(("gtzan57", TABLE), (RMS, ZCR, KEY, TEMPO), {"gtzan57": "bb"})
    card = ModelCard.from_json(card.to_json(), "model.json")
    inputs = of_model(warehouse, TABULAR, card)
    assert (inputs.names, inputs.positions, inputs.fingerprints) == (
        ("gtzan57", TABLE),
        (2, 1),
        {"gtzan57": "bb"},
    )


def test_the_columns_of_a_model_are_found_in_any_order_and_may_be_missing(warehouse: Warehouse) -> None:
    card = _card((TABLE,), (POPULARITY, TEMPO, KEY), {})
    assert of_model(warehouse, _tracks(KEY, TEMPO, POPULARITY), card).positions == (2, 1, 0)
    assert of_model(warehouse, _tracks(KEY, POPULARITY), card).positions == (1, None, 0)
    assert of_model(warehouse, BARE, card).positions == (None, None, None)


def test_a_model_with_an_input_of_earlier_versions_is_refused(warehouse: Warehouse) -> None:
    card = _card((TABLE, "artist"), (TEMPO, FeatureSpec("artist mean of tempo", False, input="artist")), {})
    with pytest.raises(UsageError, match=r"uses the input 'artist', .* no longer has\. Train a new model"):
        of_model(warehouse, TABULAR, card)


def test_another_fingerprint_is_refused(warehouse: Warehouse) -> None:
    card = _card(("gtzan57",), (RMS, ZCR), {"gtzan57": "ee"})
    with pytest.raises(UsageError, match=r"'gtzan57' with fingerprint ee; .* has: bb, aa\."):
        of_model(warehouse, TABULAR, card)


def test_cards_of_another_format_or_order_are_refused(warehouse: Warehouse) -> None:
    card = _card(("gtzan57", TABLE), (RMS, TEMPO), {"gtzan57": "aa"})
    old = json.loads(card.to_json()) | {"format": 1}
    with pytest.raises(UsageError, match=r"has format 1, .* expected 3 or 4\. Train the model again"):
        ModelCard.from_json(json.dumps(old), "model.json")
    swapped = json.loads(card.to_json()) | {"inputs": [TABLE, "gtzan57"]}
    with pytest.raises(UsageError, match="the features do not belong to the inputs"):
        ModelCard.from_json(json.dumps(swapped), "model.json")
