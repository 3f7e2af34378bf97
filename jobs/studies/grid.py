"""The trainings of a study: the settings of each, what it reached, and their records in the warehouse."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.models.model_card import Epoch

SETTINGS = ("learning_rate", "batch", "epochs")
"""What a study varies, by the names of `train`'s settings."""


@dataclass(frozen=True, order=True)
class Cell:
    """One point of the grid."""

    learning_rate: float
    batch: int
    epochs: int

    def __str__(self) -> str:
        """The settings in words.

        >>> str(Cell(0.001, 64, 20))
        'learning rate 0.001, batch 64, 20 epochs'
        """
        return f"learning rate {self.learning_rate:g}, batch {self.batch}, {self.epochs} epochs"

    @property
    def name(self) -> str:
        """A file's name, another for every cell.

        >>> Cell(0.001, 64, 20).name
        'rate-0.001_batch-64_epochs-20'
        """
        return f"rate-{self.learning_rate!r}_batch-{self.batch}_epochs-{self.epochs}"


@dataclass(frozen=True)
class Reached:
    """What the training of a cell has reached, at the epoch whose weights a model version would have."""

    cell: Cell
    pairs: int
    """Validation pairs, those it was measured on."""
    accuracy: float | None = None
    """Share of the validation rows whose label is the likeliest class; None where the loss was no number."""
    loss: float | None = None
    """Mean cross-entropy over the validation rows, nats."""
    train_accuracy: float | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    """Of all epochs, validation included, on the machine that trained it."""
    failed: str = ""
    """Why there are no figures."""

    @classmethod
    def by(cls, cell: Cell, pairs: int, history: Sequence[Epoch], best_epoch: int) -> "Reached":
        """The figures out of a training's epochs."""
        best = history[best_epoch - 1]
        return cls(
            cell,
            pairs,
            accuracy=best.validation_accuracy,
            loss=best.validation_loss,
            train_accuracy=best.train_accuracy,
            best_epoch=best_epoch,
            seconds=sum(epoch.seconds for epoch in history),
        )

    def as_json(self) -> dict[str, Any]:
        """The settings and the figures, side by side."""
        figures = dataclasses.asdict(self)
        settings: dict[str, Any] = figures.pop("cell")
        return settings | figures


def record(folder: str, reached: Reached) -> None:
    """Keeps what a cell has reached, in one step."""
    storage.write_atomic(_file(folder, reached.cell), json.dumps(reached.as_json()).encode())


def recorded(folder: str, cells: Iterable[Cell]) -> dict[Cell, Reached]:
    """What is known of cells; a damaged record is passed over, and its cell trained again."""
    found = {}
    for cell in cells:
        file = _file(folder, cell)
        if not storage.is_object(file):
            continue
        try:
            figures = json.loads(storage.read_bytes(file))
            if Cell(**{name: figures.pop(name) for name in SETTINGS}) != cell:
                raise ValueError("it is of another cell")
            found[cell] = Reached(cell, **figures)
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            LOGGER.warning("%s is damaged and passed over: %r", file, err)
    return found


def best_of(reached: Iterable[Reached]) -> Reached | None:
    """The most accurate, of equals the quickest; None where none has figures."""
    measured = [one for one in reached if one.accuracy is not None]
    return max(measured, key=lambda one: (one.accuracy or 0.0, -(one.seconds or 0.0)), default=None)


def _file(folder: str, cell: Cell) -> str:
    return f"{folder}/cells/{cell.name}.json"
