"""Sizes of networks, settings of their training, and the recipes of the models of the zoo."""

import enum
import math
from dataclasses import dataclass, replace

from genremill.models.ranges import Count, FrequencyDeviation, NotNegative, Positive, Share

RANGES = (("width", 1, 65_536), ("depth", 1, 100), ("members", 1, 100), ("rows", 0, 1 << 32))
"""Least and greatest sizes."""


@dataclass(frozen=True)
class Size:
    """The parts of the size of a network that its report does not fix."""

    width: int = 256
    depth: int = 2
    members: int = 1
    dropout: Share = 0.0
    frequency_deviation: FrequencyDeviation = 1.0
    """Standard deviation of the initial frequencies of periodic embeddings, for inputs of unit variance."""
    rows: int = 0
    """Train rows that `knn` keeps."""
    joint: bool = False
    """Whether `fusion` has a network on all inputs; in models of earlier versions it has none."""

    def __post_init__(self) -> None:
        for name, least, most in RANGES:
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} {value!r}: expected {least} to {most}")


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

    epochs: Count
    batch: Positive
    learning_rate: NotNegative
    schedule: Schedule = Schedule.CONSTANT
    gamma: NotNegative = 0.9
    step_epochs: Positive = 10
    warmup: Share = 0.3
    weight_decay: NotNegative = 0.0
    beta2: Share = 0.999
    label_smoothing: Share = 0.0
    patience: Count | None = None
    """Epochs without a better validation metric before training stops; None never stops early."""
    watch: Watch = Watch.LOSS
    min_delta: NotNegative = 0.0
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
                progress = step / max(steps_per_epoch * self.epochs, 1)
                if progress < self.warmup:
                    return self.learning_rate * max(progress / self.warmup, 1e-3)
                angle = math.pi * (progress - self.warmup) / (1 - self.warmup)
                return self.learning_rate * (0.5 * (1 + math.cos(angle)))
            case Schedule.CONSTANT:
                return self.learning_rate


FCNN = Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)
"""Batch size and learning rate are the defaults of Keras; the rate falls by 10 % after each epoch."""
LINEAR = Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)
"""Few epochs, because the loss is convex."""
PERCEPTRON = Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=15)
"""For vectors of audio: until the validation loss stops falling."""
IMAGE = replace(PERCEPTRON, epochs=100, patience=10)
SEGMENTS = replace(PERCEPTRON, patience=8, watch=Watch.ACCURACY, min_delta=0.01)
"""The recipe of report D: training stops if validation accuracy has not risen by 1 % in 8 epochs."""
SPECTROGRAM = Recipe(100, 128, 1e-3, Schedule.STEP, gamma=0.1, step_epochs=10, patience=5, min_delta=1e-3)
"""The recipe of report C."""
WINDOWS = Recipe(30, 64, 2e-3, Schedule.ONE_CYCLE, weight_decay=0.05, label_smoothing=0.1)
HEAD = replace(WINDOWS, epochs=60, batch=32, weight_decay=0.1)
"""Chosen on the filtered validation clips of GTZAN, except the epochs: 40 epochs gave .80."""
ONCE = Recipe(epochs=1, batch=4096, learning_rate=1.0)
"""For a model without gradient steps."""

MANY_ROWS, FEW_ROWS = 50_000, 5_000
"""Train rows: with fewer, `periodic_mlp` needs smoother embeddings, smaller batches and more epochs."""


def periodic_mlp(rows: int) -> Recipe:
    """The recipe of `periodic_mlp` for a number of train rows."""
    epochs, batch = (12, 512) if rows >= MANY_ROWS else (15, 256) if rows >= FEW_ROWS else (30, 64)
    return Recipe(epochs, batch, 4e-3, Schedule.ONE_CYCLE, weight_decay=0.01, label_smoothing=0.05)


def periodic_mlp_size(rows: int) -> Size:
    """The size of `periodic_mlp` for a number of train rows."""
    deviation = 1.0 if rows >= MANY_ROWS else 0.3 if rows >= FEW_ROWS else 0.1
    return Size(width=384, depth=2, members=3, dropout=0.1, frequency_deviation=deviation)


def fusion_size(rows: int) -> Size:
    """The size of the networks of `fusion` on numbers."""
    return replace(periodic_mlp_size(rows), joint=True)


def fusion(rows: int) -> Recipe:
    """The recipe of `periodic_mlp`, with fewer epochs for many rows."""
    return replace(periodic_mlp(rows), epochs=8) if rows >= MANY_ROWS else periodic_mlp(rows)
