"""All audits of staged tags: what they say, how many change, what they rest on, how good they are."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Current, Snapshot
from genremill.jobs import command, snapshots
from genremill.jobs.audits import churn, drift, paired_accuracy
from genremill.jobs.audits.audit import Audit, content_audits
from genremill.jobs.audits.churn import Churn
from genremill.jobs.audits.drift import FeatureShift
from genremill.jobs.contracts import Status
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.evaluation.drift import histograms, stability_index
from genremill.models.evaluation.metrics import Interval
from genremill.models.model_card import ModelCard

Sample = npt.NDArray[np.float32]

MOST_UNTAGGED = 0.5
"""Share of tracks without a tag that a first publication tells of."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may change at once."""

    max_churn: float = 0.3
    """Largest share of tracks whose tag may change when model, features and genre map are the same."""
    max_churn_new: float = 0.75
    """Largest share of tracks whose tag may change when the model, the features or the genre map are
    new."""
    max_drift: float = 0.25
    """Largest population stability index of a feature, compared with the tracks of the current tags."""
    max_class_shift: float = 0.25
    """Largest population stability index of the predicted labels, compared with the current tags."""
    max_untagged_rise: float = 0.1
    """Largest rise of the share of tracks without a tag."""
    max_loss: float = 0.025
    """Largest any-label accuracy that a new model may lose on held-out artists, at the 95 % bound."""

    def check(self) -> None:
        """Raises on limits that nothing or everything would pass by mistake."""
        for flag in ("max_churn", "max_churn_new", "max_untagged_rise", "max_loss"):
            if not 0 <= (share := getattr(self, flag)) <= 1:
                raise UsageError(f"--{flag.replace('_', '-')} {share:g}: expected a share from 0 to 1")
        for flag in ("max_drift", "max_class_shift"):
            if not 0 <= (index := getattr(self, flag)) < math.inf:
                raise UsageError(f"--{flag.replace('_', '-')} {index:g}: expected 0 or more")


@dataclass(frozen=True)
class Findings:
    """What audits have measured of staged tags."""

    audits: tuple[Audit, ...]
    churn: Churn | None = None
    drift: tuple[FeatureShift, ...] = ()
    """Against the current snapshot's tracks."""
    training_drift: tuple[FeatureShift, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    """Tracks by their likeliest label."""
    gain: Interval | None = None
    """Any-label accuracy gained by a new model on held-out artists."""

    @property
    def refused(self) -> list[Audit]:
        """Audits that keep the tags from becoming current."""
        return [one for one in self.audits if one.verdict == "refused"]

    def as_json(self) -> dict[str, Any]:
        """For the record of the night."""
        return asdict(self) | {"audits": {one.name: one.as_json() for one in self.audits}}


def measure(
    spark: SparkSession,
    work: command.Run,
    candidate: Snapshot,
    current: Current | None,
    card: ModelCard,
    limits: Limits,
) -> tuple[Findings, DataFrame | None]:
    """Everything that is known of staged tags, and their comparison with the current ones track by track."""
    warehouse = work.warehouse
    tracks = warehouse.finished("tracks", TagsDetails.of(candidate).tracks_run)
    if tracks is None:
        raise UsageError(
            f"the tracks of run {TagsDetails.of(candidate).tracks_run}, which these tags tag, are gone"
        )
    tags = snapshots.read(spark, warehouse, candidate)
    ids = snapshots.read(spark, warehouse, tracks).select("track_id")
    audits = content_audits(tags, ids, card.classes)
    labels, untagged = _answers(tags)
    found = drift.sample(spark, warehouse, tracks, card)
    training_drift = _training_drift(card, found)
    audits += _against_training(card, training_drift, labels, limits)
    if current is None or current.snapshot.run_id == candidate.run_id:
        audits.append(Audit("tracks without a tag", untagged, MOST_UNTAGGED, refuses=False))
        return Findings(tuple(audits), training_drift=training_drift, labels=labels), None
    before = current.snapshot
    old_labels, old_untagged = _answers(snapshots.read(spark, warehouse, before))
    audits.append(
        Audit(
            "rise of tracks without a tag",
            untagged - old_untagged,
            limits.max_untagged_rise,
            note=f"{untagged:.1%} of the tracks, {old_untagged:.1%} before",
        )
    )
    compared = churn.compared(spark, warehouse, candidate, before, card)
    both = snapshots.checkpoint(work, compared, "churn")
    changes = churn.measured(both)
    audits.append(_churn_audit(changes, candidate, before, limits))
    audits.append(Audit("shift of labels", _label_shift(old_labels, labels), limits.max_class_shift))
    shifts, why = _current_drift(spark, work, card, before, tracks, found)
    audits.append(_drift_audit("drift of features", shifts, limits.max_drift, why))
    gain = None
    if TagsDetails.of(candidate).model_version != TagsDetails.of(before).model_version:
        gain, audit = _loss(spark, work, candidate, before, limits)
        audits.append(audit)
    return Findings(tuple(audits), changes, shifts, training_drift, labels, gain), both


def _answers(tags: DataFrame) -> tuple[dict[str, int], float]:
    """Tracks by their likeliest label, whatever their status; and the share of those without a tag."""
    rows = tags.groupBy(F.get("top", F.lit(0))["label"].alias("label")).agg(
        F.count("*").alias("tracks"), F.count_if(F.col("status") != Status.TAGGED.value).alias("untagged")
    )
    found = rows.collect()
    total = sum(row["tracks"] for row in found)
    labels = {row["label"]: row["tracks"] for row in found if row["label"] is not None}
    return labels, sum(row["untagged"] for row in found) / total if total else 0.0


def _label_shift(expected: dict[str, int], found: dict[str, int]) -> float:
    """Stability index of tracks by label; a label that one of them lacks has none there."""
    names = sorted(expected | found)
    return stability_index([expected.get(one, 0) for one in names], [found.get(one, 0) for one in names])


def _churn_audit(changes: Churn, candidate: Snapshot, before: Snapshot, limits: Limits) -> Audit:
    made_by = [
        (details.model_version, details.genre_map_version)
        for details in (TagsDetails.of(before), TagsDetails.of(candidate))
    ]
    new = made_by[0] != made_by[1]
    return Audit(
        "churn",
        changes.share,
        limits.max_churn_new if new else limits.max_churn,
        note=", ".join([f"{count:,} by {cause}" for cause, count in changes.causes.items()]),
    )


def _training_drift(card: ModelCard, found: Sample) -> tuple[FeatureShift, ...]:
    stored = card.training.histograms
    if not stored or not len(found):
        return ()
    return drift.shifts(card, stored, found)


def _against_training(
    card: ModelCard, shifts: tuple[FeatureShift, ...], labels: dict[str, int], limits: Limits
) -> list[Audit]:
    """What differs from the training split: told, and no reason to refuse."""
    trained = card.training.class_rows
    audits = [
        _drift_audit("drift from the training split", shifts, limits.max_drift, "the model has no histograms")
    ]
    audits.append(
        Audit(
            "labels against the training split",
            _label_shift(trained, labels) if trained else None,
            limits.max_class_shift,
            note="" if trained else "the model does not say how many rows of each class it was trained on",
        )
    )
    return [replace(one, refuses=False) for one in audits]


def _drift_audit(name: str, shifts: tuple[FeatureShift, ...], limit: float, why: str) -> Audit:
    if not shifts:
        return Audit(name, None, limit, note=why)
    over = [f"{one.feature} {one.index:.2f}" for one in shifts if one.index > limit]
    return Audit(name, shifts[0].index, limit, note=", ".join(over[:5]) or f"most in {shifts[0].feature}")


def _current_drift(
    spark: SparkSession, work: command.Run, card: ModelCard, before: Snapshot, tracks: Snapshot, found: Sample
) -> tuple[tuple[FeatureShift, ...], str]:
    """Shift of each feature since the tracks that the current tags tag; or why it cannot be measured."""
    then = work.warehouse.finished("tracks", TagsDetails.of(before).tracks_run)
    if then is None:
        return (), f"the tracks of run {TagsDetails.of(before).tracks_run} are gone"
    try:
        expected = drift.sample(spark, work.warehouse, then, card)
    except UsageError as err:  # the tracks of then lack what this model takes
        return (), str(err)
    if not len(expected) or not len(found):
        return (), "there are no features"
    return drift.shifts(card, histograms(expected), found), ""


def _loss(
    spark: SparkSession, work: command.Run, candidate: Snapshot, before: Snapshot, limits: Limits
) -> tuple[Interval | None, Audit]:
    name = "loss on held-out artists"
    try:
        gain = paired_accuracy.difference(spark, work.warehouse, candidate, before)
    except UsageError as err:
        return None, Audit(name, None, limits.max_loss, note=str(err))
    bound = -(gain.low if gain.low is not None else gain.value)
    return gain, Audit(
        name,
        bound,
        limits.max_loss,
        note=f"any-label accuracy {gain.value:+.2%} against {TagsDetails.of(before).model_version}, "
        f"at least {-bound:+.2%} by 95 %",
    )
