"""The models by name: their input kind, how to build them, and the recipe that trains them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genremill.infra.errors import UsageError
from genremill.models.encoders.arrays import ArrayEncoder
from genremill.models.encoders.base import Encoder, Encoders
from genremill.models.encoders.table import TableEncoder
from genremill.models.encoders.text import TextEncoder
from genremill.models.features import TABLE, TEXT, FeatureSpec, InputKind, Scaling
from genremill.models.model_card import ModelCard
from genremill.models.networks.base import (
    Network,
    fcnn,
    linear,
    mlp4,
    multiwindow_mlp,
    parameter_count,
    vggish_transfer,
)
from genremill.models.networks.fusion import Fusion
from genremill.models.networks.hybrid import Hybrid
from genremill.models.networks.images import resnet, simple_cnn, spectrogram_cnn
from genremill.models.networks.nearest_neighbors import NearestNeighbors
from genremill.models.networks.periodic_mlp import PeriodicMLP
from genremill.models.networks.sequences import (
    cnn,
    cnn_lstm,
    gru,
    lstm,
    pitch_cnn,
    timbre_cnn,
    timbre_pitch_cnn,
)
from genremill.models.recipe import Recipe, Size
from genremill.models.training import recipes


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipe` and `size` are functions of the number of training rows.

    `build` takes the encoder of the inputs, the number of classes and the size. `of` is the shape of its
    input and the number of classes in its source, if the source gives them. `feature_set` is the default
    input; None for the table.
    """

    build: Callable[[Any, int, Size], Network]
    source: str
    of: tuple[tuple[int, ...], int] | None
    recipe: Callable[[int], Recipe]
    input_kind: InputKind = InputKind.VECTOR
    scaling: Scaling = Scaling.STANDARD
    """For vectors."""
    size: Callable[[int], Size] = lambda rows: Size()
    feature_set: str | None = None
    is_partial: bool = False
    """Whether it accepts tracks that lack some of its inputs."""


def _of_segments(build: Callable[[ArrayEncoder, int, Size], Network]) -> Entry:
    return Entry(
        build,
        "report D",
        ((512, 24), 8),
        recipes.segments,
        InputKind.SEQUENCE,
        size=lambda rows: Size(dropout=0.25),
        feature_set="segments",
    )


def _of_windows(build: Callable[[ArrayEncoder, int, Size], Network], size: Size) -> Entry:
    return Entry(
        build, "report E", ((10, 57), 11), recipes.sequence, InputKind.SEQUENCE, size=lambda rows: size
    )


def _hybrid(encoder: Encoders, classes: int, size: Size) -> Network:
    return Hybrid(
        encoder,
        classes,
        {name: entry(name).build(part, classes, size) for name, part in encoder.by_name.items()},
    )


HYBRID = "hybrid"
TABLE_OF_A = ((30,), 114)

ZOO: dict[str, Entry] = {
    "fcnn": Entry(fcnn, "report A", TABLE_OF_A, recipes.fcnn, scaling=Scaling.MINMAX),
    "linear": Entry(linear, "multinomial logistic regression; report E", TABLE_OF_A, recipes.linear),
    "knn": Entry(
        NearestNeighbors,
        "report E",
        TABLE_OF_A,
        recipes.once,
        scaling=Scaling.RANK,
        size=lambda rows: Size(rows=rows),
    ),
    "mlp4": Entry(mlp4, "report B", ((57,), 10), recipes.perceptron, feature_set="gtzan57"),
    # Report C says that it has dropout, and not how much.
    "multiwindow_mlp": Entry(
        multiwindow_mlp,
        "report C",
        ((2220,), 10),
        recipes.perceptron,
        size=lambda rows: Size(dropout=0.2),
        feature_set="multiwindow",
    ),
    "vggish_transfer": Entry(
        vggish_transfer,
        "report C, its new head",
        ((306,), 10),
        recipes.head,
        size=lambda rows: Size(width=256, dropout=0.5),
        feature_set="musicnn_vgg",
    ),
    "periodic_mlp": Entry(
        PeriodicMLP,
        "periodic embeddings (arXiv 2203.05556) under members that share weights (arXiv 2410.24210)",
        TABLE_OF_A,
        recipes.periodic_mlp,
        scaling=Scaling.RANK,
        size=recipes.periodic_mlp_size,
    ),
    "timbre_cnn": _of_segments(timbre_cnn),
    "pitch_cnn": _of_segments(pitch_cnn),
    "timbre_pitch_cnn": _of_segments(timbre_pitch_cnn),
    "cnn": _of_windows(cnn, Size(width=128, depth=2, dropout=0.5)),
    "lstm": _of_windows(lstm, Size(width=64, dropout=0.5)),
    "gru": _of_windows(gru, Size(width=64, dropout=0.5)),
    "cnn_lstm": _of_windows(cnn_lstm, Size(width=64, depth=1, dropout=0.5)),
    "simple_cnn": Entry(simple_cnn, "report B", ((4, 128, 128), 10), recipes.image, InputKind.IMAGE),
    "resnet": Entry(
        resnet, "report B; ResNet-20 (arXiv 1512.03385)", ((4, 128, 128), 10), recipes.image, InputKind.IMAGE
    ),
    "spectrogram_cnn": Entry(
        spectrogram_cnn, "report C", ((1, 128, 128), 10), recipes.spectrogram, InputKind.IMAGE
    ),
    HYBRID: Entry(
        _hybrid,
        "report A asks for it; joins the models of `--parts`",
        None,
        recipes.perceptron,
        InputKind.SEVERAL,
        size=lambda rows: Size(dropout=0.2),
    ),
    "fusion": Entry(
        Fusion,
        "`periodic_mlp` for the table, embeddings and naive Bayes of hashed n-grams for names, "
        "a perceptron for each set of audio",
        None,
        recipes.fusion,
        input_kind=InputKind.SEVERAL,
        size=recipes.periodic_mlp_size,
        is_partial=True,
    ),
    "joint_fusion": Entry(
        functools.partial(Fusion, joint=True),
        "`fusion`, and `periodic_mlp` for the table beside what names say of a track without its artist",
        None,
        recipes.fusion,
        input_kind=InputKind.SEVERAL,
        size=recipes.periodic_mlp_size,
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
        case InputKind.SEVERAL:
            return Encoders({part: encoder(_of_part(card, part)) for part in card.parts})
        case _:
            return ArrayEncoder(card.shapes)


def _of_input(card: ModelCard, name: str) -> TableEncoder | TextEncoder:
    """The encoder of one input of a model with several."""
    if name == TEXT:
        return TextEncoder(card.tokens)
    features = tuple(one for one in card.features if one.input == name)
    if not features:
        raise UsageError(f"{card.model} takes vectors and text; found {name} of shape {card.shapes[name]}")
    of_table = name == TABLE  # which alone has categories
    return TableEncoder(
        features, Scaling.RANK if of_table else Scaling.STANDARD, card.categories if of_table else 0
    )


def _of_part(card: ModelCard, part: str) -> ModelCard:
    """The card of a part of `hybrid`, which takes all inputs of its kind."""
    names = _inputs_of_part(card.model, part, card.inputs, card.shapes)
    shapes = {name: shape for name, shape in card.shapes.items() if name in names}
    return replace(card, model=part, inputs=names, shapes=shapes, parts=())


def _inputs_of_part(
    model: str, part: str, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, ...]:
    kind = entry(part).input_kind
    if kind is InputKind.SEVERAL:
        raise UsageError(f"{model} cannot have {part} as a part")
    return tuple(name for name in names if input_kind_of(name, shapes) is kind)


def check_inputs(
    model: str, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]], parts: Sequence[str] = ()
) -> None:
    """Raises `UsageError` if a model, or one of its parts, takes inputs of another kind."""
    kind, kinds = entry(model).input_kind, {name: input_kind_of(name, shapes) for name in names}
    if kind is not InputKind.SEVERAL and set(kinds.values()) != {kind}:
        shown = ", ".join(f"{name}: {input_kind}" for name, input_kind in kinds.items()) or "none"
        raise UsageError(f"{model} takes inputs of the kind {kind}; found {shown}")
    for part in parts:
        check_inputs(part, _inputs_of_part(model, part, names, shapes), shapes)


def input_kind_of(name: str, shapes: Mapping[str, tuple[int, ...]]) -> InputKind:
    """The kind of an input. `shapes` has the shapes of inputs that are not vectors."""
    if name == TEXT:
        return InputKind.TEXT
    return (InputKind.VECTOR, InputKind.SEQUENCE, InputKind.IMAGE)[len(shapes.get(name, (0,))) - 1]


def card_of(name: str, shape: tuple[int, ...], classes: int) -> ModelCard:
    """The card of an untrained model with one numeric input of the given shape."""
    vector = len(shape) == 1
    at = "input"
    return ModelCard(
        model=name,
        classes=tuple(str(number) for number in range(classes)),
        features=tuple(FeatureSpec(str(n), False, input=at) for n in range(shape[0] if vector else 0)),
        size=entry(name).size(0),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=(at,),
        shapes={} if vector else {at: shape},
    )


def table() -> str:
    """The models as a Markdown table, parameters counted at the size of where they come from."""
    lines = ["| model | takes | parameters | from |", "|---|---|---|---|"]
    for name, one in ZOO.items():
        shape, count = "", "by its inputs"
        if one.of is not None:
            card = card_of(name, *one.of)
            shape = " " + " × ".join(f"{size:,}" for size in one.of[0])
            count = f"{parameter_count(one.build(encoder(card), one.of[1], card.size)):,}"
        given = "" if one.feature_set is None else f", `{one.feature_set}`"
        lines.append(f"| `{name}` | {one.input_kind}{shape}{given} | {count} | {one.source} |")
    return "\n".join(lines) + "\n"
