"""What `model.json` says of a model version; torch is not needed to read it."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scipy.sparse import csc_array

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.models.features import TABLE, TEXT, FeatureSpec
from genremill.models.pooling import Pooling
from genremill.models.recipe import Size

MOST_CATEGORIES = 1_000_000
"""One-hot columns that a card may claim: a network is built of it before its weights are compared."""
MOST_VALUES = 1 << 20
"""Values of a row of a sequence or an image that a card may claim, for the same reason."""
MOST_PAIRS = 100_000_000
"""Tokens times classes that a card may claim: a network keeps a number for each."""
FORMAT = 3
"""Grows when a field changes its meaning: cards of other formats are refused."""


@dataclass(frozen=True)
class Cluster:
    """A class's place in the genre map that the model was trained with."""

    id: int
    name: str


@dataclass(frozen=True)
class Thresholds:
    """The confidence that an answer needs to be a tag; below it the model abstains."""

    precision: float
    """Share of tags that are right, aimed at."""
    overall: float
    """For answers of no cluster."""
    by_cluster: dict[str, float]
    """By the cluster's name."""

    def of(self, cluster: Cluster | None) -> float:
        """The threshold of answers in a cluster."""
        return self.overall if cluster is None else self.by_cluster.get(cluster.name, self.overall)


@dataclass(frozen=True)
class ModelCard:
    """What `model.json` says: enough to build the network, check its weights and read its answers."""

    model: str
    classes: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    """Raw features of the inputs that are vectors, in the order the network takes them."""
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
    inputs: tuple[str, ...] = (TABLE,)
    """Names of the inputs in order: the table, feature sets."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the inputs that are no vectors: (steps, channels) or (channels, height, width)."""
    tokens: int = 0
    """Tokens that it knows, of the names of tracks."""
    parts: tuple[str, ...] = ()
    """The models that `hybrid` joins."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Fingerprint by feature set among the inputs."""
    pooling: Pooling = Pooling.MEAN
    """How the answers of a track's windows become one."""
    together: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class, of the train tracks that bear it, the share that bears another one too; without the rare."""
    temperature: float = 1.0
    """What a track's probabilities are calibrated by: see `calibration.tempered`."""
    thresholds: Thresholds | None = None
    """From which confidence on it tags; None where it never abstains."""
    outlier_limits: dict[str, float] = field(default_factory=dict)
    """By input, the greatest distance from the training tracks of one that is tagged; of none, no limit."""
    snapshots: dict[str, str] = field(default_factory=dict)
    """Runs of the tables it was trained on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Recipe, seed, workers, rows, digest and the record of every epoch."""
    metrics: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""
    git_revision: str | None = None
    created_at: str = ""
    sha256: str = ""

    @cached_property
    def together_CC(self) -> csc_array:
        """`together` as `held_out.confidences` takes it."""
        at = {name: number for number, name in enumerate(self.classes)}
        found = [(number, number, 1.0) for number in at.values()]
        for one, others in self.together.items():
            found += [(at[one], at[other], share) for other, share in others.items()]
        row, column, share = zip(*found, strict=True)
        return csc_array((share, (row, column)), (len(at), len(at)))

    def width(self, name: str) -> int:
        """Values of an input of numbers."""
        if name in self.shapes:
            return math.prod(self.shapes[name])
        return sum(one.input == name for one in self.features)

    def to_json(self) -> str:
        """The text of `model.json`."""
        return json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> "ModelCard":
        """Parses `model.json`; `source` is named when it is not one."""
        try:
            record = json.loads(text)
            if (found := record.pop("format")) != FORMAT:
                raise UsageError(
                    f"{source} has format {found}, of another version of genremill; expected {FORMAT}: "
                    "train the model again"
                )
            record["classes"] = tuple(record["classes"])
            record["inputs"] = tuple(record["inputs"])
            record["pooling"] = Pooling(record["pooling"])
            record["size"] = Size(**record["size"])
            record["features"] = tuple(FeatureSpec(**one) for one in record["features"])
            if (thresholds := record.get("thresholds")) is not None:
                record["thresholds"] = Thresholds(**thresholds)
            record["clusters"] = {name: Cluster(**one) for name, one in record["clusters"].items()}
            shapes: dict[str, list[int]] = record.get("shapes", {})
            record["shapes"] = {name: tuple(shape) for name, shape in shapes.items()}
            record["parts"] = tuple(record.get("parts", ()))
            card = cls(**record)
            if len(set(card.classes)) != len(card.classes) or not all(
                isinstance(n, str) for n in card.classes
            ):
                raise ValueError("classes are not distinct texts")
            vectors = tuple(name for name in card.inputs if name not in card.shapes and name != TEXT)
            if tuple(dict.fromkeys(one.input for one in card.features)) != vectors:
                raise ValueError(f"the features are not those of the inputs {card.inputs}, in order")
            if unknown := card.shapes.keys() - set(card.inputs):
                raise ValueError(f"shapes of no input: {', '.join(sorted(unknown))}")
            for name, shape in card.shapes.items():
                if not _is_shape(shape):
                    raise ValueError(
                        f"the shape of {name} is {shape}: expected 2 or 3 sizes of 1 or more, "
                        f"{MOST_VALUES:,} values at most"
                    )
            if not (type(card.categories) is int and 0 <= card.categories <= MOST_CATEGORIES):
                raise ValueError(f"categories {card.categories!r}: expected 0 to {MOST_CATEGORIES:,}")
            most_tokens = MOST_PAIRS // max(len(card.classes), 1)
            if not (type(card.tokens) is int and 0 <= card.tokens <= most_tokens):
                raise ValueError(f"tokens {card.tokens!r}: expected 0 to {most_tokens:,}")
            if not all(0 <= share <= 1 for share in card.together_CC.data):
                raise ValueError("a share of tracks with two classes is not from 0 to 1")
            if not 0 < card.temperature < math.inf:
                raise ValueError(f"temperature {card.temperature} is not a number above 0")
            if unknown := card.outlier_limits.keys() - set(card.inputs):
                raise ValueError(f"outlier limits of no input: {', '.join(sorted(unknown))}")
            return card
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise UsageError(f"{source} is not a model.json of genremill: {err!r}") from err


def _is_shape(shape: tuple[int, ...]) -> bool:
    """Whether it is the shape of a sequence or an image."""
    sizes_are_whole = all(type(size) is int and size >= 1 for size in shape)
    return len(shape) in (2, 3) and sizes_are_whole and math.prod(shape) <= MOST_VALUES


def read_card(folder: str) -> ModelCard:
    """The card of a model version; a folder without one is an error that says what it holds instead."""
    path = f"{folder}/model.json"
    if not storage.is_object(path):
        raise UsageError(
            f"{folder} is no model: it has no model.json. Models are folders with model.json and "
            "model.safetensors; pickles (.pt, .pth, .joblib) are never opened"
        )
    return ModelCard.from_json(storage.read_bytes(path), path)
