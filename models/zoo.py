"""The models by name: how each is built, and the recipe it is trained by."""

from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.errors import UsageError
from genremill.models.networks import Network, fcnn, linear
from genremill.models.recipe import Recipe, Schedule
from genremill.models.table_encoder import Scaling, TableEncoder


@dataclass(frozen=True)
class Entry:
    """A model of the zoo. `recipe` is given the number of training rows."""

    build: Callable[[TableEncoder, int], Network]
    scaling: Scaling
    recipe: Callable[[int], Recipe]
    source: str


def _keras_like(rows: int) -> Recipe:
    return Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)


def _linear(rows: int) -> Recipe:
    return Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)


ZOO: dict[str, Entry] = {
    "fcnn": Entry(fcnn, Scaling.MINMAX, _keras_like, "report A"),
    "linear": Entry(linear, Scaling.STANDARD, _linear, "multinomial logistic regression"),
}


def entry(name: str) -> Entry:
    """A model by name; an unknown one is an error that lists those there are."""
    if name not in ZOO:
        raise UsageError(f"no model is named {name!r}; there are {', '.join(sorted(ZOO))}")
    return ZOO[name]
