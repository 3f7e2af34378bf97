"""What the warehouse holds about one track: its row, its features by name and its tag."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pyspark.sql import DataFrame, Row, SparkSession, functions as F

from genremill.infra.warehouse import Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.inspection import input_predictions
from genremill.jobs.snapshot_details import TracksDetails


@dataclass(frozen=True)
class Tag:
    """A row of `tags`."""

    label: str | None
    confidence: float | None
    status: str
    top: Mapping[str, float]
    """Probability of the likeliest labels, highest first."""
    cluster_id: int | None
    inputs: Sequence[str]
    model_version: str
    clusters: Mapping[int, float] = field(default_factory=dict)
    """Probability of the likeliest clusters by id, highest first; empty without a genre map."""
    blend: str | None = None
    """The mix of styles as text."""
    by_input: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The prediction of each input alone: probability of its likeliest labels, highest first."""


@dataclass(frozen=True)
class AudioFeatures:
    """Values of one feature set by name, for each window.

    For a sequence or an image, the mean of each channel.
    """

    name: str
    fingerprint: str
    windows: Sequence[Mapping[str, float]] = ()
    reason: str | None = None
    """Why there are no windows."""


@dataclass(frozen=True)
class TrackSheet:
    """One track of the current snapshot of `tracks`."""

    track_id: str
    title: str | None
    artists: Sequence[str]
    album: str | None
    genres: Sequence[str]
    split: str
    duration_s: float | None
    audio_uri: str | None
    table_features: Mapping[str, float]
    audio_features: Sequence[AudioFeatures]
    tag: Tag | None

    @property
    def heading(self) -> str:
        """Artist and title if they are known, or the id."""
        return " – ".join(filter(None, (", ".join(self.artists), self.title))) or self.track_id


def read(spark: SparkSession, warehouse: Warehouse, track: str) -> TrackSheet | None:
    """The sheet of the current track with this id, or with this audio_uri; None without such a track."""
    current = warehouse.current("tracks")
    if current is None:
        return None
    tracks = snapshots.read(spark, warehouse, current.snapshot)
    matches = (F.col("track_id") == track) | (F.col("audio_uri") == track)
    row = tracks.where(matches).orderBy(F.col("track_id") != track, "track_id").first()
    if row is None:
        return None
    names = TracksDetails.of(current.snapshot).feature_names
    return TrackSheet(
        track_id=row["track_id"],
        title=row["title"],
        artists=tuple(row["artists"] or ()),
        album=row["album"],
        genres=tuple(row["genres"]),
        split=row["split"],
        duration_s=row["duration_s"],
        audio_uri=row["audio_uri"],
        table_features=_by_name(names, row["table_features"]),
        audio_features=_audio_features(spark, warehouse, row),
        tag=_tag(spark, warehouse, row["track_id"]),
    )


def _by_name(names: Iterable[str], values: Sequence[float]) -> dict[str, float]:
    """float32 values by name, each as its shortest decimal number."""
    return dict(zip(names, (float(f"{value:.7g}") for value in values), strict=True)) if values else {}


def _by_channel(cached: CachedSet, values: list[float]) -> list[float]:
    """The values of a vector, or the mean of each channel of a sequence or an image."""
    shape = cached.shape
    if len(shape) == 1:
        return values
    rows = np.array(values).reshape(shape)
    if len(shape) == 3:
        return [float(mean) for mean in rows.mean(axis=(1, 2))]
    steps = max(1, np.count_nonzero(rows.any(axis=1)))  # the rest is padding
    return [float(mean) for mean in rows.sum(axis=0) / steps]


def _tag(spark: SparkSession, warehouse: Warehouse, track_id: str) -> Tag | None:
    current = warehouse.current("tags")
    if current is None:
        return None
    tags = snapshots.read(spark, warehouse, current.snapshot)
    row = tags.where(F.col("track_id") == track_id).first()
    if row is None:
        return None
    newer = row.asDict()  # tags of older versions do not have these columns
    top, clusters = row["top"] or (), newer.get("clusters") or ()
    return Tag(
        label=row["label"],
        confidence=row["confidence"],
        status=row["status"],
        top=_by_name((entry["label"] for entry in top), [entry["probability"] for entry in top]),
        cluster_id=row["cluster_id"],
        inputs=tuple(row["inputs"]),
        model_version=row["model_version"],
        clusters={entry["cluster_id"]: float(f"{entry['probability']:.7g}") for entry in clusters},
        blend=newer.get("blend"),
        by_input=input_predictions.of_track(spark, warehouse, track_id, row["model_version"]),
    )


def _audio_features(spark: SparkSession, warehouse: Warehouse, track: Row) -> tuple[AudioFeatures, ...]:
    """The features of the newest fingerprint of each feature set."""
    newest = {cached.name: cached for cached in feature_cache.cached_sets(warehouse)}
    if track["audio_uri"] is None:
        return ()
    tracks = spark.range(1).select(*(F.lit(track[name]).alias(name) for name in ("track_id", "audio_uri")))
    return tuple(_features(spark, warehouse, tracks, track["track_id"], cached) for cached in newest.values())


def _features(
    spark: SparkSession, warehouse: Warehouse, tracks: DataFrame, track_id: str, cached: CachedSet
) -> AudioFeatures:
    rows = feature_cache.rows_of(spark, warehouse, cached.fingerprint).where(F.col("track_id") == track_id)
    row = feature_cache.windows_by_track(tracks, rows).first()
    if row is None:
        reason = _reject(spark, warehouse, track_id, cached.fingerprint) or "not extracted"
        return AudioFeatures(cached.name, cached.fingerprint, reason=reason)
    windows = tuple(_by_name(cached.value_names, _by_channel(cached, values)) for values in row["windows"])
    return AudioFeatures(cached.name, cached.fingerprint, windows)


def _reject(spark: SparkSession, warehouse: Warehouse, track_id: str, fingerprint: str) -> str | None:
    """Why a track has no features, from the newest run that rejected its audio."""
    rejects = feature_cache.rejects(spark, warehouse)
    matches = (F.col("key") == track_id) & (F.col("fingerprint") == fingerprint)
    row = rejects.where(matches).orderBy(F.desc("run_id")).first()
    return f"{row['reason']}: {row['detail']}" if row else None
