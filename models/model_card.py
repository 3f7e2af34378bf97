"""The record `model.json` of a model version. Reading it does not import torch."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scipy.sparse import csc_array

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.models.artist_pooling import ArtistPooling
from genremill.models.evaluation.drift import Histogram
from genremill.models.features import ARTIST, TABLE, TEXT, FeatureSpec, ScalingRule, text_kind
from genremill.models.pooling import Pooling
from genremill.models.ranges import (
    Confidence,
    Count,
    LabelKind,
    Name,
    NotNegative,
    Sha256,
    Share,
    Temperature,
    Time,
)
from genremill.models.recipe import Recipe, Size

MOST_CATEGORIES = 1_000_000
"""Limit on the one-hot columns of a card, because the network is built before its weights are checked."""
MOST_VALUES = 1 << 20
"""Limit on the values in a row of a sequence or an image, for the same reason."""
MOST_PAIRS = 100_000_000
"""Limit on tokens times classes: a network keeps a number for each pair."""
MOST_BYTES = 1 << 28
"""Limit on the size of a card, which is read as a whole."""
FORMAT, EARLIER_FORMAT = 4, 3
"""Increases when the meaning of a field changes. In format 3, which is read too, `tokens` is the size of the
vocabulary of names. Cards with another format are rejected."""


@dataclass(frozen=True)
class Cluster:
    """The cluster of a class in the genre map that the model was trained with."""

    id: Count
    name: Name


@dataclass(frozen=True)
class Thresholds:
    """The confidence that a prediction needs to become a tag; below it the model abstains."""

    precision: Share
    """Target share of correct tags."""
    overall: Confidence
    """For predictions that belong to no cluster."""
    by_cluster: dict[str, Confidence]
    """Threshold by cluster name."""

    def of(self, cluster: Cluster | None) -> float:
        """The threshold for predictions in a cluster."""
        return self.overall if cluster is None else self.by_cluster.get(cluster.name, self.overall)


@dataclass(frozen=True)
class Epoch:
    """One line of the learning curves. Losses are means over rows.

    `train_loss` is what training minimizes: with label smoothing, and summed over the networks of a model.
    `train_cross_entropy` and `validation_loss` are the cross-entropy of the predictions and can be compared.
    """

    epoch: Count
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: NotNegative
    seconds: float
    rows: Count
    train_cross_entropy: float | None = None
    """None in models of version 0.1.0, which did not record it."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a model was trained. A field that was not recorded has its default."""

    recipe: Recipe | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings of the `train` job."""
    made_from: dict[str, str] = field(default_factory=dict)
    """Versions of the inputs that the model was trained on."""
    genres: tuple[Name, ...] = ()
    """Genres of all tracks, including those that are not classes."""
    seed: int = 0
    rows: dict[str, Count] = field(default_factory=dict)
    """Pairs of (track, label) by split."""
    class_rows: dict[str, Count] = field(default_factory=dict)
    """Train pairs by class."""
    histograms: tuple[Histogram, ...] = ()
    """Distribution of each feature in the train split."""
    best_epoch: Count = 0
    history: tuple[Epoch, ...] = ()
    by_nightly: bool = False
    """Whether `nightly` trained the model, so that its tags may become current without a flag."""


@dataclass(frozen=True)
class ModelCard:
    """What is needed to build the network, check its weights and interpret its predictions."""

    model: Name
    classes: tuple[Name, ...]
    features: tuple[FeatureSpec, ...]
    """Raw features of the vector inputs, in the order in which the network takes them."""
    size: Size
    categories: int
    """One-hot columns of all categorical features together."""
    labels: LabelKind
    """What the classes are: genre or cluster."""
    use_popularity: bool
    clusters: dict[str, Cluster]
    """Cluster by class; empty without a genre map."""
    genre_map: dict[str, Count]
    """Cluster id by genre; empty without a genre map."""
    inputs: tuple[Name, ...] = (TABLE,)
    """Names of the inputs in order, such as `table`, `text`, `tags:lastfm` and feature sets."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of inputs that are not vectors: (steps, channels) or (channels, height, width)."""
    tokens: dict[str, Count] = field(default_factory=dict)
    """Size of the vocabulary of each input that is text."""
    parts: tuple[Name, ...] = ()
    """The models that `hybrid` combines."""
    fingerprints: dict[str, Name] = field(default_factory=dict)
    """Fingerprint of each feature set among the inputs."""
    scaling_rule: ScalingRule = ScalingRule.REPORT
    """Which values the scalers were fitted on; models of earlier versions used all values."""
    pooling: Pooling = Pooling.MEAN
    """How the predictions for the windows of a track are combined."""
    artist_pooling: ArtistPooling | None = None
    """How the predictions for the tracks of an artist are combined; None if they are not."""
    together: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class and other class: share of the first's train tracks that also have the second, if not rare."""
    temperature: Temperature = 1.0
    """Calibrates the probabilities of a track, see `calibration.tempered`."""
    thresholds: Thresholds | None = None
    """Minimum confidence of a tag; None if the model never abstains."""
    outlier_limits: dict[str, NotNegative] = field(default_factory=dict)
    """By input: the greatest distance from the train tracks at which a track is still tagged."""
    snapshots: dict[str, Name] = field(default_factory=dict)
    """Run ids of the tables that the model was trained on."""
    training: TrainingRecord = field(default_factory=TrainingRecord)
    metrics: dict[str, Epoch] = field(default_factory=dict)
    """The epoch whose weights are kept, under the key `validation`."""
    code_version: str = ""
    git_revision: str | None = None
    created_at: Time = ""
    sha256: Sha256 = ""

    @cached_property
    def together_CC(self) -> csc_array:
        """`together` as the matrix that `held_out.confidences` takes."""
        index = {name: number for number, name in enumerate(self.classes)}
        entries = [(number, number, 1.0) for number in index.values()]
        for name, others in self.together.items():
            entries += [(index[name], index[other], share) for other, share in others.items()]
        row, column, share = zip(*entries, strict=True)
        return csc_array((share, (row, column)), (len(index), len(index)))

    def width(self, name: str) -> int:
        """Number of values of a numeric input."""
        if name in self.shapes:
            return math.prod(self.shapes[name])
        return sum(feature.input == name for feature in self.features)

    def to_json(self) -> bytes:
        """The content of `model.json`."""
        return records.to_json({"format": FORMAT} | dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> "ModelCard":
        """Parses the content of the file `source`. Raises `UsageError` if it is not a valid card."""
        keys = records.from_json(text, dict, source, UsageError)
        if (version := keys.pop("format", None)) not in (FORMAT, EARLIER_FORMAT):
            raise UsageError(
                f"{source} has format {version}, which belongs to another version of genremill; "
                f"expected {EARLIER_FORMAT} or {FORMAT}. Train the model again"
            )
        if unknown := keys.keys() - cls.__dataclass_fields__:
            raise UsageError(f"{source} has unknown fields: {', '.join(sorted(unknown))}")
        if version == EARLIER_FORMAT:
            text = records.to_json(_upgraded(keys))
        card = records.from_json(text, cls, source, UsageError)
        for problem in (*_input_problems(card), *_size_problems(card), *_confidence_problems(card)):
            raise UsageError(f"{source} is not a valid ModelCard record: {problem}")
        return card


def _upgraded(keys: dict[str, Any]) -> dict[str, Any]:
    """The fields of a card of `EARLIER_FORMAT` as they are now."""
    inputs, tokens = keys.get("inputs"), keys.get("tokens", 0)
    if not isinstance(tokens, int):
        return keys
    return keys | {"tokens": {TEXT: tokens} if isinstance(inputs, list) and TEXT in inputs else {}}


def _input_problems(card: ModelCard) -> Iterator[str]:
    vectors = tuple(name for name in card.inputs if name not in card.shapes and not text_kind(name))
    if (found := tuple(dict.fromkeys(feature.input for feature in card.features))) != vectors:
        yield f"the features do not belong to the inputs without `shapes`: expected {vectors}, found {found}"
    texts = {name for name in card.inputs if text_kind(name)}
    if card.tokens.keys() != texts:
        yield f"tokens: expected sizes for {sorted(texts)}, found {sorted(card.tokens)}"
    if unknown := card.shapes.keys() - set(card.inputs):
        yield f"shapes of unknown inputs: {', '.join(sorted(unknown))}"
    if unknown := card.outlier_limits.keys() - set(card.inputs):
        yield f"outlier limits of unknown inputs: {', '.join(sorted(unknown))}"
    for name, values in {"inputs": card.inputs, "parts": card.parts}.items():
        if len(set(values)) != len(values) or not (values or name == "parts"):
            yield f"{name} {values}: expected distinct names"
    if (count := len(card.training.histograms)) not in (0, len(card.features)):
        yield f"training.histograms: expected one for each of {len(card.features)} features, found {count}"


def _size_problems(card: ModelCard) -> Iterator[str]:
    """Problems that make the network too large, or leave it without classes."""
    if not card.classes or len(set(card.classes)) != len(card.classes):
        yield "the classes are not distinct, or there are none"
    for name, shape in card.shapes.items():
        if len(shape) not in (2, 3) or min(shape) < 1 or math.prod(shape) > MOST_VALUES:
            expected = f"expected 2 or 3 sizes of 1 or more, {MOST_VALUES:,} values at most"
            yield f"the shape of {name} is {shape}: {expected}"
    if not 0 <= card.categories <= MOST_CATEGORIES:
        yield f"categories {card.categories}: expected 0 to {MOST_CATEGORIES:,}"
    most_tokens = MOST_PAIRS // max(len(card.classes), 1)
    if (tokens := sum(card.tokens.values())) > most_tokens:
        yield f"tokens {tokens}: expected 0 to {most_tokens:,}"


def _confidence_problems(card: ModelCard) -> Iterator[str]:
    shares = [(name, share) for others in card.together.values() for name, share in others.items()]
    if unknown := (card.together.keys() | dict(shares).keys()) - set(card.classes):
        yield f"`together` has unknown classes: {', '.join(sorted(unknown))}"
    if wrong := [share for _, share in shares if not 0 <= share <= 1]:
        yield f"`together`: a share of tracks with two classes is not from 0 to 1, but {wrong[0]}"


def refuse_removed_inputs(card: ModelCard, model: str) -> None:
    """Raises `UsageError`, which names the model, if it has an input that only earlier versions have."""
    if ARTIST in card.inputs:
        raise UsageError(
            f"{model} uses the input {ARTIST!r}, which this version of genremill no longer has. "
            "Train a new model: run `genremill train`"
        )


def read_card(folder: str) -> ModelCard:
    """The card of the model version in a folder. Raises `UsageError` if there is none."""
    path = f"{folder}/model.json"
    if not storage.is_object(path):
        raise UsageError(
            f"{folder} is not a model: it has no model.json. Models are folders with model.json and "
            "model.safetensors; pickles (.pt, .pth, .joblib) are never opened"
        )
    if (size := storage.inventory(path).size_bytes) > MOST_BYTES:
        raise UsageError(
            f"{path} is not a valid ModelCard record: found {size:,} bytes, expected {MOST_BYTES:,} at most"
        )
    return ModelCard.from_json(storage.read_bytes(path), path)
