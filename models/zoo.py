"""The models by name: how each is built, and the recipe it is trained by."""

from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.errors import UsageError
from genremill.models.networks import Network, Size, fcnn, linear
from genremill.models.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Recipe, Schedule
from genremill.models.table_encoder import Scaling, TableEncoder


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipe` and `size` are given the number of training rows."""

    build: Callable[[TableEncoder, int, Size], Network]
    scaling: Scaling
    recipe: Callable[[int], Recipe]
    source: str
    size: Callable[[int], Size] = lambda rows: Size()


def _keras_like(rows: int) -> Recipe:
    return Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)


def _linear(rows: int) -> Recipe:
    return Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)


def _periodic(rows: int) -> Recipe:
    return Recipe(
        epochs=12,
        batch=512,
        learning_rate=3e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.01,
        label_smoothing=0.05,
    )


def _periodic_size(rows: int) -> Size:
    return Size(width=256, depth=2, members=4, dropout=0.1)


ZOO: dict[str, Entry] = {
    "fcnn": Entry(fcnn, Scaling.MINMAX, _keras_like, "report A"),
    "linear": Entry(linear, Scaling.STANDARD, _linear, "multinomial logistic regression"),
    "periodic_mlp": Entry(
        PeriodicMLP, Scaling.RANK, _periodic, "arXiv 2203.05556, arXiv 2410.24210", _periodic_size
    ),
}


def entry(name: str) -> Entry:
    """A model by name; an unknown one is an error that lists those there are."""
    if name not in ZOO:
        raise UsageError(f"no model is named {name!r}; there are {', '.join(sorted(ZOO))}")
    return ZOO[name]
