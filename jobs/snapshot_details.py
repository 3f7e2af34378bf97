"""What the record of a snapshot says about its table in addition to the columns: `details`."""

import enum
from dataclasses import dataclass
from typing import Self

from genremill.infra import records
from genremill.infra.locations import RecordedLocation
from genremill.infra.records import InnerPath, RunId
from genremill.infra.warehouse import Snapshot
from genremill.models.evaluation.split import SplitBy
from genremill.models.genres.cluster_method import Trial

SNAPSHOT_TABLES = ("tracks", "genre_profiles", "genre_map", "tags")
"""Names of the tables that have snapshots, in pipeline order."""
SYNTHETIC_COLUMN = "synthetic_catalog"
"""A column of this name marks a track table as synthetic: `ingest` records that, and pages say so."""

Fractions = tuple[float, float, float]


@dataclass(frozen=True)
class SnapshotDetails:
    """The details of a snapshot of one table."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """The details of a snapshot; raises `StorageError` if they are damaged."""
        return records.from_json(records.to_json(snapshot.details), cls, f"details of {snapshot.path}")


class Kind(enum.StrEnum):
    """How the numbers of a feature are read."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True)
class Feature:
    """One element of `tracks.table_features`; null if a track has no value."""

    name: str
    kind: Kind = Kind.NUMERIC
    is_popularity: bool = False
    missing: float = 0.0  # share of the tracks without a value


@dataclass(frozen=True)
class ColumnUse:
    """What `ingest` understood of one column of the track table."""

    column: str
    uses: tuple[str, ...]  # its roles and uses, such as ("genre", "kept") or ("numeric feature",)
    reason: str
    parsed: float | None = None  # share of the values that are numbers; None if it is not read as numbers
    missing: float = 0.0  # share of the rows without a value
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class VectorColumn:
    """One entry of `tracks.vectors`."""

    name: str
    width: int
    """Number of values of each vector."""
    missing: float = 0.0
    """Share of the rows of the table without a vector."""


@dataclass(frozen=True)
class SplitRule:
    """How the tracks were split: shares of train, validation and test, or the digest of a split file."""

    by: SplitBy
    fractions: Fractions
    seed: int
    file: str | None = None


@dataclass(frozen=True)
class TracksDetails(SnapshotDetails):
    """Details of `tracks`."""

    features: tuple[Feature, ...]  # the values of `table_features`, in order
    split: SplitRule
    kept: tuple[str, ...] = ()  # columns of the source table that `tags` get too
    with_audio: int = 0  # number of tracks with an `audio_uri`
    synthetic: bool = False  # whether the demo made up the tracks
    columns: tuple[ColumnUse, ...] = ()  # what each column of the source table was understood to be
    texts: tuple[str, ...] = ()  # inputs from columns of text and tags, such as text:lyrics and tags:lastfm
    vectors: tuple[VectorColumn, ...] = ()  # the feature sets in `vectors`

    @property
    def feature_names(self) -> list[str]:
        """Names of the table features, in order."""
        return [feature.name for feature in self.features]


@dataclass(frozen=True)
class TagsDetails(SnapshotDetails):
    """Details of `tags`: what they were made from, as in their columns."""

    model_version: InnerPath
    tracks_run: RunId
    genre_map_version: RunId | None = None
    model: RecordedLocation = ""  # folder of the model; relative if it is in the warehouse
    kept: tuple[str, ...] = ()  # columns copied from `tracks`
    settled_by: RunId | None = None  # run of tags whose labels were kept if they were almost as likely


@dataclass(frozen=True)
class GenreMapDetails(SnapshotDetails):
    """Details of `genre_map` and of `genre_profiles`: see `models.genres.clustering.Clustering`."""

    method: str
    clusters: int
    genres: int
    silhouette: float | None = None
    stability: float | None = None
    bootstrap_ari: float | None = None
    trials: tuple[Trial, ...] = ()
    unknown_genres: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # names of the values in `genre_profiles.means`
