"""The contract of each table, in pipeline order: columns, units, key, and the check of each write."""

import enum
import functools
import operator
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, functions as F, types as T

from genremill.infra.errors import GenremillError
from genremill.udfs.cells.rows import Reason as Reason


class ContractError(GenremillError):
    """A table breaks its contract and is not published."""


class Split(enum.StrEnum):
    """The split of a track, or of a pair if the split is by `rows`."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    UNLISTED = "unlisted"  # not in the split file: not used for training or metrics
    ROWS = "rows"  # each (track, genre) pair has its own split


class Status(enum.StrEnum):
    """The result of scoring a track."""

    TAGGED = "tagged"
    ABSTAINED = "abstained"
    OUTLIER = "outlier"
    NO_FEATURES = "no_features"


@dataclass(frozen=True)
class Table:
    """The name and contract of a table. Kept columns may follow the columns of the schema."""

    name: str
    schema: T.StructType
    key: str | None = None
    not_null: tuple[str, ...] = ()

    def check_schema(self, df: DataFrame) -> None:
        """Raises `ContractError` with all differences between the columns of a DataFrame and the contract."""
        found = types_of(df.schema)
        problems = [
            f"{name}: expected {kind}, found {found.get(name, 'no column')}"
            for name, kind in types_of(self.schema).items()
            if found.get(name) != kind
        ]
        if problems:
            raise ContractError(f"table {self.name}: " + "; ".join(problems))

    def checked_rows(self, df: DataFrame, source: str) -> int:
        """The number of rows read from `source`; raises `ContractError` if they break the contract."""
        self.check_schema(df)
        distinct = F.count_distinct(self.key) if self.key else F.lit(0)
        nulls = [F.count_if(F.col(name).isNull()).alias(f"null_{name}") for name in self.not_null]
        row = df.agg(F.count("*").alias("rows"), distinct.alias("distinct"), *nulls).first()
        counts: dict[str, int] = row.asDict() if row else {}
        problems = [f"{n:,} rows without {name}" for name in self.not_null if (n := counts[f"null_{name}"])]
        if self.key and counts["distinct"] != counts["rows"]:
            problems.append(
                f"{counts['rows']:,} rows have {counts['distinct']:,} different values of {self.key}; "
                "expected one for each row"
            )
        if problems:
            raise ContractError(f"table {self.name} at {source}: " + "; ".join(problems))
        return counts["rows"]


def types_of(schema: T.StructType) -> dict[str, str]:
    """Types by the names of the columns, without nullability, which Parquet does not keep."""
    return {field.name: field.dataType.simpleString() for field in schema}


def quoted(name: str) -> str:
    """The name of a column as Spark's expressions need it, with any characters.

    >>> quoted("release.date"), quoted("a`b")
    ('`release.date`', '`a``b`')
    """
    return "`" + name.replace("`", "``") + "`"


def any_of(conditions: list[Column]) -> Column:
    """Whether at least one of the conditions holds; false for none."""
    return functools.reduce(operator.or_, conditions, F.lit(False))


_TEXT, _LONG, _DOUBLE = T.StringType(), T.LongType(), T.DoubleType()


def _schema(**columns: T.DataType) -> T.StructType:
    return T.StructType([T.StructField(name, kind) for name, kind in columns.items()])


TRACKS = Table(
    "tracks",
    _schema(
        track_id=_TEXT,
        recording_id=_TEXT,  # smallest track_id among the re-releases of one recording
        artist_id=_TEXT,  # smallest track_id among the tracks joined by first artist or recording
        title=_TEXT,
        album=_TEXT,
        artists=T.ArrayType(_TEXT),  # as credited, first artist first
        genres=T.ArrayType(_TEXT),  # sorted; empty if the track has no label
        popularity=_DOUBLE,  # in the unit of the source table
        duration_s=_DOUBLE,  # seconds
        audio_uri=_TEXT,
        table_features=T.ArrayType(T.FloatType()),  # null: missing; _current.json has their names
        split=_TEXT,  # a Split
        source_rows=_LONG,  # number of rows of the source table that became this track
        texts=T.MapType(_TEXT, _TEXT),  # texts such as lyrics by column; without those that are missing
        tags=T.MapType(_TEXT, T.ArrayType(_TEXT)),  # different tags by column; without those that are missing
        vectors=T.MapType(_TEXT, T.ArrayType(T.FloatType())),  # by column; without those that are missing
    ),
    key="track_id",
    not_null=(
        *("track_id", "recording_id", "artist_id", "genres", "table_features", "split", "source_rows"),
        *("texts", "tags", "vectors"),
    ),
)

TEXT_MAPS = ("texts", "tags")
"""Columns of `tracks` with the texts and the tags of a track, by column of the source table."""
MAPS = (*TEXT_MAPS, "vectors")
"""Columns of `tracks` with values by column of the source table."""

REJECTS = Table(
    "rejects",
    _schema(
        stage=_TEXT,  # the job that rejected it
        key=_TEXT,  # track_id if there is one, otherwise file and row number
        reason=_TEXT,  # a Reason, or an AudioReason
        detail=_TEXT,
        etag=_TEXT,
        fingerprint=_TEXT,
        run_id=_TEXT,
        decoder=_TEXT,  # of audio: the decoders that tried it, and their revision
    ),
    not_null=("stage", "key", "reason", "run_id"),
)

FILE_METADATA = Table(
    "file_metadata",
    _schema(
        audio_uri=_TEXT,
        etag=_TEXT,  # of the audio object; for a local file, its size and modification time
        title=_TEXT,
        album=_TEXT,
        artists=T.ArrayType(_TEXT),
        genres=T.ArrayType(_TEXT),
        year=T.IntegerType(),  # of the first release, or else of this release
        isrc=_TEXT,  # 12 letters and digits
        musicbrainz_id=_TEXT,  # of the recording
        duration_s=_DOUBLE,  # seconds, as the headers say
        fault=_TEXT,  # why the tags cannot be read
        reason=_TEXT,  # an AudioReason: why the file is no track, or why it was not read
        detail=_TEXT,
        revision=T.IntegerType(),  # of how metadata are read
    ),
    not_null=("audio_uri", "etag", "revision"),
)
"""What audio files say about themselves: a cache, in which a row can occur twice."""

FEATURES = Table(
    "features",
    _schema(
        track_id=_TEXT,
        window=T.IntegerType(),  # number of the window, from 0; 0 if the feature set uses the whole audio
        window_start_s=_DOUBLE,  # seconds from the start of the part that was decoded
        audio_uri=_TEXT,
        etag=_TEXT,  # of the audio object; for a local file, its size and modification time
        size=_LONG,  # of the audio object, in bytes
        content_hash=_TEXT,  # sha256 of the audio object
        values=T.ArrayType(T.FloatType()),  # _feature_set.json has their names
        coverage=T.FloatType(),  # decoded share of what the header declares within --seconds, 0 to 1
        seconds_decoded=_DOUBLE,
    ),
    not_null=("track_id", "window", "audio_uri", "etag", "values", "coverage"),
)
"""A cache, in which a row can occur twice: see `cache.windows_by_track`."""

GENRE_PROFILES = Table(
    "genre_profiles",
    _schema(
        genre=_TEXT,
        tracks=_LONG,  # number of (track, genre) pairs that the means are computed from
        means=T.ArrayType(_DOUBLE),  # of the encoded inputs; _current.json has their names
    ),
    key="genre",
    not_null=("genre", "tracks", "means"),
)

GENRE_MAP = Table(
    "genre_map",
    _schema(genre=_TEXT, cluster_id=T.IntegerType(), cluster_name=_TEXT, method=_TEXT),
    key="genre",
    not_null=("genre", "cluster_id", "cluster_name", "method"),
)

_CLUSTERS = T.ArrayType(_schema(cluster_id=T.IntegerType(), probability=T.FloatType()))
_TOP = T.ArrayType(_schema(label=_TEXT, probability=T.FloatType()))

TAGS = Table(
    "tags",
    _schema(
        track_id=_TEXT,
        label=_TEXT,  # null unless tagged
        cluster_id=T.IntegerType(),  # null unless tagged, and if the label is in no cluster
        confidence=T.FloatType(),  # probability that the label (or the likeliest one) is one of the track's
        top=_TOP,  # the five likeliest labels, the most likely first
        status=_TEXT,  # a Status
        inputs=T.ArrayType(_TEXT),  # names of the model's inputs that the track has
        model_version=_TEXT,  # <name>/<version>
        genre_map_version=_TEXT,  # run of genre_map that the model was trained with
        tracks_run=_TEXT,  # run of tracks that these tags belong to
        clusters=_CLUSTERS,  # the five likeliest first; sums over their genres; null without a genre map
        blend=_TEXT,  # the clusters in a few words: "metal 48 % · hip-hop 31 %"
    ),
    key="track_id",
    not_null=("track_id", "status", "inputs", "model_version", "tracks_run"),
)

TAG_CHANGES = Table(
    "tag_changes",
    _schema(
        track_id=_TEXT,
        before=_TEXT,  # the label in the tags before; null if the track had none or was not there
        after=_TEXT,  # the label now; null if the track has none or is not there any more
    ),
    key="track_id",
    not_null=("track_id",),
)

TABLES = {table.name: table for table in (TRACKS, GENRE_PROFILES, GENRE_MAP, TAGS)}
"""The tables that have snapshots, by name."""
