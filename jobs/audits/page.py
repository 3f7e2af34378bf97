"""The audit page, `audit.html`, about tags that were refused: every audit, the changes, and examples."""

import itertools
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.pages.parts import Header
from genremill.infra.pages.rendering import render_template
from genremill.jobs import command
from genremill.jobs.audits import content
from genremill.jobs.audits.audit import AuditInputs, Verdict
from genremill.jobs.audits.drift import DRIFT, FeatureShift
from genremill.jobs.audits.findings import Findings
from genremill.jobs.contracts import any_of
from genremill.jobs.features import input_selection

EXAMPLES = 20
"""Tracks on the page of refused tags."""
MOST_ROWS = 20
"""Genres and features that a table shows, the largest change first."""

Example = tuple[str, str, str, str, str, str]
"""A track: its id, artists, title, tag before, tag refused, and what is unusual about it."""


def write(
    spark: SparkSession,
    work: command.Run,
    inputs: AuditInputs,
    findings: Findings,
    comparison: DataFrame | None,
) -> str:
    """Writes the page to `reports/<run_id>/` and returns its URI."""
    tracks = _examples(spark, inputs, findings, comparison)
    header = Header.of(work.warehouse, work.run_id, inputs.tracks)
    page = render(inputs.staged.run_id, findings, tracks, header)
    uri = work.warehouse.path("reports", work.run_id, "audit.html")
    storage.write_atomic(uri, page.encode())
    return uri


def render(run_id: str, findings: Findings, examples: list[Example], header: Header) -> str:
    """The page as one self-contained HTML document."""
    reasons = "; ".join(str(audit) for audit in findings.refused)
    kept = "readers still get the earlier tags" if findings.churn else "nothing else has changed"
    return render_template(
        "genremill/jobs/audits/audit.html.j2",
        kind="audit",
        title=f"Tags of run {run_id} were refused",
        lead=f"The new tags were not published, and {kept}. Reasons: {reasons}.",
        header=header,
        publication=publication(findings.as_json()),
        examples=examples,
    )


def publication(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What `publication.html.j2` shows, here and on the page of a night, in its order."""
    churn = summary.get("churn") or {}
    genres = churn.get("genres", ())
    moved = [genre for genre in genres if genre["left"] or genre["before"] != genre["after"]]
    now, trained = (
        {shift["feature"]: shift["index"] for shift in summary.get(name, ())}
        for name in ("drift", "training_drift")
    )
    features = sorted(now | trained, key=lambda name: (-now.get(name, 0.0), -trained.get(name, 0.0), name))
    audits, verdicts = summary.get("audits", {}).items(), list(Verdict)
    return {
        "audits": sorted(audits, key=lambda entry: verdicts.index(entry[1]["verdict"])),
        "churn": churn,
        "genres": sorted(moved, key=lambda genre: (-genre["left"], genre["label"]))[:MOST_ROWS],
        "drift": [(name, now.get(name), trained.get(name)) for name in features[:MOST_ROWS]],
    }


def _examples(
    spark: SparkSession, inputs: AuditInputs, findings: Findings, comparison: DataFrame | None
) -> list[Example]:
    """Up to twenty tracks: faulty rows, outliers of a drifted feature, and the most certain changed tags."""
    refused = {audit.name for audit in findings.refused}
    parts = [_faulty(spark, inputs, refused)]
    if DRIFT in refused and findings.drift:
        parts.append(_outliers(spark, inputs, findings.drift[0]))
    if comparison is not None:
        parts.append(_changed(comparison))
    reasons: dict[str, str] = {}
    for track_id, why in itertools.chain(*parts):
        reasons.setdefault(track_id, why)
    first = dict(itertools.islice(reasons.items(), EXAMPLES))
    return _described(spark, inputs, comparison, first)


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
    values = values.where(~F.isnan("value"))
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
) -> list[Example]:
    """The tracks with artist, title and tags, in the same order."""
    staged = inputs.read(spark, inputs.staged)
    if comparison is None:
        comparison = staged.withColumn("label_before", F.lit("")).withColumnRenamed("label", "label_after")
    tags = comparison.select("track_id", "label_before", "label_after")
    tracks = inputs.read(spark, inputs.tracks).select("track_id", F.array_join("artists", "; "), "title")
    ids = F.col("track_id").isin(*reasons)
    rows = tracks.where(ids).join(tags.where(ids), "track_id", "full_outer").collect()
    found = {row[0]: (row[1] or "", row[2] or "", row[3] or "", row[4] or content.NO_LABEL) for row in rows}
    return [(track_id, *found[track_id], why) for track_id, why in reasons.items()]
