"""What the warehouse knows of one track: its row, its features by name, its tag; as records and as text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pyspark.sql import DataFrame, Row, SparkSession, functions as F

from genremill.infra.terminal import plain
from genremill.infra.warehouse import Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.inspection import input_predictions
from genremill.jobs.snapshot_details import TracksDetails

WIDTH, LABEL_WIDTH, GAP = 112, 12, "   "
"""Characters of a line, of its label, and between two columns."""


@dataclass(frozen=True)
class Tag:
    """A row of `tags`."""

    label: str | None
    confidence: float | None
    status: str
    top: Mapping[str, float]
    """Probability of the likeliest labels, falling."""
    cluster_id: int | None
    inputs: Sequence[str]
    model_version: str
    clusters: Mapping[int, float] = field(default_factory=dict)
    """Probability of the likeliest clusters by id, falling; none where there is no genre map."""
    blend: str | None = None
    """The mix of styles in a few words."""
    by_input: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What each input says by itself: probability of its likeliest labels, falling."""


@dataclass(frozen=True)
class AudioFeatures:
    """Values of one feature set, by name, for each window; without windows, why there are none.

    Of a sequence or an image, the mean of each channel.
    """

    name: str
    fingerprint: str
    windows: Sequence[Mapping[str, float]] = ()
    reason: str | None = None


@dataclass(frozen=True)
class TrackSheet:
    """One track of the current `tracks`."""

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
        """Artist and title, as far as they are known; else the id."""
        return " – ".join(filter(None, (", ".join(self.artists), self.title))) or self.track_id


def read(spark: SparkSession, warehouse: Warehouse, track: str) -> TrackSheet | None:
    """The sheet of the current track with this id, or else with this audio_uri; None where there is none."""
    current = warehouse.current("tracks")
    if current is None:
        return None
    tracks = snapshots.read(spark, warehouse, current.snapshot)
    asked = (F.col("track_id") == track) | (F.col("audio_uri") == track)
    row = tracks.where(asked).orderBy(F.col("track_id") != track, "track_id").first()
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
    """float32 values as the shortest decimal numbers that stand for them; none where there are none."""
    return dict(zip(names, (float(f"{value:.7g}") for value in values), strict=True)) if values else {}


def _by_channel(known: CachedSet, values: list[float]) -> list[float]:
    """A vector's values; the mean of each channel of a sequence's steps or of an image."""
    shape = known.shape
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
    # Tags of older versions lack the columns that came later.
    top, later = row["top"] or (), row.asDict()
    clusters = later.get("clusters") or ()
    return Tag(
        label=row["label"],
        confidence=row["confidence"],
        status=row["status"],
        top=_by_name((one["label"] for one in top), [one["probability"] for one in top]),
        cluster_id=row["cluster_id"],
        inputs=tuple(row["inputs"]),
        model_version=row["model_version"],
        clusters={one["cluster_id"]: float(f"{one['probability']:.7g}") for one in clusters},
        blend=later.get("blend"),
        by_input=input_predictions.of_track(spark, warehouse, track_id, row["model_version"]),
    )


def _audio_features(spark: SparkSession, warehouse: Warehouse, track: Row) -> tuple[AudioFeatures, ...]:
    """For each feature set by name, its newest fingerprint."""
    newest = {one.name: one for one in feature_cache.cached_sets(warehouse)}
    if track["audio_uri"] is None:
        return ()
    only = spark.range(1).select(*(F.lit(track[name]).alias(name) for name in ("track_id", "audio_uri")))
    return tuple(_features(spark, warehouse, only, track["track_id"], one) for one in newest.values())


def _features(
    spark: SparkSession, warehouse: Warehouse, only: DataFrame, track_id: str, known: CachedSet
) -> AudioFeatures:
    rows = feature_cache.rows_of(spark, warehouse, known.fingerprint).where(F.col("track_id") == track_id)
    found = feature_cache.windows_by_track(only, rows).first()
    if found is None:
        reason = _reject(spark, warehouse, track_id, known.fingerprint) or "not extracted"
        return AudioFeatures(known.name, known.fingerprint, reason=reason)
    windows = tuple(_by_name(known.value_names, _by_channel(known, row)) for row in found["windows"])
    return AudioFeatures(known.name, known.fingerprint, windows)


def _reject(spark: SparkSession, warehouse: Warehouse, track_id: str, fingerprint: str) -> str | None:
    """Why a track has no features: what the last run that told of it said."""
    rejects = feature_cache.rejects(spark, warehouse)
    own = (F.col("key") == track_id) & (F.col("fingerprint") == fingerprint)
    row = rejects.where(own).orderBy(F.desc("run_id")).first()
    return f"{row['reason']}: {row['detail']}" if row else None


def lines_of(sheet: TrackSheet) -> list[str]:
    """The sheet as lines for a terminal; nothing in it can move the cursor."""
    duration = "unknown" if sheet.duration_s is None else f"{sheet.duration_s:.1f} s"
    facts = {
        "title": sheet.title or "unknown",
        "artists": ", ".join(sheet.artists) or "unknown",
        "album": sheet.album or "unknown",
        "track_id": sheet.track_id,
        "genres": ", ".join(sheet.genres) or "none: the track is unlabelled",
        "split": sheet.split,
        "duration": duration,
        "audio": sheet.audio_uri or "none: the track has no audio_uri",
    }
    lines = [fact(name, value) for name, value in facts.items()]
    lines += ["", *_tag_lines(sheet.tag)]
    lines += ["", "table features" if sheet.table_features else fact("table", "no table features")]
    lines += _listing(sheet.table_features)
    for one in sheet.audio_features:
        if one.windows:
            count = len(one.windows)
            which = "one window" if count == 1 else f"the first of {count} windows"
            lines += ["", plain(f"{one.name}, {which}, fingerprint {one.fingerprint}")]
            lines += _listing(one.windows[0])
        else:
            lines += ["", fact(one.name, f"none: {one.reason}")]
    if not sheet.audio_features:
        lines += ["", fact("features", "none of the track's audio")]
    return lines


def fact(name: str, value: str) -> str:
    """One line: a label, and what there is to say under it."""
    return plain(f"{name:<{LABEL_WIDTH}}{value}")


def tag_in_words(tag: Tag | None) -> str:
    """A tag in a few words: what it is, and how sure.

    >>> tag_in_words(Tag("rock", 0.625, "tagged", {"rock": 0.625}, 3, ("table",), "linear/1"))
    'rock (62 %)'
    >>> tag_in_words(None)
    'not tagged yet'
    """
    if tag is None:
        return "not tagged yet"
    if tag.label is None or tag.confidence is None:
        return tag.status.replace("_", " ")
    return f"{tag.label} ({100 * tag.confidence:.0f} %)"


def _tag_lines(tag: Tag | None) -> list[str]:
    lines = [fact("tag", tag_in_words(tag))]
    if tag is None:
        return lines
    cluster = "none" if tag.cluster_id is None else str(tag.cluster_id)
    lines += [fact("status", tag.status), fact("cluster", cluster)]
    lines += [fact("model", f"{tag.model_version}, from {' + '.join(tag.inputs) or 'nothing'}")]
    lines += [fact("blend", tag.blend)] if tag.blend else []
    lines += [fact("likeliest", _chances(tag.top) or "no label")]
    lines += [fact("clusters", _chances(tag.clusters))] if tag.clusters else []
    return [*lines, *(fact(f"by {name}", _chances(answer)) for name, answer in tag.by_input.items())]


def _chances(probabilities: Mapping[str, float] | Mapping[int, float]) -> str:
    return ", ".join(f"{name} {100 * probability:.1f} %" for name, probability in probabilities.items())


def _listing(values: Mapping[str, float]) -> list[str]:
    """Names and values in as many columns as the line holds, read downwards."""
    if not values:
        return []
    name_width = max(map(len, values))
    cells = [plain(f"{name:<{name_width}} {value:>10.4g}") for name, value in values.items()]
    columns = max(1, WIDTH // (len(cells[0]) + len(GAP)))
    height = -(-len(cells) // columns)
    return [GAP + GAP.join(cells[row::height]) for row in range(height)]
