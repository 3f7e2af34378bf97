"""Selects tracks that show why tags were refused."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.jobs.audits import content
from genremill.jobs.audits.drift import DRIFT, FeatureShift
from genremill.jobs.audits.findings import Findings
from genremill.jobs.audits.inputs import AuditInputs
from genremill.jobs.contracts import any_of
from genremill.jobs.features import input_selection

EXAMPLES = 20
"""Tracks on the page of refused tags."""


@dataclass(frozen=True)
class ExampleTrack:
    """A track, its tag before and after, and what is unusual about it."""

    track_id: str
    artists: str
    title: str
    before: str
    after: str
    why: str


def select(
    spark: SparkSession, inputs: AuditInputs, findings: Findings, comparison: DataFrame | None
) -> list[ExampleTrack]:
    """Up to twenty tracks: faulty rows, outliers of a drifted feature, and the most certain changed tags."""
    refused = {audit.name for audit in findings.refused}
    parts = [_faulty(spark, inputs, refused)]
    if DRIFT in refused and findings.drift:
        parts.append(_outliers(spark, inputs, findings.drift[0]))
    if comparison is not None:
        parts.append(_changed(comparison))
    reasons: dict[str, str] = {}
    for part in parts:
        for track_id, why in part:
            if len(reasons) < EXAMPLES:
                reasons.setdefault(track_id, why)
    return _described(spark, inputs, comparison, reasons)


def _faulty(spark: SparkSession, inputs: AuditInputs, refused: set[str]) -> list[tuple[str, str]]:
    faults = content.faults(inputs.card.classes)
    faults = {name: fault for name, fault in faults.items() if name in refused}
    if not faults:
        return []
    why = F.concat_ws(", ", *(F.when(fault, name) for name, fault in faults.items()))
    tags = inputs.read(spark, inputs.staged).where(any_of(list(faults.values())))
    rows = tags.select("track_id", why.alias("why")).orderBy("track_id").limit(EXAMPLES)
    return [(row["track_id"], row["why"]) for row in rows.collect()]


def _outliers(spark: SparkSession, inputs: AuditInputs, worst: FeatureShift) -> list[tuple[str, str]]:
    """Tracks whose value of a feature is furthest from the median."""
    index = [feature.name for feature in inputs.card.features].index(worst.feature)
    features = input_selection.of_model(inputs.warehouse, inputs.tracks, inputs.card)
    rows = features.with_inputs(spark, inputs.read(spark, inputs.tracks))
    values = rows.where(features.usable()).select("track_id", features.vector()[index].alias("value"))
    median = values.agg(F.median("value")).first()
    distance = F.abs(F.col("value") - F.lit(median[0] if median else 0.0))
    furthest = values.orderBy(F.desc(distance), "track_id").limit(EXAMPLES // 2).collect()
    why = f"stability index {worst.index:.2f}"
    return [(row["track_id"], f"{worst.feature} = {row['value']:.4g} ({why})") for row in furthest]


def _changed(comparison: DataFrame) -> list[tuple[str, str]]:
    changed = comparison.where(F.col("label_before") != F.col("label_after"))
    confidences = (F.coalesce(f"confidence_{when}", F.lit(0.0)) for when in ("before", "after"))
    rows = changed.orderBy(F.desc(F.least(*confidences)), "track_id").limit(EXAMPLES).collect()
    return [(row["track_id"], row["cause"]) for row in rows]


def _described(
    spark: SparkSession, inputs: AuditInputs, comparison: DataFrame | None, reasons: dict[str, str]
) -> list[ExampleTrack]:
    """The tracks with artist, title and tags, in the same order."""
    ids = F.col("track_id").isin(*reasons)
    rows = inputs.read(spark, inputs.tracks).where(ids).select("track_id", "artists", "title").collect()
    names = {row["track_id"]: ("; ".join(row["artists"] or ()), row["title"] or "") for row in rows}
    tags = inputs.read(spark, inputs.staged).where(ids).select("track_id", "label").collect()
    after = {row["track_id"]: row["label"] for row in tags}
    compared = comparison.where(ids).collect() if comparison is not None else ()
    before = {row["track_id"]: row["label_before"] for row in compared}
    return [
        ExampleTrack(
            track_id,
            *names.get(track_id, ("", "")),
            before.get(track_id) or "",
            after.get(track_id) or content.NO_LABEL,
            why,
        )
        for track_id, why in reasons.items()
    ]
