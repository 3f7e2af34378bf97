"""A model version on disk: `model.safetensors` and `model.json`, all that scoring needs."""

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.models import zoo
from genremill.models.networks import Network, Size
from genremill.models.table_encoder import FeatureSpec, TableEncoder
from genremill.models.weights import read_weights, write_weights

FORMAT = 1


@dataclass(frozen=True)
class Cluster:
    """A class's place in the genre map that the model was trained with."""

    id: int
    name: str


@dataclass(frozen=True)
class ModelCard:
    """What `model.json` says: enough to build the network, check its weights and read its answers."""

    model: str
    classes: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    """Raw table features, in the order the network takes them."""
    size: Size
    categories: int
    """One-hot columns over all categorical features."""
    labels: str
    """genre or cluster: what the classes are."""
    use_popularity: bool
    clusters: dict[str, Cluster]
    """Cluster by class; empty where there was no genre map."""
    genre_map: dict[str, int]
    """Cluster id by genre; empty where there was no genre map."""
    inputs: tuple[str, ...] = ("table",)
    snapshots: dict[str, str] = field(default_factory=dict)
    """Runs of the tables it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe, seed, workers, rows, digest and the record of every epoch."""
    metrics: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""
    git_revision: str | None = None
    created_at: str = ""
    sha256: str = ""

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> "ModelCard":
        """Parses `model.json`; `source` is named when it is not one."""
        try:
            record = json.loads(text)
            if record.pop("format") != FORMAT:
                raise UsageError(f"{source}: made by another version of genremill")
            record["classes"] = tuple(record["classes"])
            record["inputs"] = tuple(record["inputs"])
            record["size"] = Size(**record["size"])
            record["features"] = tuple(FeatureSpec(**one) for one in record["features"])
            record["clusters"] = {name: Cluster(**one) for name, one in record["clusters"].items()}
            return cls(**record)
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise UsageError(f"{source} is not a model.json of genremill: {err!r}") from err


def build(card: ModelCard) -> Network:
    """The network that a card describes, its weights still to be loaded."""
    entry = zoo.entry(card.model)
    encoder = TableEncoder(card.features, entry.scaling, card.categories)
    return entry.build(encoder, len(card.classes), card.size)


def save(folder: str, card: ModelCard, tensors: dict[str, Tensor]) -> ModelCard:
    """Writes a model version; the folder appears in one step, whole or not at all."""
    staging = f"{folder}.staging"
    storage.remove(staging)
    sealed = dataclasses.replace(card, sha256=write_weights(f"{staging}/model.safetensors", tensors))
    storage.write_atomic(f"{staging}/model.json", sealed.to_json().encode())
    storage.move(staging, folder)
    return sealed


def read_card(folder: str) -> ModelCard:
    """The card of a model version; a folder without one is an error that says what it holds instead."""
    path = f"{folder}/model.json"
    if not storage.exists(path):
        raise UsageError(
            f"{folder} is no model: it has no model.json. Models are folders with model.json and "
            "model.safetensors; pickles (.pt, .pth, .joblib) are never opened"
        )
    return ModelCard.from_json(storage.read_bytes(path), path)


@functools.lru_cache(maxsize=2)
def load(folder: str) -> tuple[ModelCard, Network]:
    """A model version ready to predict; cached, so that a Python worker loads it once.

    Raises `UsageError` where weights and card do not fit together or a weight is not finite.
    """
    card = read_card(folder)
    tensors = read_weights(f"{folder}/model.safetensors", card.sha256)
    network = build(card)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        shown = "; ".join(
            f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong[:5]
        )
        raise UsageError(f"{folder}: the weights do not fit {card.model}: {shown}")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UsageError(f"{folder}: weight {name} is not finite")
    network.load_state_dict(tensors)
    return card, network.eval()
