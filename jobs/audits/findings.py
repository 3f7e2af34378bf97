"""Runs all audits of staged tags."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from genremill.jobs import command, snapshots
from genremill.jobs.audits import churn, content, drift, missing_values, paired_accuracy
from genremill.jobs.audits.audit import Audit, AuditInputs, Limits, Verdict
from genremill.jobs.audits.churn import Churn
from genremill.jobs.audits.drift import FeatureShift
from genremill.models.evaluation.metrics import Interval


@dataclass(frozen=True)
class Findings:
    """The results of all audits of staged tags."""

    audits: tuple[Audit, ...]
    churn: Churn | None = None
    drift: tuple[FeatureShift, ...] = ()
    """Since the tracks of the current tags."""
    training_drift: tuple[FeatureShift, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    """Tracks by their likeliest label."""
    gain: Interval | None = None
    """Any-label accuracy that a new model gains on held-out artists."""

    @property
    def refused(self) -> list[Audit]:
        """The audits that block publication."""
        return [audit for audit in self.audits if audit.verdict is Verdict.REFUSED]

    def as_json(self) -> dict[str, Any]:
        """The findings in the summary of `publish`."""
        audits = {audit.name: asdict(audit) | {"verdict": audit.verdict.value} for audit in self.audits}
        return asdict(self) | {"audits": audits}


def measure(
    spark: SparkSession, work: command.Run, inputs: AuditInputs, limits: Limits
) -> tuple[Findings, DataFrame | None]:
    """The findings, and the comparison of staged and current tags by track (None if no tags are current)."""
    card, tags = inputs.card, inputs.read(spark, inputs.staged)
    rows = content.row_audits(tags, inputs.read(spark, inputs.tracks).select("track_id"), card.classes)
    labels = content.count_labels(tags)
    sample = drift.sample(spark, inputs, inputs.tracks)
    training_drift = drift.since_training(card, sample)
    why = (
        "there are no features"
        if card.training.histograms
        else "the model has no histograms of its training set"
    )
    audits = [
        *rows,
        missing_values.audit(inputs, limits.max_missing_rise),
        drift.audit("drift since training", training_drift, limits.max_drift, why, refuses=False),
        content.training_label_audit(card.training.class_rows, labels, limits.max_class_shift),
    ]
    if inputs.current is None:
        audits.append(content.untagged_audit(labels, None, limits.max_untagged_rise))
        return Findings(tuple(audits), training_drift=training_drift, labels=labels.tracks), None
    before = content.count_labels(inputs.read(spark, inputs.current))
    comparison = snapshots.checkpoint(work, churn.compare(spark, inputs, inputs.current), "churn")
    changes = churn.measure(comparison)
    shifts, why = drift.since_current(spark, inputs, sample)
    audits += [
        content.untagged_audit(labels, before, limits.max_untagged_rise),
        churn.audit(changes, inputs, limits),
        Audit("shift of labels", content.label_shift(before.tracks, labels.tracks), limits.max_class_shift),
        drift.audit(drift.DRIFT, shifts, limits.max_drift, why, refuses=True),
    ]
    gain = None
    if inputs.has_new_model:
        gain, loss = paired_accuracy.audit(spark, inputs, limits.max_loss)
        audits.append(loss)
    return Findings(tuple(audits), changes, shifts, training_drift, labels.tracks, gain), comparison
