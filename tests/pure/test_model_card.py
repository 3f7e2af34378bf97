"""Cards of earlier versions are still read."""

import json

from genremill.models.features import FeatureSpec
from genremill.models.model_card import ModelCard
from genremill.models.recipe import Recipe, Schedule

EPOCH = {
    "epoch": 1,
    "train_loss": 10.1,
    "train_accuracy": 0.08,
    "validation_loss": None,
    "validation_accuracy": None,
    "learning_rate": 1e-3,
    "seconds": 1.7,
    "rows": 6,
}
OF_VERSION_0_1_0 = {
    "format": 3,
    "model": "linear",
    "classes": ["ambient", "blues"],
    "features": [{"name": "tempo", "categorical": False, "is_popularity": False, "input": "table"}],
    "size": {
        "width": 8,
        "depth": 1,
        "members": 1,
        "dropout": 0.0,
        "frequency_deviation": 1.0,
        "rows": 0,
    },
    "categories": 0,
    "labels": "genre",
    "use_popularity": False,
    "clusters": {"blues": {"id": 3, "name": "roots"}},
    "genre_map": {"blues": 3},
    "inputs": ["table"],
    "pooling": "vote",
    "training": {
        "recipe": {
            "epochs": 15,
            "batch": 256,
            "learning_rate": 4e-3,
            "schedule": "one_cycle",
            "watch": "loss",
        },
        "settings": {"workers": 2, "per_class": None, "augment": []},
        "rows": {"train": 6, "validation": 0},
        "histograms": [{"edges": [1.0, 2.0], "counts": [0, 2, 0, 1, 0]}],
        "best_epoch": 1,
        "history": [EPOCH],
    },
    "metrics": {"validation": EPOCH},
    "sha256": "0" * 64,
}
"""A card of version 0.1.0. Optional fields are missing, as in cards that were written before they existed."""


def test_a_card_of_version_0_1_0_is_read_with_its_training_record() -> None:
    card = ModelCard.from_json(json.dumps(OF_VERSION_0_1_0), "model.json")
    assert card.features == (FeatureSpec("tempo", categorical=False),)
    assert card.training.recipe == Recipe(15, 256, 4e-3, Schedule.ONE_CYCLE)
    assert card.training.settings["workers"] == 2
    assert card.training.histograms[0].edges == (1.0, 2.0)
    assert card.training.history == (card.metrics["validation"],)
    assert card.training.history[0].train_cross_entropy is None
    assert card.training.made_from == {}


def test_a_card_is_written_with_the_same_keys_that_it_was_read_with() -> None:
    card = ModelCard.from_json(json.dumps(OF_VERSION_0_1_0), "model.json")
    written = json.loads(card.to_json())
    assert written.keys() >= OF_VERSION_0_1_0.keys()
    training, before = written["training"], OF_VERSION_0_1_0["training"]
    assert isinstance(before, dict)
    assert {name: training[name] for name in ("settings", "rows", "histograms", "best_epoch")} == {
        name: before[name] for name in ("settings", "rows", "histograms", "best_epoch")
    }
    assert ModelCard.from_json(card.to_json(), "model.json") == card


def test_a_card_without_a_training_record_has_an_empty_one() -> None:
    record = {name: value for name, value in OF_VERSION_0_1_0.items() if name not in ("training", "metrics")}
    card = ModelCard.from_json(json.dumps(record), "model.json")
    assert card.training.recipe is None
    assert card.training.history == ()
