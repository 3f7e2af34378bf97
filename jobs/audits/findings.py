"""Runs all audits of staged tags."""

from dataclasses import asdict, dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from genremill.jobs import command, snapshots
from genremill.jobs.audits import churn, content, drift, missing_values, paired_accuracy
from genremill.jobs.audits.audit import Audit, AuditInputs, Limits
from genremill.jobs.audits.churn import Churn
from genremill.jobs.audits.drift import FeatureShift
from genremill.models.evaluation.metrics import Interval


@dataclass(frozen=True)
class Findings:
    """The results of all audits of staged tags."""

    audits: tuple[Audit, ...]
    is_new_model: bool = False
    """Whether the current tags were made by another model."""
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
        return [audit for audit in self.audits if audit.blocks(self.is_new_model)]

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
    labels, before, comparison, changes = content.count_labels(tags), None, None, None
    if inputs.current is not None:
        before = content.count_labels(inputs.read(spark, inputs.current))
        comparison = snapshots.checkpoint(work, churn.compare(spark, inputs, inputs.current), "churn")
        changes = churn.measure(comparison)
    sample = drift.sample(spark, inputs, inputs.tracks)
    shifts, of_features = drift.since_current(spark, inputs, sample, limits.max_drift)
    training_drift, since_training = drift.since_training(card, sample, limits.max_drift)
    gain, loss = paired_accuracy.audit(spark, inputs, limits.max_loss)
    audits = (
        *rows,
        missing_values.audit(inputs, limits.max_missing_rise),
        content.untagged_audit(labels, before, limits.max_untagged_rise),
        churn.audit(changes, inputs, limits),
        content.label_audit(labels, before, limits.max_class_shift),
        of_features,
        loss,
        since_training,
        content.training_label_audit(card.training.class_rows, labels, limits.max_class_shift),
    )
    is_new = inputs.has_new_model
    return Findings(audits, is_new, changes, shifts, training_drift, labels.tracks, gain), comparison
