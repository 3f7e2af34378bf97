"""How many tags change with a publication, which, and why."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import artists, cache as feature_cache
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import ARTIST, ARTIST_FEATURES, TABLE
from genremill.models.model_card import ModelCard

NONE = "–"
"""The label of a track that has none."""
FLOWS = 20
"""Changes from one label to another that are kept, the most frequent."""


class Cause(enum.StrEnum):
    """Why a track's tag is another."""

    FEATURES = "new features"
    MAP = "new map"
    MODEL = "new model"
    UNKNOWN = "no known cause"


@dataclass(frozen=True)
class GenreChurn:
    """What becomes of the tracks of one label."""

    label: str
    before: int
    after: int
    left: int
    """Tracks that had it and have another."""


@dataclass(frozen=True)
class Churn:
    """Changes between two snapshots of tags, over the tracks that both have."""

    tracks: int
    changed: int
    new_tracks: int
    vanished: int
    causes: Mapping[str, int] = field(default_factory=dict)
    clusters_changed: int = 0
    """Tracks of the same label in another cluster: the map is new."""
    genres: tuple[GenreChurn, ...] = ()
    flows: tuple[tuple[str, str, int], ...] = ()
    """Label before, label after, tracks."""

    @property
    def share(self) -> float:
        """Changed of all."""
        return self.changed / self.tracks if self.tracks else 0.0


def compared(
    spark: SparkSession, warehouse: Warehouse, candidate: Snapshot, current: Snapshot, card: ModelCard
) -> DataFrame:
    """Every track of either snapshot: label, cluster and confidence `before` and `after`, and a cause."""
    before, after = (
        _answers(snapshots.read(spark, warehouse, one), suffix)
        for one, suffix in ((current, "before"), (candidate, "after"))
    )
    both = after.join(before, "track_id", "full_outer")
    touched = _touched(spark, warehouse, candidate, current, card)
    if touched is not None:
        both = both.join(touched.withColumn("touched", F.lit(True)), "track_id", "left")
    else:
        both = both.withColumn("touched", F.lit(None).cast("boolean"))
    return both.withColumn("cause", _cause(candidate, current, card))


def _answers(tags: DataFrame, suffix: str) -> DataFrame:
    columns = {
        "label": F.coalesce("label", F.lit(NONE)),
        "cluster": F.col("cluster_id"),
        "confidence": F.col("confidence"),
        "status": F.col("status"),
    }
    return tags.select("track_id", *(one.alias(f"{name}_{suffix}") for name, one in columns.items()))


def _touched(
    spark: SparkSession, warehouse: Warehouse, candidate: Snapshot, current: Snapshot, card: ModelCard
) -> DataFrame | None:
    """Tracks whose features are others than those the current tags rest on; None where there can be none."""
    parts = []
    now, then = (warehouse.finished("tracks", TagsDetails.of(one).tracks_run) for one in (candidate, current))
    if {TABLE, ARTIST} & set(card.inputs) and now and then and now.run_id != then.run_id:
        hashed = _hashed(spark, warehouse, now, card).join(
            _hashed(spark, warehouse, then, card).withColumnRenamed("hash", "then"), "track_id", "inner"
        )
        parts.append(hashed.where("hash != then").select("track_id"))
    for fingerprint in card.fingerprints.values():
        rows = feature_cache.rows_of(spark, warehouse, fingerprint)
        parts.append(rows.where(F.col("run") > current.run_id).select("track_id"))
    if not parts:
        return None
    first, *others = parts
    for other in others:
        first = first.unionByName(other)
    return first.distinct()


def _hashed(spark: SparkSession, warehouse: Warehouse, tracks: Snapshot, card: ModelCard) -> DataFrame:
    """(track_id, hash) of what the model takes of the table: of the track itself, and of its artist's."""
    frame = snapshots.read(spark, warehouse, tracks)
    columns = ["table_features"]
    if found := artists.of_model(warehouse, tracks, card):
        frame = artists.beside(frame, found.described(spark))
        columns.append(ARTIST_FEATURES)
    return frame.select("track_id", F.xxhash64(*columns).alias("hash"))


def _cause(candidate: Snapshot, current: Snapshot, card: ModelCard) -> Column:
    after, before = TagsDetails.of(candidate), TagsDetails.of(current)
    other = Cause.UNKNOWN
    if after.model_version != before.model_version:
        other = Cause.MODEL
        if Labels(card.labels) is Labels.CLUSTER and after.genre_map_version != before.genre_map_version:
            other = Cause.MAP
    return F.when(F.col("touched"), Cause.FEATURES.value).otherwise(other.value)


def measured(both: DataFrame) -> Churn:
    """The figures of a comparison, which is read several times: it should lie on disk."""
    there = F.col("label_before").isNotNull() & F.col("label_after").isNotNull()
    same_label = F.col("label_before") == F.col("label_after")
    moved = same_label & ~F.col("cluster_before").eqNullSafe(F.col("cluster_after"))
    total = both.agg(
        F.count_if(there),
        F.count_if(F.col("label_before").isNull()),
        F.count_if(F.col("label_after").isNull()),
        F.count_if(there & moved),
    ).first()
    tracks, new_tracks, vanished, clusters_changed = total or (0, 0, 0, 0)
    changed = both.where(there & ~same_label)
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
        genres=_by_genre(both),
        flows=tuple((row["label_before"], row["label_after"], row["count"]) for row in frequent),
    )


def _by_genre(both: DataFrame) -> tuple[GenreChurn, ...]:
    left = F.col("label_after").isNotNull() & (F.col("label_before") != F.col("label_after"))
    before = both.groupBy(F.col("label_before").alias("label")).agg(
        F.count("*").alias("before"), F.count_if(left).alias("left")
    )
    after = both.groupBy(F.col("label_after").alias("label")).agg(F.count("*").alias("after"))
    rows = before.join(after, "label", "full_outer").where(F.col("label").isNotNull()).na.fill(0)
    columns = ("label", "before", "after", "left")
    return tuple(GenreChurn(*row) for row in rows.select(*columns).orderBy("label").collect())
