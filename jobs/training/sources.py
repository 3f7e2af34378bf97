"""What a training reads, and the training set that is prepared from it."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, job_inputs, snapshots
from genremill.jobs.features import input_selection
from genremill.jobs.job_inputs import JobInputs
from genremill.jobs.training.dataset import TrainingSet, Variants, augmented, write_training_set
from genremill.jobs.training.pairs import check_exact, drawn
from genremill.jobs.training.settings import Config, check
from genremill.models.evaluation.held_out import Labels


@dataclass(frozen=True)
class TrainingInputs(JobInputs):
    """The tracks, features, genre map and settings of a training."""

    settings: Config
    genre_map: Snapshot | None
    variants: Variants
    by_nightly: bool = False
    """Whether `nightly` trains, and not somebody by hand."""

    @property
    def made_from(self) -> dict[str, str]:
        """The record of these inputs."""
        record = {
            "tracks": self.tracks.run_id,
            "genre_map": self.genre_map.run_id if self.genre_map else "",
            "settings": job_inputs.settings_record(self.settings),
        } | self.features.made_from
        for variant, features in self.variants.items():
            record |= {f"{name}~{variant}": state for name, state in features.made_from.items()}
        return record


@dataclass(frozen=True)
class Sources:
    """The data that a training reads in addition to the training set."""

    inputs: TrainingInputs
    tracks: DataFrame
    """The tracks that the model can use, with their inputs."""
    pairs: DataFrame
    """The pairs of these tracks, with class and split."""
    genre_map: list[tuple[str, int, str]]
    """Genre, cluster id and cluster name."""
    genres: list[str]
    """The genres of all tracks, including those that are not classes."""


def resolve(warehouse: Warehouse, cfg: Config) -> TrainingInputs:
    """The inputs of a training; raises on every error that is visible without Spark."""
    from genremill.models import zoo  # here: torch takes seconds

    check(cfg)
    genre_map, tracks = warehouse.newest("genre_map"), job_inputs.newest_tracks(warehouse)
    if genre_map is not None:
        job_inputs.log_if_staged(warehouse, "genre_map", genre_map)
    if cfg.labels is Labels.CLUSTER and genre_map is None:
        raise UsageError("--labels cluster needs a genre map: run `genremill cluster` first")
    asked = cfg.inputs or zoo.inputs_of_parts(cfg.part_names)
    features = input_selection.chosen(warehouse, tracks, asked, zoo.entry(cfg.model), cfg.use_popularity)
    zoo.check_inputs(cfg.model, features.names, features.shapes, cfg.part_names)
    return TrainingInputs(
        warehouse=warehouse,
        tracks=tracks,
        features=features,
        settings=cfg,
        genre_map=genre_map,
        variants=input_selection.of_variants(warehouse, features, cfg.augment),
    )


def prepared(spark: SparkSession, work: command.Run, inputs: TrainingInputs) -> tuple[TrainingSet, Sources]:
    """The training set, written to the run's scratch space, and the other data of the training."""
    cfg, catalog = inputs.settings, inputs.read_tracks(spark)
    genre_map = snapshots.read(spark, inputs.warehouse, inputs.genre_map) if inputs.genre_map else None
    usable = inputs.features.usable_with_inputs(spark, work, catalog)
    classes = genre_map if cfg.labels is Labels.CLUSTER else None
    pairs = drawn(usable, classes, inputs.tracks, cfg.balance, "artist_id", *inputs.features.columns)
    if cfg.exactly and cfg.per_class is not None:
        check_exact(pairs, cfg.per_class)
    learned = augmented(spark, work, pairs, catalog, inputs.variants) if inputs.variants else pairs
    data = write_training_set(spark, work, learned, inputs.features, cfg.workers)
    rows = genre_map.select("genre", "cluster_id", "cluster_name").collect() if genre_map else []
    genres = catalog.select(F.explode("genres").alias("genre")).distinct().collect()
    names = sorted(row["genre"] for row in genres)
    return data, Sources(inputs, usable, pairs, [tuple(row) for row in rows], names)
