"""The grid of a study: its settings, what it reads, and the results of its trainings in the warehouse."""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import records, storage
from genremill.infra.errors import DamagedRecord, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.records import Count
from genremill.jobs.training.settings import Config as TrainConfig
from genremill.jobs.training.sources import TrainingInputs

SETTINGS = ("learning_rate", "batch", "epochs")
"""The settings of `train` that a study varies."""


@dataclass(frozen=True, order=True)
class GridPoint:
    """One point of the grid."""

    learning_rate: float
    batch: int
    epochs: int

    def __str__(self) -> str:
        """The settings in words.

        >>> str(GridPoint(0.001, 64, 20))
        'learning rate 0.001, batch 64, 20 epochs'
        """
        return f"learning rate {self.learning_rate:g}, batch {self.batch}, {self.epochs} epochs"


@dataclass(frozen=True, kw_only=True)
class Config:
    """The grid of settings, and the settings that all trainings share."""

    learning_rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    """Largest learning rates to try."""
    batches: tuple[int, ...] = (32, 128, 512)
    """Batch sizes to try: pairs in a step, over all workers."""
    epoch_counts: tuple[int, ...] = (5, 10, 20)
    """Numbers of epochs to try."""
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def cells(self) -> list[GridPoint]:
        """The cells of the grid, the fastest first."""
        grid = itertools.product(self.learning_rates, self.batches, self.epoch_counts)
        return sorted(itertools.starmap(GridPoint, grid), key=lambda cell: (cell.epochs, -cell.batch, cell))

    def settings(self, cell: GridPoint) -> TrainConfig:
        """The settings of one training."""
        return dataclasses.replace(self.train, **dataclasses.asdict(cell))


def check(cfg: Config) -> None:
    """Raises `UsageError` on a grid or settings that are wrong for every data set."""
    flags = ("--learning-rates", "--batches", "--epoch-counts")
    grid: tuple[tuple[float, ...], ...] = (cfg.learning_rates, cfg.batches, cfg.epoch_counts)
    for flag, values in zip(flags, grid, strict=True):
        shown = " ".join(f"{value:g}" for value in values)
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{flag} {shown}: expected one or more different values")
        if flag == "--learning-rates" and not all(0 < value < math.inf for value in values):
            raise UsageError(f"{flag} {shown}: expected numbers above 0")
        if flag != "--learning-rates" and min(values) < 1:
            raise UsageError(f"{flag} {shown}: expected 1 or more")
    for name, flag in zip(SETTINGS, flags, strict=True):
        if getattr(cfg.train, name) is not None:
            raise UsageError(f"--train.{name.replace('_', '-')} is varied by the study; use {flag} instead")
    if cfg.train.target_precision is not None:
        raise UsageError(
            "--train.target-precision does not change the results of a study; use it with `genremill train`"
        )


@dataclass(frozen=True)
class CellResult:
    """The result of a training, at the epoch whose weights a model version would have."""

    cell: GridPoint
    pairs: Count
    """Number of validation pairs."""
    accuracy: float | None = None
    """Share of the validation rows whose most likely class is the label; None if the loss was not finite."""
    loss: float | None = None
    """Mean cross-entropy of the validation rows, in nats."""
    train_accuracy: float | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    """Time of all epochs, including validation, on the machine of the training."""
    failed: str = ""
    """Why the training has no result."""

    def as_json(self) -> dict[str, Any]:
        """The settings and the result in one dictionary."""
        figures = dataclasses.asdict(self)
        return {**figures.pop("cell"), **figures}


@dataclass(frozen=True)
class StudyInputs:
    """What a study reads, and its settings."""

    settings: Config
    training: TrainingInputs
    code: str
    """Digest of the training code."""

    @property
    def made_from(self) -> dict[str, str]:
        """The record of what the result of a cell depends on, in addition to the cell itself."""
        shared = dataclasses.replace(self.training.settings, resume=True)
        return dataclasses.replace(self.training, settings=shared).made_from | {"code": self.code}

    @property
    def folder(self) -> str:
        """The folder of the study: studies with equal inputs share their results."""
        record = json.dumps(self.made_from, sort_keys=True).encode()
        return self.training.warehouse.path("studies", hashlib.sha256(record).hexdigest()[:20])

    def known_and_missing(self) -> tuple[dict[GridPoint, CellResult], list[GridPoint]]:
        """The results of the cells that were trained before, and the cells that have to be trained."""
        cells = self.settings.cells
        known = recorded(self.folder, cells) if self.settings.train.resume else {}
        return known, [cell for cell in cells if cell not in known]


def record(folder: str, result: CellResult) -> None:
    """Saves the result of a cell atomically."""
    storage.write_atomic(_file(folder, result.cell), json.dumps(result.as_json()).encode())


def recorded(folder: str, cells: Iterable[GridPoint]) -> dict[GridPoint, CellResult]:
    """The saved results of cells. A damaged record is ignored, and its cell is trained again."""
    results = {}
    for cell in cells:
        file = _file(folder, cell)
        if not storage.is_object(file):
            continue
        try:
            text = storage.read_bytes(file)
            if records.from_json(text, GridPoint, file) != cell:
                raise DamagedRecord("it belongs to another cell")
            figures = records.json_object(text, file) | {"cell": cell}
            results[cell] = records.from_json(records.to_json(figures), CellResult, file)
        except DamagedRecord as err:
            LOGGER.warning("%s is damaged and is ignored: %r", file, err)
    return results


def best_of(results: Iterable[CellResult]) -> CellResult | None:
    """The most accurate result, and of equal results the fastest; None if no training has a result."""
    measured = [result for result in results if result.accuracy is not None]
    return max(measured, key=lambda result: (result.accuracy or 0.0, -(result.seconds or 0.0)), default=None)


def _file(folder: str, cell: GridPoint) -> str:
    """The record of a cell.

    >>> _file("f", GridPoint(0.001, 64, 20))
    'f/cells/rate-0.001_batch-64_epochs-20.json'
    """
    return f"{folder}/cells/rate-{cell.learning_rate!r}_batch-{cell.batch}_epochs-{cell.epochs}.json"
