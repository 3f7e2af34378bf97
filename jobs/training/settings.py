"""Settings of `train`, and the checks that need neither data nor Spark."""

import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from genremill.infra.errors import UsageError
from genremill.jobs import command
from genremill.jobs.training.pairs import Balance
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import ScalingRule
from genremill.models.pooling import Pooling
from genremill.models.recipe import Schedule
from genremill.udfs.dsp.augmentation import Variant

NO_RESUME = (
    "Train from the start, even if there is the checkpoint of an interrupted training with the same "
    "configuration, data and code."
)

NO_POOL_ARTISTS = "Predict each track by itself, even if its artist has other tracks."


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which model is trained, on which labels, and how."""

    model: str = "fusion"
    """Name of the model."""
    parts: str | None = None
    """Models that the model hybrid combines, joined by +, for example mlp4+timbre_cnn."""
    labels: Labels = Labels.GENRE
    """Labels to predict: genres, or the clusters of the current genre map."""
    inputs: str | None = None
    """Inputs joined by +: table, text, names of feature sets, or auto (all that exist). [what the model
    takes]"""
    pooling: Pooling = Pooling.MEAN
    """How the predictions for the windows of a track are combined: the mean of the probabilities, or a
    vote."""
    pool_artists: Annotated[bool, tyro.conf.arg(help=NO_POOL_ARTISTS)] = True
    """Combine the predictions for the tracks of an artist, if this raises the accuracy on validation
    artists."""
    augment: tuple[Variant, ...] = ()
    """Also train on these variants of the training audio, which `genremill extract --augment` makes."""
    scaling: ScalingRule = ScalingRule.ROBUST
    """How features are scaled: with robust, a value beyond the limits of its feature counts as the limit;
    report has no limits, as in the reports."""
    use_popularity: bool = False
    """Use popularity as an input, as the reports do; it reflects the day on which the table was made."""
    target_precision: float | None = None
    """Abstain from tags in each cluster so that this share of the remaining tags is right. [tag
    everything]"""
    per_class: int | None = None
    """Balance the classes: draw this many (track, genre) pairs of each, over all splits. [no balancing]"""
    exactly: bool = False
    """With --per-class N, put 80, 10 and 10 % of the N pairs of each class into the three splits."""
    workers: int = 1
    """Number of processes that train together."""
    seed: int = 0
    """Random seed of the weights, the order of the pairs and dropout."""
    resume: Annotated[bool, tyro.conf.arg(help=NO_RESUME)] = True
    """Continue from the checkpoint of an interrupted training with the same configuration, data and
    code."""
    epochs: int | None = None
    """Number of passes over the training pairs. [from the model's recipe]"""
    batch: int | None = None
    """Number of pairs in a training step, over all workers. [from the model's recipe]"""
    learning_rate: float | None = None
    """Largest learning rate. [from the model's recipe]"""
    schedule: Schedule | None = None
    """How the learning rate changes during training. [from the model's recipe]"""
    patience: int | None = None
    """Stop after this many epochs without a better validation loss. [from the model's recipe]"""

    @property
    def part_names(self) -> tuple[str, ...]:
        """The models that `hybrid` combines; empty for every other model."""
        return tuple(self.parts.split("+")) if self.parts is not None else ()

    @property
    def balance(self) -> Balance:
        """How pairs are drawn."""
        return Balance(self.per_class, self.exactly, self.seed)


def check(cfg: Config) -> None:
    """Raises `UsageError` on settings that are wrong for every data set."""
    from genremill.models import zoo  # here: torch takes seconds

    zoo.entry(cfg.model)
    parts = cfg.part_names
    if (cfg.model == zoo.HYBRID) != bool(parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"--parts {cfg.parts} with --model {cfg.model}: only hybrid has parts; expected the names of "
            "different models, joined by +"
        )
    for name in parts:
        zoo.entry(name)
    command.check_seed(cfg.seed)
    if cfg.exactly and cfg.per_class is None:
        raise UsageError("--exactly needs --per-class N")
    if cfg.exactly and cfg.per_class is not None and cfg.per_class < 10:
        raise UsageError(
            f"--exactly --per-class {cfg.per_class}: expected 10 or more, so that a tenth is a pair"
        )
    if cfg.learning_rate is not None and not 0 < cfg.learning_rate < math.inf:
        raise UsageError(f"--learning-rate {cfg.learning_rate}: expected a number above 0")
    if cfg.target_precision is not None and not 0 < cfg.target_precision < 1:
        raise UsageError(f"--target-precision {cfg.target_precision}: expected a number between 0 and 1")
    for name in ("workers", "epochs", "batch", "per_class", "patience"):
        value = getattr(cfg, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
