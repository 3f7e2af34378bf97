"""Settings of `cluster`, and the checks that need neither data nor Spark."""

from dataclasses import dataclass
from typing import Literal

from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalFile
from genremill.jobs import command
from genremill.models.genres.cluster_method import Method

REPORT_A = "report-a"
"""Value of --map for the genre map that report A published."""


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


def check(cfg: Config) -> None:
    """Raises on settings that are wrong for every data set."""
    if (cfg.method is Method.MANUAL) != (cfg.map is not None):
        raise UsageError("--method manual needs --map FILE (or report-a), and no other method uses --map")
    command.check_seed(cfg.seed)
