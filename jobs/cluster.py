"""Groups genres into clusters, by the profiles of their tracks.

Reads: `tracks`, `features` for inputs of audio. Writes: `genre_profiles`, `genre_map` (current at the end).

    spark-submit jobs/cluster.py --warehouse file:///data/warehouse --method consensus
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalFile
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features import model_inputs
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.training.pairs import pairs_of, rule_of
from genremill.models.genres.cluster_method import Method

BUCKETS = 64
"""Buckets of artists that stability is measured by resampling of."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """How genres are grouped into clusters."""

    method: Method = Method.CONSENSUS
    """Clustering method; `consensus` changes least from run to run, and `manual` uses --map."""
    inputs: str | None = None
    """Inputs of the genre profiles, joined by +: table, or names of feature sets. [table if the tracks have
    table features, else the feature set]"""
    clusters: int | None = None
    """Number of clusters. [the most stable number from 12 to 24, at most half the genres]"""
    fit_on: Literal["train", "all"] = "train"
    """Tracks that the profiles are computed from; `all` is the protocol of the reports and includes the
    test split."""
    map: OptionalFile = None
    """For the method manual: YAML file of `genre: cluster`, or report-a. Genres that it does not list are
    dropped."""
    use_popularity: bool = False
    """Include popularity in the profiles, as the reports do."""
    seed: int = 0
    """Random seed of the clustering."""


def transform(tracks: DataFrame, snapshot: Snapshot, fit_on: str, inputs: ModelInputs) -> DataFrame:
    """The pairs that profiles are taken over: genre, bucket of the artist, values."""
    pairs = pairs_of(tracks, rule_of(snapshot))
    if fit_on == "train":
        pairs = pairs.where(F.col("split") == Split.TRAIN.value)
    bucket = F.pmod(F.xxhash64("artist_id"), F.lit(BUCKETS)).cast("int")
    return pairs.where(inputs.usable()).select(
        "genre",
        bucket.alias("bucket"),
        inputs.vector().alias("values"),
        unit_hash("order", 0, "track_id", "genre").alias("order"),
    )


def inputs(warehouse: Warehouse, cfg: Config) -> dict[str, str]:
    """What the result depends on."""
    tracks = warehouse.require("tracks", "ingest --tracks …")
    made_from = {"tracks": tracks.run_id, "settings": json.dumps(dataclasses.asdict(cfg), sort_keys=True)}
    if cfg.map and cfg.map != "report-a":
        made_from["map"] = storage.inventory(storage.absolute_uri(cfg.map)).digest
    return made_from | _inputs(warehouse, tracks, cfg).made_from(warehouse)


def _inputs(warehouse: Warehouse, tracks: Snapshot, cfg: Config) -> ModelInputs:
    return model_inputs.chosen(warehouse, tracks, cfg.inputs, None, cfg.use_popularity)


def ready(work: command.Run, cfg: Config) -> None:
    """Raises on all errors that can be seen without Spark."""
    check(cfg)
    inputs(work.warehouse, cfg)


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Sums profiles up in Spark, clusters them on the driver, and publishes the map."""
    from genremill.jobs.genres import clustering  # here: torch takes seconds to import, and --help needs none

    check(cfg)
    made_from = inputs(work.warehouse, cfg)
    snapshot = work.warehouse.require("tracks", "ingest --tracks …")
    taken = _inputs(work.warehouse, snapshot, cfg)
    tracks = taken.of_usable(spark, work, snapshots.read(spark, work.warehouse, snapshot))
    pairs = transform(tracks, snapshot, cfg.fit_on, taken)
    return clustering.fit(spark, work, cfg, pairs, taken, made_from)


def check(cfg: Config) -> None:
    """Raises on settings that no data could make right."""
    if (cfg.method is Method.MANUAL) != (cfg.map is not None):
        raise UsageError("--method manual and --map FILE|report-a belong together; expected both or neither")
    command.check_seed(cfg.seed)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("cluster", __doc__, Config, command.with_spark("cluster", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
