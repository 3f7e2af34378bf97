"""The models by name: what each takes, how it is built, and the recipe it is trained by."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genremill.infra.errors import UsageError
from genremill.models.array_encoder import ArrayEncoder
from genremill.models.encoder import Encoder
from genremill.models.features import TABLE, TEXT, FeatureSpec, Scaling, Takes
from genremill.models.fusion import Fusion, SeveralEncoder
from genremill.models.model_card import ModelCard
from genremill.models.networks import Network, fcnn, linear, mlp4, multiwindow_mlp, parameter_count
from genremill.models.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Recipe, Schedule, Size
from genremill.models.table_encoder import TableEncoder
from genremill.models.text_encoder import TextEncoder


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipe` and `size` are given the number of training rows.

    `build` gets the encoder of what the model takes, the number of classes and the size. `of` is the shape
    of its input and the number of classes where it comes from; `feature_set` is what it was made for, and is
    given unless told otherwise: None for the table.
    """

    build: Callable[[Any, int, Size], Network]
    source: str
    of: tuple[tuple[int, ...], int]
    recipe: Callable[[int], Recipe]
    takes: Takes = Takes.VECTOR
    scaling: Scaling = Scaling.STANDARD
    """Of vectors."""
    size: Callable[[int], Size] = lambda rows: Size()
    feature_set: str | None = None

    @property
    def is_partial(self) -> bool:
        """Whether it takes tracks that lack some of its inputs."""
        return self.takes is Takes.SEVERAL


def _keras_like(rows: int) -> Recipe:
    return Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)


def _linear(rows: int) -> Recipe:
    return Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)


def _perceptron(rows: int) -> Recipe:
    return Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=15)


MANY_ROWS, FEW_ROWS = 50_000, 5_000
"""Where `periodic_mlp` changes its recipe: fewer rows want smoother embeddings and smaller batches."""


def _periodic(rows: int) -> Recipe:
    epochs, batch = (12, 512) if rows >= MANY_ROWS else (15, 256) if rows >= FEW_ROWS else (30, 64)
    return Recipe(
        epochs=epochs,
        batch=batch,
        learning_rate=4e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.01,
        label_smoothing=0.05,
    )


def _periodic_size(rows: int) -> Size:
    deviation = 1.0 if rows >= MANY_ROWS else 0.3 if rows >= FEW_ROWS else 0.1
    return Size(width=384, depth=2, members=3, dropout=0.1, frequency_deviation=deviation)


def _fusion(rows: int) -> Recipe:
    return dataclasses.replace(_periodic(rows), epochs=8) if rows >= MANY_ROWS else _periodic(rows)


ZOO: dict[str, Entry] = {
    "fcnn": Entry(fcnn, "report A", ((30,), 114), _keras_like, scaling=Scaling.MINMAX),
    "linear": Entry(linear, "multinomial logistic regression", ((30,), 114), _linear),
    "mlp4": Entry(mlp4, "report B", ((57,), 10), _perceptron, feature_set="gtzan57"),
    # Report C says that it has dropout, and not how much.
    "multiwindow_mlp": Entry(
        multiwindow_mlp,
        "report C",
        ((2220,), 10),
        _perceptron,
        size=lambda rows: Size(dropout=0.2),
        feature_set="multiwindow",
    ),
    "periodic_mlp": Entry(
        PeriodicMLP,
        "periodic embeddings (arXiv 2203.05556) under members that share weights (arXiv 2410.24210)",
        ((30,), 114),
        _periodic,
        scaling=Scaling.RANK,
        size=_periodic_size,
    ),
    "fusion": Entry(
        Fusion,
        "`periodic_mlp` for the table, hashed n-grams for names, a perceptron for each set of audio",
        ((30,), 114),
        _fusion,
        takes=Takes.SEVERAL,
        size=_periodic_size,
    ),
}


def entry(name: str) -> Entry:
    """A model by name; an unknown one is an error that lists those there are."""
    if name not in ZOO:
        raise UsageError(f"no model is named {name!r}; there are {', '.join(sorted(ZOO))}")
    return ZOO[name]


def encoder(card: ModelCard) -> Encoder:
    """The encoder of a card's inputs, nothing learned yet; inputs that the model cannot take are an error."""
    known = entry(card.model)
    wrong = {
        name: kind.value
        for name in card.inputs
        if (kind := takes_of(name, card.shapes)) is not known.takes is not Takes.SEVERAL
    }
    if wrong:
        raise UsageError(f"{card.model} takes inputs of the kind {known.takes}; found {wrong}")
    match known.takes:
        case Takes.VECTOR:
            return TableEncoder(card.features, known.scaling, card.categories)
        case Takes.SEVERAL:
            return SeveralEncoder({name: _part(card, name) for name in card.inputs})
        case _:
            return ArrayEncoder(card.shapes)


def _part(card: ModelCard, name: str) -> TableEncoder | TextEncoder:
    """The encoder of one input among several, each on its own."""
    if name == TEXT:
        return TextEncoder(card.tokens)
    features = tuple(one for one in card.features if one.input == name)
    if not features:
        raise UsageError(f"{card.model} takes vectors and text; found {name} of shape {card.shapes[name]}")
    of_table = name == TABLE  # which alone has categories
    return TableEncoder(
        features, Scaling.RANK if of_table else Scaling.STANDARD, card.categories if of_table else 0
    )


def takes_of(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Takes:
    """What a model must take to be given an input, by the shapes of those that are no vectors."""
    if name == TEXT:
        return Takes.TEXT
    return (Takes.VECTOR, Takes.SEQUENCE, Takes.IMAGE)[len(shapes.get(name, (0,))) - 1]


def card_of(name: str, shape: tuple[int, ...], classes: int) -> ModelCard:
    """The card of a model with one input of a shape, all its values numbers, trained on no rows."""
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
        card = card_of(name, *one.of)
        count = parameter_count(one.build(encoder(card), one.of[1], card.size))
        shape = " × ".join(f"{size:,}" for size in one.of[0])
        given = "" if one.feature_set is None else f", `{one.feature_set}`"
        lines.append(f"| `{name}` | {one.takes} {shape}{given} | {count:,} | {one.source} |")
    return "\n".join(lines) + "\n"
