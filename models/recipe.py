"""Size of a network, and settings of its training: batch, epochs, schedule, early stopping."""

import enum
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Size of a network, as far as its report does not fix it."""

    width: int = 256
    depth: int = 2
    members: int = 1
    dropout: float = 0.0
    frequency_deviation: float = 1.0
    """Standard deviation of the initial frequencies of periodic embeddings, for inputs of unit variance."""
    rows: int = 0
    """Train rows that `knn` keeps."""

    def __post_init__(self) -> None:
        for name, most in {"width": 65_536, "depth": 100, "members": 100}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} {value!r}: expected 1 to {most}")
        if not (type(self.rows) is int and self.rows >= 0):
            raise ValueError(f"rows {self.rows!r}: expected 0 or more")


class Watch(enum.StrEnum):
    """The validation metric used for early stopping and for choosing the best weights."""

    LOSS = "loss"
    ACCURACY = "accuracy"


class Schedule(enum.StrEnum):
    """How the learning rate changes."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"  # × gamma after each epoch
    STEP = "step"  # × gamma after every `step_epochs` epochs
    ONE_CYCLE = "one_cycle"  # linear up to the rate over `warmup` of the steps, then cosine to 0


@dataclass(frozen=True)
class Recipe:
    """Settings of the training loop."""

    epochs: int
    batch: int
    learning_rate: float
    schedule: Schedule = Schedule.CONSTANT
    gamma: float = 0.9
    step_epochs: int = 10
    warmup: float = 0.3
    weight_decay: float = 0.0
    beta2: float = 0.999
    label_smoothing: float = 0.0
    patience: int | None = None
    """Epochs without a better validation metric before training stops; None never stops early."""
    watch: Watch = Watch.LOSS
    min_delta: float = 0.0
    """Smallest change of the metric that counts as better."""

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate at a step; steps count from 0.

        >>> Recipe(2, 32, 1.0, Schedule.EXPONENTIAL).rate(step=10, steps_per_epoch=10)
        0.9
        """
        epoch = step // steps_per_epoch
        match self.schedule:
            case Schedule.EXPONENTIAL:
                return self.learning_rate * self.gamma**epoch
            case Schedule.STEP:
                return self.learning_rate * self.gamma ** (epoch // self.step_epochs)
            case Schedule.ONE_CYCLE:
                return self.learning_rate * self._one_cycle(step / max(steps_per_epoch * self.epochs, 1))
            case Schedule.CONSTANT:
                return self.learning_rate

    def _one_cycle(self, progress: float) -> float:
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        return 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
