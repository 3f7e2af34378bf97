"""How many tags a publication changes, which ones, and why."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Snapshot
from genremill.jobs.audits.audit import NO_OTHER_TAGS, Audit, AuditInputs, Limits, NotApplicable, NotMeasured
from genremill.jobs.audits.content import NO_LABEL
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.model_inputs import text_values
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import TABLE, VECTORS, text_kind

FLOWS = 20
"""The most frequent label changes that are recorded."""


class ChangeReason(enum.StrEnum):
    """Why the tag of a track changes."""

    FEATURES = "new features"
    MAP = "new map"
    MODEL = "new model"
    ARTIST = "other tracks of the artist"
    UNKNOWN = "no known cause"


@dataclass(frozen=True)
class GenreChurn:
    """Tracks with a label before and after."""

    label: str
    before: int
    after: int
    left: int
    """Tracks that had the label and have another one now."""


@dataclass(frozen=True)
class Churn:
    """Changes between two snapshots of tags, for tracks that both contain."""

    tracks: int
    changed: int
    new_tracks: int
    vanished: int
    causes: Mapping[str, int] = field(default_factory=dict)
    clusters_changed: int = 0
    """Tracks with the same label but another cluster, because of a new genre map."""
    genres: tuple[GenreChurn, ...] = ()
    flows: tuple[tuple[str, str, int], ...] = ()
    """Label before, label after, number of tracks."""


def audit(changes: Churn | None, inputs: AuditInputs, limits: Limits) -> Audit:
    """The share of tags that change; a new model or genre map may change more of them."""
    is_new = inputs.has_new_model or inputs.has_new_genre_map
    limit, flag = (limits.max_churn_new, "max-churn-new") if is_new else (limits.max_churn, "max-churn")
    audited = Audit("churn", None, limit, flag=flag)
    if changes is None:
        return audited.without_value(NotApplicable(NO_OTHER_TAGS))
    if not changes.tracks:
        return audited.without_value(NotMeasured("no track has both staged and current tags"))
    note = ", ".join(f"{count:,} by {cause}" for cause, count in changes.causes.items())
    return replace(audited, value=changes.changed / changes.tracks, note=note)


def compare(spark: SparkSession, inputs: AuditInputs, current: Snapshot) -> DataFrame:
    """Every track of the staged or the current tags: its columns `…_before`, `…_after` and a `cause`."""
    before = _columns(inputs.read(spark, current), "before")
    after = _columns(inputs.read(spark, inputs.staged), "after")
    both = after.join(before, "track_id", "full_outer")
    cause = _cause_of_others(inputs).value
    changed = _changed_features(spark, inputs, current.run_id)
    if changed is None:
        return both.withColumn("cause", F.lit(cause))
    both = both.join(changed.withColumn("has_new_features", F.lit(True)), "track_id", "left")
    new_features = F.when(F.col("has_new_features"), ChangeReason.FEATURES.value)
    return both.withColumn("cause", new_features.otherwise(cause))


def _columns(tags: DataFrame, suffix: str) -> DataFrame:
    label, cluster = F.coalesce("label", F.lit(NO_LABEL)), F.col("cluster_id")
    columns = {"label": label, "cluster": cluster, "confidence": F.col("confidence")}
    return tags.select("track_id", *(column.alias(f"{name}_{suffix}") for name, column in columns.items()))


def _changed_features(spark: SparkSession, inputs: AuditInputs, since: str) -> DataFrame | None:
    """Tracks whose features have changed since the current tags; None if no features can have changed."""
    parts = []
    now, then = inputs.tracks, inputs.current_tracks
    of_tracks = _vectors(inputs) or any(name == TABLE or text_kind(name) for name in inputs.card.inputs)
    if of_tracks and then and now.run_id != then.run_id:
        old = _hashes(spark, inputs, then).withColumnRenamed("hash", "old_hash")
        hashes = _hashes(spark, inputs, now).join(old, "track_id", "inner")
        parts.append(hashes.where("hash != old_hash").select("track_id"))
    for fingerprint in inputs.card.fingerprints.values():
        rows = feature_cache.rows_of(spark, inputs.warehouse, fingerprint)
        parts.append(rows.where(F.col("run") > since).select("track_id"))
    return reduce(DataFrame.unionByName, parts).distinct() if parts else None


def _hashes(spark: SparkSession, inputs: AuditInputs, tracks: Snapshot) -> DataFrame:
    """(track_id, hash) of what the model reads of the track, except audio."""
    rows = inputs.read(spark, tracks)
    columns = [F.col("table_features")] if TABLE in inputs.card.inputs else []
    columns += [column for name in inputs.card.inputs for column in text_values(name)]
    columns += [F.col("vectors")[column] for column in _vectors(inputs)]
    return rows.select("track_id", F.xxhash64(*columns).alias("hash"))


def _vectors(inputs: AuditInputs) -> list[str]:
    """The columns of vectors that the model reads."""
    return [name.removeprefix(VECTORS) for name in inputs.card.inputs if name.startswith(VECTORS)]


def _cause_of_others(inputs: AuditInputs) -> ChangeReason:
    """Why the tags of tracks without new features change."""
    if not inputs.has_new_model:
        return ChangeReason.ARTIST if inputs.card.artist_pooling else ChangeReason.UNKNOWN
    of_clusters = Labels(inputs.card.labels) is Labels.CLUSTER
    return ChangeReason.MAP if of_clusters and inputs.has_new_genre_map else ChangeReason.MODEL


def measure(comparison: DataFrame) -> Churn:
    """The figures of a comparison, which is read several times and should be checkpointed."""
    in_both = F.col("label_before").isNotNull() & F.col("label_after").isNotNull()
    same_label = F.col("label_before") == F.col("label_after")
    other_cluster = ~F.col("cluster_before").eqNullSafe(F.col("cluster_after"))
    without_before, without_after = F.col("label_before").isNull(), F.col("label_after").isNull()
    counted = (in_both, without_before, without_after, in_both & same_label & other_cluster)
    counts = comparison.agg(*map(F.count_if, counted)).first()
    tracks, new_tracks, vanished, clusters_changed = counts or (0, 0, 0, 0)
    changed = comparison.where(in_both & ~same_label)
    causes = {row["cause"]: row["count"] for row in changed.groupBy("cause").count().collect()}
    flows = changed.groupBy("label_before", "label_after").count()
    frequent = flows.orderBy(F.desc("count"), "label_before", "label_after").limit(FLOWS).collect()
    return Churn(
        tracks=tracks,
        changed=sum(causes.values()),
        new_tracks=new_tracks,
        vanished=vanished,
        causes=dict(sorted(causes.items())),
        clusters_changed=clusters_changed,
        genres=_by_genre(comparison),
        flows=tuple((row["label_before"], row["label_after"], row["count"]) for row in frequent),
    )


def _by_genre(comparison: DataFrame) -> tuple[GenreChurn, ...]:
    left = F.col("label_after").isNotNull() & (F.col("label_before") != F.col("label_after"))
    counts = (F.count("*").alias("before"), F.count_if(left).alias("left"))
    before = comparison.groupBy(F.col("label_before").alias("label")).agg(*counts)
    after = comparison.groupBy(F.col("label_after").alias("label")).agg(F.count("*").alias("after"))
    rows = before.join(after, "label", "full_outer").dropna(subset="label").na.fill(0)
    ordered = rows.select("label", "before", "after", "left").orderBy("label")
    return tuple(GenreChurn(*row) for row in ordered.collect())
