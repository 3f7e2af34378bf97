"""What the warehouse holds about one track: its row, its features by name and its tag."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pyspark.sql import Row, SparkSession, functions as F

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.features.track_vectors import vectors_of
from genremill.jobs.inspection import explanations
from genremill.jobs.inspection.explanations import short
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
    tokens: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By input that is text: the tokens that speak most for the likeliest label, and their evidence."""


@dataclass(frozen=True)
class AudioFeatures:
    """Values of one feature set by name, for each window; for a sequence or an image, means by channel."""

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
    table_features: Mapping[str, float | None]
    """None if the value is missing."""
    audio_features: Sequence[AudioFeatures]
    tag: Tag | None
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The tags of the source table by column."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The texts of the source table by column."""

    @property
    def heading(self) -> str:
        """Artist and title if they are known, or the id."""
        return " – ".join(filter(None, (", ".join(self.artists), self.title))) or self.track_id


def read(
    spark: SparkSession, warehouse: Warehouse, track: str, *, explain: bool = False
) -> TrackSheet | None:
    """The sheet of the current track with this id, or with this audio_uri; None without such a track.

    With `explain`, its tag has the words and tags that speak most for the label.
    """
    current = warehouse.all_current("tracks", "tags")
    if "tracks" not in current:
        return None
    snapshot = current["tracks"].snapshot
    tracks = snapshots.read(spark, warehouse, snapshot)
    matches = (F.col("track_id") == track) | (F.col("audio_uri") == track)
    row = tracks.where(matches).orderBy(F.col("track_id") != track, "track_id").first()
    if row is None:
        return None
    names = TracksDetails.of(snapshot).feature_names
    unchanged = ("track_id", "title", "album", "split", "duration_s", "audio_uri")
    return TrackSheet(
        **{name: row[name] for name in unchanged},
        artists=tuple(row["artists"] or ()),
        genres=tuple(row["genres"]),
        table_features=_table_features(names, row["table_features"]),
        audio_features=(*_vectors(warehouse, snapshot, row), *_audio_features(spark, warehouse, row)),
        tag=_tag(spark, warehouse, row["track_id"], snapshot, current["tags"].snapshot, explain)
        if "tags" in current
        else None,
        tags=dict(row["tags"] or {}),
        texts=dict(row["texts"] or {}),
    )


def _by_name(names: Iterable[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, map(short, values), strict=True)) if values else {}


def _table_features(names: Sequence[str], values: Sequence[float | None]) -> dict[str, float | None]:
    """The table features by name; empty if the track has none."""
    if all(value is None for value in values):
        return {}
    return {name: None if value is None else short(value) for name, value in zip(names, values, strict=True)}


def _by_channel(cached: CachedSet, values: list[float]) -> list[float]:
    """The values of a vector, or the mean of each channel of a sequence or an image."""
    if len(cached.shape) == 1:
        return values
    rows = np.array(values).reshape(cached.shape)
    if len(cached.shape) == 3:
        return list(map(float, rows.mean(axis=(1, 2))))
    steps = max(1, np.count_nonzero(rows.any(axis=1)))  # the rest is padding
    return list(map(float, rows.sum(axis=0) / steps))


def _tag(
    spark: SparkSession, warehouse: Warehouse, track_id: str, tracks: Snapshot, tags: Snapshot, explain: bool
) -> Tag | None:
    rows = snapshots.read(spark, warehouse, tags)
    row = rows.where(F.col("track_id") == track_id).first()
    if row is None:
        return None
    unchanged = ("label", "confidence", "status", "cluster_id", "model_version")
    explanation = explanations.explained(spark, warehouse, track_id, tracks, row, with_tokens=explain)
    return Tag(
        **{name: row[name] for name in unchanged},
        top={entry["label"]: short(entry["probability"]) for entry in row["top"] or ()},
        inputs=tuple(row["inputs"]),
        clusters={entry["cluster_id"]: short(entry["probability"]) for entry in row["clusters"] or ()},
        blend=row["blend"],
        by_input=explanation.by_input,
        tokens=explanation.tokens,
    )


def _vectors(warehouse: Warehouse, tracks: Snapshot, track: Row) -> list[AudioFeatures]:
    """The vectors of the track table."""
    found: list[AudioFeatures] = []
    for each in vectors_of(warehouse, tracks):
        vector = (track["vectors"] or {}).get(each.name)
        windows = (_by_name(each.values, vector),) if vector else ()
        reason = None if vector else "the track table has no vector"
        found.append(AudioFeatures(each.name, each.fingerprint, windows, reason))
    return found


def _audio_features(spark: SparkSession, warehouse: Warehouse, track: Row) -> tuple[AudioFeatures, ...]:
    """The features of the newest fingerprint of each feature set."""
    newest = {cached.name: cached for cached in feature_cache.cached_sets(warehouse)}
    current = newest.values() if track["audio_uri"] is not None else ()
    return tuple(_features(spark, warehouse, track, cached) for cached in current)


def _features(spark: SparkSession, warehouse: Warehouse, track: Row, cached: CachedSet) -> AudioFeatures:
    name, fingerprint, track_id = cached.name, cached.fingerprint, track["track_id"]
    tracks = spark.range(1).select(*(F.lit(track[key]).alias(key) for key in ("track_id", "audio_uri")))
    rows = feature_cache.rows_of(spark, warehouse, fingerprint).where(F.col("track_id") == track_id)
    row = feature_cache.windows_by_track(tracks, rows).first()
    if row is not None:
        windows = (_by_name(cached.values, _by_channel(cached, values)) for values in row["windows"])
        return AudioFeatures(name, fingerprint, tuple(windows))
    matches = (F.col("key") == track_id) & (F.col("fingerprint") == fingerprint)
    rejects = feature_cache.rejects(spark, warehouse).where(matches)
    newest = rejects.orderBy(F.desc("run_id")).first()
    reason = f"{newest['reason']}: {newest['detail']}" if newest else "not extracted"
    return AudioFeatures(name, fingerprint, reason=reason)
