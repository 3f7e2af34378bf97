"""The models by name: their input kind, how to build them, and the recipe that trains them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from genremill.infra.errors import UsageError
from genremill.models import recipe
from genremill.models.encoders.arrays import ArrayEncoder
from genremill.models.encoders.base import Encoder, Encoders
from genremill.models.encoders.table import TableEncoder
from genremill.models.encoders.text import TextEncoder
from genremill.models.features import TABLE, InputKind, Scaling, text_kind
from genremill.models.model_card import ModelCard
from genremill.models.networks import base, images, sequences
from genremill.models.networks.base import Network
from genremill.models.networks.fusion import Fusion
from genremill.models.networks.nearest_neighbors import NearestNeighbors
from genremill.models.networks.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Recipe, Size

Build: TypeAlias = Callable[[Any, int, Size], Network]
"""Builds a network from the encoder of its inputs, the number of classes and the size."""
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipes` and `sizes` may be functions of the number of train rows.

    `of` is the shape of its input and the number of classes in its source, if the source states them.
    `feature_set` is the default input; None for the table.
    """

    build: Build
    source: str
    of: tuple[tuple[int, ...], int] | None
    recipes: Recipe | Callable[[int], Recipe]
    sizes: Size | Callable[[int], Size] = field(default_factory=Size)
    input_kind: InputKind = InputKind.VECTOR
    scaling: Scaling = Scaling.STANDARD
    """For vectors."""
    feature_set: str | None = None
    is_partial: bool = False
    """Whether it accepts tracks that lack some of its inputs."""

    def recipe(self, rows: int) -> Recipe:
        """The settings of its training for a number of train rows."""
        return self.recipes(rows) if callable(self.recipes) else self.recipes

    def size(self, rows: int) -> Size:
        """The size of its network for a number of train rows."""
        return self.sizes(rows) if callable(self.sizes) else self.sizes


def _of_segments(build: Build) -> Entry:
    kind, size = InputKind.SEQUENCE, Size(dropout=0.25)
    return Entry(build, "report D", ((512, 24), 8), recipe.SEGMENTS, size, kind, feature_set="segments")


def _of_windows(build: Build, size: Size) -> Entry:
    return Entry(build, "report E", ((10, 57), 11), recipe.WINDOWS, size, InputKind.SEQUENCE)


def _of_image(build: Build, source: str, channels: int, recipes: Recipe = recipe.IMAGE) -> Entry:
    return Entry(build, source, ((channels, 128, 128), 10), recipes, input_kind=InputKind.IMAGE)


def _hybrid(encoder: Encoders, classes: int, size: Size) -> Network:
    parts = {name: entry(name).build(part, classes, size) for name, part in encoder.by_name.items()}
    return base.Hybrid(encoder, classes, parts)


HYBRID = "hybrid"
TABLE_OF_A = ((30,), 114)

ZOO: dict[str, Entry] = {
    "fcnn": Entry(base.fcnn, "report A", TABLE_OF_A, recipe.FCNN, scaling=Scaling.MINMAX),
    "linear": Entry(base.linear, "multinomial logistic regression; report E", TABLE_OF_A, recipe.LINEAR),
    "knn": Entry(
        NearestNeighbors,
        "report E",
        TABLE_OF_A,
        recipe.ONCE,
        lambda rows: Size(rows=rows),
        scaling=Scaling.RANK,
    ),
    "mlp4": Entry(base.mlp4, "report B", ((57,), 10), recipe.PERCEPTRON, feature_set="gtzan57"),
    # Report C uses dropout, but does not state the rate.
    "multiwindow_mlp": Entry(
        base.multiwindow_mlp,
        "report C",
        ((2220,), 10),
        recipe.PERCEPTRON,
        Size(dropout=0.2),
        feature_set="multiwindow",
    ),
    "vggish_transfer": Entry(
        base.vggish_transfer,
        "report C, its new head",
        ((306,), 10),
        recipe.HEAD,
        Size(width=256, dropout=0.5),
        feature_set="musicnn_vgg",
    ),
    "periodic_mlp": Entry(
        PeriodicMLP,
        "periodic embeddings (arXiv 2203.05556) under members that share weights (arXiv 2410.24210)",
        TABLE_OF_A,
        recipe.periodic_mlp,
        recipe.periodic_mlp_size,
        scaling=Scaling.RANK,
    ),
    "timbre_cnn": _of_segments(sequences.timbre_cnn),
    "pitch_cnn": _of_segments(sequences.pitch_cnn),
    "timbre_pitch_cnn": _of_segments(sequences.timbre_pitch_cnn),
    "cnn": _of_windows(sequences.cnn, Size(width=128, depth=2, dropout=0.5)),
    "lstm": _of_windows(sequences.lstm, Size(width=64, dropout=0.5)),
    "gru": _of_windows(sequences.gru, Size(width=64, dropout=0.5)),
    "cnn_lstm": _of_windows(sequences.cnn_lstm, Size(width=64, depth=1, dropout=0.5)),
    "simple_cnn": _of_image(images.simple_cnn, "report B", channels=4),
    "resnet": _of_image(images.resnet, "report B; ResNet-20 (arXiv 1512.03385)", channels=4),
    "spectrogram_cnn": _of_image(images.spectrogram_cnn, "report C", channels=1, recipes=recipe.SPECTROGRAM),
    HYBRID: Entry(
        _hybrid,
        "report A asks for it; joins the models of `--parts`",
        None,
        recipe.PERCEPTRON,
        Size(dropout=0.2),
        InputKind.SEVERAL,
    ),
    "fusion": Entry(
        Fusion,
        "`periodic_mlp` for the table, embeddings and naive Bayes of tokens for names and for each column of "
        "text or tags, a perceptron for each set of audio; one network on all of these",
        None,
        recipe.fusion,
        recipe.fusion_size,
        InputKind.SEVERAL,
        is_partial=True,
    ),
}


def entry(name: str) -> Entry:
    """A model by name. Raises `UsageError` with the known names if it is unknown."""
    if name not in ZOO:
        raise UsageError(f"no model is named {name!r}; there are {', '.join(sorted(ZOO))}")
    return ZOO[name]


def inputs_of_parts(parts: tuple[str, ...]) -> str | None:
    """The default inputs of the parts of `hybrid`, as a value of --inputs; None without parts."""
    return "+".join(dict.fromkeys(entry(part).feature_set or TABLE for part in parts)) or None


def encoder(card: ModelCard) -> Encoder:
    """The encoder of a card's inputs, not fitted yet. Raises `UsageError` for inputs of a wrong kind."""
    check_inputs(card.model, card.inputs, card.shapes)
    known = entry(card.model)
    match known.input_kind:
        case InputKind.VECTOR:
            return TableEncoder(card.features, known.scaling, card.categories)
        case InputKind.SEVERAL if known.is_partial:
            return Encoders({name: _of_input(card, name) for name in card.inputs})
        case InputKind.SEVERAL if not card.parts:
            raise UsageError(f"{card.model} has no parts; expected 1 or more")
        case InputKind.SEVERAL:
            return Encoders({part: encoder(_of_part(card, part)) for part in card.parts})
        case _:
            return ArrayEncoder(card.shapes, card.scaling_rule)


def _of_input(card: ModelCard, name: str) -> TableEncoder | TextEncoder:
    """The encoder of one input of a partial model."""
    if text_kind(name):
        return TextEncoder(card.tokens.get(name, 0), name)
    features = tuple(feature for feature in card.features if feature.input == name)
    if not features:
        raise UsageError(f"{card.model} takes vectors and text; found {name} of shape {card.shapes[name]}")
    if name == TABLE:
        return TableEncoder(features, Scaling.RANK, card.categories)
    return TableEncoder(features, Scaling.STANDARD)


def _of_part(card: ModelCard, part: str) -> ModelCard:
    """The card of a part of `hybrid`, which takes all inputs of its kind."""
    names = _inputs_of_part(card.model, part, card.inputs, card.shapes)
    shapes = {name: shape for name, shape in card.shapes.items() if name in names}
    return replace(card, model=part, inputs=names, shapes=shapes, parts=())


def _inputs_of_part(model: str, part: str, names: Sequence[str], shapes: Shapes) -> tuple[str, ...]:
    kind = entry(part).input_kind
    if kind is InputKind.SEVERAL:
        raise UsageError(f"{model} cannot have {part} as a part")
    return tuple(name for name in names if input_kind_of(name, shapes) is kind)


def check_inputs(model: str, names: Sequence[str], shapes: Shapes, parts: Sequence[str] = ()) -> None:
    """Raises `UsageError` if a model, or one of its parts, takes inputs of another kind."""
    kind, kinds = entry(model).input_kind, {name: input_kind_of(name, shapes) for name in names}
    if kind is not InputKind.SEVERAL and set(kinds.values()) != {kind}:
        shown = ", ".join(f"{name}: {input_kind}" for name, input_kind in kinds.items()) or "none"
        raise UsageError(f"{model} takes inputs of the kind {kind}; found {shown}")
    for part in parts:
        check_inputs(part, _inputs_of_part(model, part, names, shapes), shapes)


def input_kind_of(name: str, shapes: Shapes) -> InputKind:
    """The kind of an input. `shapes` has the shapes of inputs that are not vectors."""
    if text_kind(name):
        return InputKind.TEXT
    return (InputKind.VECTOR, InputKind.SEQUENCE, InputKind.IMAGE)[len(shapes.get(name, (0,))) - 1]
