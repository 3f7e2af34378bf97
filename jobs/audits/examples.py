"""The tracks that best show why tags were refused."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.audits.audit import faults
from genremill.jobs.audits.drift import FeatureShift
from genremill.jobs.audits.measure import Findings
from genremill.jobs.contracts import TRACKS, any_of
from genremill.jobs.features import input_selection
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.model_card import ModelCard

MOST = 20


@dataclass(frozen=True)
class TellingTrack:
    """A track, its tag before and after, and what is odd about it."""

    track_id: str
    artists: str
    title: str
    before: str
    after: str
    why: str


def telling(
    spark: SparkSession,
    warehouse: Warehouse,
    candidate: Snapshot,
    card: ModelCard,
    findings: Findings,
    both: DataFrame | None,
) -> list[TellingTrack]:
    """At most twenty tracks: rows that are wrong, values far out, and the surest of the changed tags."""
    tags = snapshots.read(spark, warehouse, candidate)
    parts = [_wrong(tags, card, findings)]
    drifted = [one for one in findings.refused if one.name == "drift of features"]
    if drifted and findings.drift:
        parts.append(_far_out(spark, warehouse, candidate, card, findings.drift[0]))
    if both is not None:
        parts.append(_changed(both))
    found: dict[str, str] = {}
    for part in parts:
        for track_id, why in part:
            if len(found) < MOST:
                found.setdefault(track_id, why)
    return _described(spark, warehouse, candidate, tags, both, found)


def _wrong(tags: DataFrame, card: ModelCard, findings: Findings) -> list[tuple[str, str]]:
    refused = {one.name for one in findings.refused}
    wrong = {name: fault for name, fault in faults(card.classes).items() if name in refused}
    if not wrong:
        return []
    which = F.concat_ws(", ", *(F.when(fault, name) for name, fault in wrong.items()))
    rows = tags.where(any_of(list(wrong.values()))).select("track_id", which.alias("why"))
    return [(row["track_id"], row["why"]) for row in rows.orderBy("track_id").limit(MOST).collect()]


def _far_out(
    spark: SparkSession, warehouse: Warehouse, candidate: Snapshot, card: ModelCard, worst: FeatureShift
) -> list[tuple[str, str]]:
    """Tracks whose value of the feature that moved most lies furthest from where most of the others are."""
    tracks = warehouse.finished("tracks", TagsDetails.of(candidate).tracks_run)
    if tracks is None:
        return []
    at = [one.name for one in card.features].index(worst.feature)
    taken = input_selection.of_model(warehouse, tracks, card)
    frame = taken.of_all(spark, snapshots.read(spark, warehouse, tracks))
    values = frame.where(taken.usable()).select("track_id", taken.vector()[at].alias("value"))
    middle = values.agg(F.median("value")).first()
    distance = F.abs(F.col("value") - F.lit(middle[0] if middle else 0.0))
    rows = values.orderBy(F.desc(distance), "track_id").limit(MOST // 2).collect()
    return [
        (row["track_id"], f"{worst.feature} = {row['value']:.4g} (stability index {worst.index:.2f})")
        for row in rows
    ]


def _changed(both: DataFrame) -> list[tuple[str, str]]:
    changed = both.where(F.col("label_before") != F.col("label_after"))
    surest = F.least(F.coalesce("confidence_before", F.lit(0.0)), F.coalesce("confidence_after", F.lit(0.0)))
    rows = changed.orderBy(F.desc(surest), "track_id").limit(MOST).collect()
    return [(row["track_id"], row["cause"]) for row in rows]


def _described(
    spark: SparkSession,
    warehouse: Warehouse,
    candidate: Snapshot,
    tags: DataFrame,
    both: DataFrame | None,
    found: dict[str, str],
) -> list[TellingTrack]:
    """The tracks with names and tags, in the order found."""
    ids = F.col("track_id").isin(*found)
    tracks = snapshots.read_run(spark, warehouse, TRACKS, TagsDetails.of(candidate).tracks_run).where(ids)
    names = {row["track_id"]: row for row in tracks.select("track_id", "artists", "title").collect()}
    after = {row["track_id"]: row["label"] for row in tags.where(ids).select("track_id", "label").collect()}
    before = (
        {} if both is None else {row["track_id"]: row["label_before"] for row in both.where(ids).collect()}
    )
    return [
        TellingTrack(
            track_id,
            "; ".join(names[track_id]["artists"] or []) if track_id in names else "",
            (names[track_id]["title"] or "") if track_id in names else "",
            before.get(track_id) or "",
            after.get(track_id) or "–",
            why,
        )
        for track_id, why in found.items()
    ]
