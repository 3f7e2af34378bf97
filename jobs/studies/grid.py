"""The trainings of a study: their settings, their results, and the records in the warehouse."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.models.model_card import Epoch

SETTINGS = ("learning_rate", "batch", "epochs")
"""The settings of `train` that a study varies."""


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
        """A file name that is unique to the cell.

        >>> Cell(0.001, 64, 20).name
        'rate-0.001_batch-64_epochs-20'
        """
        return f"rate-{self.learning_rate!r}_batch-{self.batch}_epochs-{self.epochs}"


@dataclass(frozen=True)
class CellResult:
    """The result of a training, at the epoch whose weights a model version would have."""

    cell: Cell
    pairs: int
    """Number of validation pairs."""
    accuracy: float | None = None
    """Share of the validation rows whose most likely class is the label; None if the loss was no number."""
    loss: float | None = None
    """Mean cross-entropy of the validation rows, in nats."""
    train_accuracy: float | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    """Time of all epochs, including validation, on the machine of the training."""
    failed: str = ""
    """Why the training has no result."""

    @classmethod
    def of(cls, cell: Cell, pairs: int, history: Sequence[Epoch], best_epoch: int) -> "CellResult":
        """The result from the epochs of a training."""
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
        """The settings and the result in one dictionary."""
        figures = dataclasses.asdict(self)
        settings: dict[str, Any] = figures.pop("cell")
        return settings | figures


def record(folder: str, result: CellResult) -> None:
    """Saves the result of a cell atomically."""
    storage.write_atomic(_file(folder, result.cell), json.dumps(result.as_json()).encode())


def recorded(folder: str, cells: Iterable[Cell]) -> dict[Cell, CellResult]:
    """The saved results of cells. A damaged record is ignored, and its cell is trained again."""
    results = {}
    for cell in cells:
        file = _file(folder, cell)
        if not storage.is_object(file):
            continue
        try:
            figures = json.loads(storage.read_bytes(file))
            if Cell(**{name: figures.pop(name) for name in SETTINGS}) != cell:
                raise ValueError("it belongs to another cell")
            results[cell] = CellResult(cell, **figures)
        except (ValueError, TypeError, KeyError, AttributeError) as err:
            LOGGER.warning("%s is damaged and is ignored: %r", file, err)
    return results


def best_of(results: Iterable[CellResult]) -> CellResult | None:
    """The most accurate result, and of equal results the fastest; None if no training has a result."""
    measured = [result for result in results if result.accuracy is not None]
    return max(measured, key=lambda result: (result.accuracy or 0.0, -(result.seconds or 0.0)), default=None)


def _file(folder: str, cell: Cell) -> str:
    return f"{folder}/cells/{cell.name}.json"
