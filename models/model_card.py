"""What `model.json` says of a model version; torch is not needed to read it."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.models.features import FeatureSpec
from genremill.models.recipe import Size

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
            card = cls(**record)
            if len(set(card.classes)) != len(card.classes) or not all(
                isinstance(n, str) for n in card.classes
            ):
                raise ValueError("classes are not distinct texts")
            return card
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise UsageError(f"{source} is not a model.json of genremill: {err!r}") from err


def read_card(folder: str) -> ModelCard:
    """The card of a model version; a folder without one is an error that says what it holds instead."""
    path = f"{folder}/model.json"
    if not storage.exists(path):
        raise UsageError(
            f"{folder} is no model: it has no model.json. Models are folders with model.json and "
            "model.safetensors; pickles (.pt, .pth, .joblib) are never opened"
        )
    return ModelCard.from_json(storage.read_bytes(path), path)
