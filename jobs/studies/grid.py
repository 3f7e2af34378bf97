"""The settings of `study`, and the checks that need neither data nor Spark."""

import dataclasses
import itertools
import math
from dataclasses import dataclass, field

from genremill.infra.errors import UsageError
from genremill.jobs.training.settings import Config as TrainConfig

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
    def cells(self) -> list[Cell]:
        """The cells of the grid, the fastest first."""
        grid = itertools.product(self.learning_rates, self.batches, self.epoch_counts)
        return sorted(itertools.starmap(Cell, grid), key=lambda cell: (cell.epochs, -cell.batch, cell))

    def settings(self, cell: Cell) -> TrainConfig:
        """The settings of one training."""
        return dataclasses.replace(self.train, **dataclasses.asdict(cell))


def check(cfg: Config) -> None:
    """Raises on a grid or settings that are wrong for every data set."""
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
