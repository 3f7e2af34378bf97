"""The settings of `cluster`, what it reads, and the pairs that the profiles are computed from."""

from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame, functions as F

from genremill.infra import storage, yaml_files
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalFile
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, job_inputs
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features import input_selection
from genremill.jobs.job_inputs import JobInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training.pairs import pairs_of
from genremill.models.genres.cluster_method import Method
from genremill.models.genres.genre_lists import REPORT_A_MAP

REPORT_A = "report-a"
"""Value of --map for the genre map that report A published."""
BUCKETS = 64
"""Buckets of artists; the stability of a clustering is measured by resampling them."""


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
    """Split that the profiles are computed from; `all` includes the test split, as in the reports."""
    map: OptionalFile = None
    """For the method manual: YAML file of `genre: cluster`, or report-a. Genres that it does not list are
    dropped."""
    use_popularity: bool = False
    """Include popularity in the profiles, as the reports do."""
    seed: int = 0
    """Random seed of the clustering."""


@dataclass(frozen=True)
class ClusterInputs(JobInputs):
    """The tracks, features and settings of a clustering."""

    settings: Config
    manual: dict[str, str] | None
    """The map of the method manual, from genre to cluster name."""
    map_digest: str | None
    """Digest of the map's file; None if there is no file."""

    @property
    def made_from(self) -> dict[str, str]:
        """The record of these inputs."""
        own = {"tracks": self.tracks.run_id, "settings": job_inputs.settings_record(self.settings)}
        of_map = {"map": self.map_digest} if self.map_digest is not None else {}
        return own | of_map | self.features.made_from


def check(cfg: Config) -> None:
    """Raises `UsageError` on settings that are wrong for every data set."""
    if (cfg.method is Method.MANUAL) != (cfg.map is not None):
        raise UsageError("--method manual needs --map FILE (or report-a), and no other method uses --map")
    command.check_seed(cfg.seed)


def resolve(warehouse: Warehouse, cfg: Config) -> ClusterInputs:
    """The inputs of a clustering; raises on every error that is visible without Spark."""
    check(cfg)
    tracks = job_inputs.newest_tracks(warehouse)
    is_file = cfg.map is not None and cfg.map != REPORT_A
    return ClusterInputs(
        warehouse=warehouse,
        tracks=tracks,
        features=input_selection.chosen(warehouse, tracks, cfg.inputs, None, cfg.use_popularity),
        settings=cfg,
        manual=read_map(cfg.map) if cfg.map is not None else None,
        map_digest=storage.inventory(storage.absolute_uri(cfg.map or "")).digest if is_file else None,
    )


def read_map(source: str) -> dict[str, str]:
    """Genre to cluster name, from a YAML file or the map of report A."""
    if source == REPORT_A:
        return REPORT_A_MAP
    clusters = yaml_files.read("--map", source, f"YAML of `genre: cluster`, or {REPORT_A}")
    if not isinstance(clusters, dict) or not all(isinstance(name, str | int) for name in clusters.values()):
        raise UsageError(f"--map {source}: expected YAML with a line `genre: cluster` for each genre")
    return {str(genre): str(name) for genre, name in clusters.items()}


def pairs_of_profiles(tracks: DataFrame, inputs: ClusterInputs) -> DataFrame:
    """The pairs that the profiles are computed from: genre, bucket of the artist, values, order."""
    pairs = pairs_of(tracks, TracksDetails.of(inputs.tracks).split)
    if inputs.settings.fit_on == "train":
        pairs = pairs.where(F.col("split") == Split.TRAIN.value)
    bucket = F.pmod(F.xxhash64("artist_id"), F.lit(BUCKETS)).cast("int")
    return pairs.where(inputs.features.usable()).select(
        "genre",
        bucket.alias("bucket"),
        inputs.features.vector().alias("values"),
        unit_hash("order", 0, "track_id", "genre").alias("order"),
    )
