"""Trains a model on the labelled tracks and writes a model version.

Reads: `tracks`, `features` for inputs of audio, `genre_map` where there is one.
Writes: `models/<name>/<version>/`.

    spark-submit jobs/train.py --warehouse file:///data/warehouse --workers 2
"""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.features import model_inputs
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.training.augmentation import augmented, of_variants
from genremill.jobs.training.dataset import TrainingSet, write_training_set
from genremill.jobs.training.pairs import LabelledTracks, balanced, check_exact, labelled, pairs_of, rule_of
from genremill.models.evaluation.held_out import Labels
from genremill.models.pooling import Pooling
from genremill.models.recipe import Schedule
from genremill.udfs.dsp.variant import Variant

if TYPE_CHECKING:
    from genremill.jobs.training.run import Sources


NO_RESUME = (
    "Train from the start, even if there is the checkpoint of an interrupted training with the same "
    "configuration, data and code."
)


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
    """Inputs joined by +: table, text, artist (the artist's other tracks), names of feature sets, or auto
    (all that exist, except artist). [what the model takes]"""
    pooling: Pooling = Pooling.MEAN
    """How the predictions for the windows of a track are combined: the mean of the probabilities, or a
    vote."""
    augment: tuple[Variant, ...] = ()
    """Also train on these variants of the training audio, which `genremill extract --augment` makes."""
    use_popularity: bool = False
    """Use popularity as an input, as the reports do; it reflects the day on which the table was made."""
    target_precision: float | None = None
    """Abstain from tags in each cluster so that this share of the remaining tags is right. [tag
    everything]"""
    per_class: int | None = None
    """Balance the classes: draw this many (track, genre) pairs of each, over all splits. [no balancing]"""
    exactly: bool = False
    """With --per-class, give each class the same number of pairs in every split: 80, 10 and 10 %."""
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
    """Pairs in a step, over all workers. [from the model's recipe]"""
    learning_rate: float | None = None
    """Largest learning rate. [from the model's recipe]"""
    schedule: Schedule | None = None
    """How the learning rate changes during training. [from the model's recipe]"""
    patience: int | None = None
    """Stop after this many epochs without a better validation loss. [from the model's recipe]"""


def transform(
    tracks: DataFrame, genre_map: DataFrame | None, cfg: Config, snapshot: Snapshot, *carried: str
) -> DataFrame:
    """The labelled, balanced pairs of a tracks table: track_id, genre, class, split, columns `carried`."""
    pairs = labelled(pairs_of(tracks, rule_of(snapshot)), genre_map)
    drawn = balanced(pairs, cfg.per_class, cfg.seed, cfg.exactly)
    return drawn.select("track_id", "genre", "class", "split", *carried)


def inputs(warehouse: Warehouse, cfg: Config) -> dict[str, str]:
    """What the result depends on."""
    map_run = warehouse.current("genre_map")
    tracks = warehouse.require("tracks", "ingest --tracks …")
    taken = _inputs(warehouse, tracks, cfg)
    in_variants = {
        f"{name}~{variant}": state
        for variant, changed in of_variants(warehouse, taken, cfg.augment).items()
        for name, state in changed.made_from(warehouse).items()
    }
    return {
        "tracks": tracks.run_id,
        "genre_map": map_run.snapshot.run_id if map_run else "",
        "settings": json.dumps(dataclasses.asdict(cfg), sort_keys=True),
    } | (taken.made_from(warehouse) | in_variants)


def _inputs(warehouse: Warehouse, tracks: Snapshot, cfg: Config) -> ModelInputs:
    from genremill.models import zoo

    asked = cfg.inputs or zoo.inputs_of_parts(parts_of(cfg))
    return model_inputs.chosen(warehouse, tracks, asked, zoo.entry(cfg.model), cfg.use_popularity)


def ready(work: command.Run, cfg: Config) -> None:
    """Raises on all errors that can be seen without Spark."""
    check(cfg)
    inputs(work.warehouse, cfg)
    check_genre_map(work.warehouse, cfg)


def check_genre_map(warehouse: Warehouse, cfg: Config) -> None:
    """Raises if the labels are clusters and there is no genre map."""
    if cfg.labels is Labels.CLUSTER and warehouse.current("genre_map") is None:
        raise UsageError("--labels cluster needs a genre map: run `genremill cluster` first")


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Writes the training set, trains over it, and seals the best weights as a model version."""
    from genremill.jobs.training import (
        run as training_run,  # here: torch takes seconds to import, and --help needs none
    )

    check(cfg)
    data, sources = made_ready(spark, work, cfg)
    if work.dry_run:
        return command.Outcome({"rows": data.rows}, f"dry run: nothing trained; pairs {data.rows}")
    return training_run.fit(spark, work, cfg, data, sources)


def made_ready(spark: SparkSession, work: command.Run, cfg: Config) -> "tuple[TrainingSet, Sources]":
    """The training set, written to the run's scratch space, and what it was made from."""
    from genremill.jobs.training.run import Sources

    made_from = inputs(work.warehouse, cfg)
    tracks = work.warehouse.require("tracks", "ingest --tracks …")
    current_map = work.warehouse.current("genre_map")
    check_genre_map(work.warehouse, cfg)
    genre_map = snapshots.read(spark, work.warehouse, current_map.snapshot) if current_map else None
    taken = _inputs(work.warehouse, tracks, cfg)
    catalog = snapshots.read(spark, work.warehouse, tracks)
    usable = taken.of_usable(spark, work, catalog)
    pairs = transform(
        usable,
        genre_map if cfg.labels is Labels.CLUSTER else None,
        cfg,
        tracks,
        "artist_id",
        *taken.columns,
    )
    if cfg.exactly and cfg.per_class is not None:
        check_exact(pairs, cfg.per_class)
    in_variants = of_variants(work.warehouse, taken, cfg.augment)
    learned = augmented(spark, work, pairs, catalog, in_variants) if in_variants else pairs
    data = write_training_set(spark, work, learned, taken, cfg.workers)
    rows = genre_map.select("genre", "cluster_id", "cluster_name").collect() if genre_map else []
    genres = catalog.select(F.explode("genres").alias("genre")).distinct().collect()
    shown = sorted(row["genre"] for row in genres)
    labelled_tracks = LabelledTracks(tracks, usable, pairs)
    return data, Sources(labelled_tracks, [tuple(row) for row in rows], shown, made_from)


def parts_of(cfg: Config) -> tuple[str, ...]:
    """The models that are joined; none where one is trained by itself."""
    return tuple(cfg.parts.split("+")) if cfg.parts is not None else ()


def check(cfg: Config) -> None:
    """Raises on settings that no data could make right."""
    from genremill.models import zoo

    zoo.entry(cfg.model)
    parts = parts_of(cfg)
    if (cfg.model == zoo.HYBRID) != bool(parts) or len(set(parts)) < len(parts):
        raise UsageError(
            f"--parts {cfg.parts} of {cfg.model}: expected different models joined by +, for hybrid alone"
        )
    for name in parts:
        zoo.entry(name)
    command.check_seed(cfg.seed)
    if cfg.exactly and cfg.per_class is None:
        raise UsageError("--exactly: expected --per-class N beside it")
    if cfg.exactly and cfg.per_class is not None and cfg.per_class < 10:
        raise UsageError(f"--exactly --per-class {cfg.per_class}: expected 10 or more, to hold out a tenth")
    if cfg.workers < 1:
        raise UsageError(f"--workers {cfg.workers}: expected 1 or more")
    if cfg.learning_rate is not None and not 0 < cfg.learning_rate < math.inf:
        raise UsageError(f"--learning-rate {cfg.learning_rate}: expected a number above 0")
    if cfg.target_precision is not None and not 0 < cfg.target_precision < 1:
        raise UsageError(f"--target-precision {cfg.target_precision}: expected a share between 0 and 1")
    for flag in ("epochs", "batch", "per_class", "patience"):
        value = getattr(cfg, flag)
        if value is not None and value < 1:
            raise UsageError(f"--{flag.replace('_', '-')} {value}: expected 1 or more")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("train", __doc__, Config, command.with_spark("train", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
