"""The models by name: how each is built, and the recipe it is trained by."""

from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.errors import UsageError
from genremill.models.features import Scaling
from genremill.models.networks import Network, fcnn, linear, mlp4, multiwindow_mlp
from genremill.models.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Recipe, Schedule, Size
from genremill.models.table_encoder import TableEncoder


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipe` and `size` are given the number of training rows.

    `takes` is the feature set that it was made for, and takes unless told otherwise; None for the table.
    """

    build: Callable[[TableEncoder, int, Size], Network]
    scaling: Scaling
    recipe: Callable[[int], Recipe]
    size: Callable[[int], Size] = lambda rows: Size()
    takes: str | None = None


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


ZOO: dict[str, Entry] = {
    # Report A's network.
    "fcnn": Entry(fcnn, Scaling.MINMAX, _keras_like),
    # Multinomial logistic regression.
    "linear": Entry(linear, Scaling.STANDARD, _linear),
    # Report B's perceptron.
    "mlp4": Entry(mlp4, Scaling.STANDARD, _perceptron, takes="gtzan57"),
    # Report C's perceptron; it has dropout, and does not say how much.
    "multiwindow_mlp": Entry(
        multiwindow_mlp, Scaling.STANDARD, _perceptron, lambda rows: Size(dropout=0.2), takes="multiwindow"
    ),
    # Periodic embeddings (arXiv 2203.05556) under members that share weights (arXiv 2410.24210).
    "periodic_mlp": Entry(PeriodicMLP, Scaling.RANK, _periodic, _periodic_size),
}


def entry(name: str) -> Entry:
    """A model by name; an unknown one is an error that lists those there are."""
    if name not in ZOO:
        raise UsageError(f"no model is named {name!r}; there are {', '.join(sorted(ZOO))}")
    return ZOO[name]
