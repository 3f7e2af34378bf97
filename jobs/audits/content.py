"""Audits of the staged tags themselves: their rows, their labels and the share of tracks without a tag."""

from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame, functions as F

from genremill.jobs.audits.audit import NO_OTHER_TAGS, Audit, NotApplicable, NotMeasured
from genremill.jobs.contracts import Status
from genremill.models.evaluation.drift import stability_index

MISSING_TAGS, ROW_COUNT = "tracks without tags", "more or fewer rows than tracks"
"""Audits that find faults of a run of `score`; they do not lead to the refusal of its model."""
NO_LABEL = "–"
"""Stands for the label of a track without a label."""
NO_STAGED_LABELS = "no staged tag has a label"
MAX_UNTAGGED = 0.5
"""Share of tracks without a tag that is reported at the first publication."""


@dataclass(frozen=True)
class LabelCounts:
    """How often each label is predicted."""

    tracks: dict[str, int]
    """Tracks by their likeliest label, tagged or not."""
    untagged: float
    """Share of the tracks that are not tagged."""


def faults(classes: tuple[str, ...]) -> dict[str, Column]:
    """By audit, whether a row of `tags` is wrong: an invalid probability, an unknown label, or no label."""
    labels = F.array_compact(F.array_append(F.coalesce("top.label", F.array()), F.col("label")))
    unknown = F.array_except(labels, F.array(*(F.lit(name) for name in classes)))
    probabilities = F.array_append(F.coalesce("top.probability", F.array()), F.col("confidence"))
    invalid = F.exists(F.array_compact(probabilities), lambda p: F.isnan(p) | ~p.between(0, 1.001))
    without_top = F.coalesce(F.size("top"), F.lit(0)) < 1
    without_label = F.col("label").isNull() | F.col("confidence").isNull() | without_top
    return {
        "rows with an invalid probability": invalid,
        "rows with an unknown label": F.size(unknown) > 0,
        "tagged rows without a label": (F.col("status") == Status.TAGGED.value) & without_label,
    }


def row_audits(tags: DataFrame, tracks: DataFrame, classes: tuple[str, ...]) -> list[Audit]:
    """Tracks without tags, tags without tracks, and faulty rows. The limit of each is 0."""
    counts = [F.count_if(fault).alias(name) for name, fault in faults(classes).items()]
    row = tags.agg(F.count("*").alias("rows"), *counts).first()
    values: dict[str, int] = row.asDict() if row else {}
    rows = values.pop("rows")
    missing = tracks.join(tags, "track_id", "left_anti").count()
    values = {MISSING_TAGS: missing, ROW_COUNT: abs(rows - tracks.count())} | values
    return [Audit(name, value, 0) for name, value in values.items()]


def count_labels(tags: DataFrame) -> LabelCounts:
    """Counts the likeliest labels of tags."""
    by_label = tags.groupBy(F.get("top", F.lit(0))["label"].alias("label"))
    untagged = F.count_if(F.col("status") != Status.TAGGED.value).alias("untagged")
    counts = by_label.agg(F.count("*").alias("tracks"), untagged).collect()
    total = sum(row["tracks"] for row in counts)
    labels = {row["label"]: row["tracks"] for row in counts if row["label"] is not None}
    return LabelCounts(labels, sum(row["untagged"] for row in counts) / total if total else 0.0)


def untagged_audit(staged: LabelCounts, current: LabelCounts | None, max_rise: float) -> Audit:
    """The share of tracks without a tag; it blocks publication if it has grown by more than `max_rise`."""
    if current is None:
        return Audit("share of untagged tracks", staged.untagged, MAX_UNTAGGED, refuses=False)
    note = f"{staged.untagged:.1%} of the tracks, {current.untagged:.1%} before"
    rise = staged.untagged - current.untagged
    return Audit("increase of untagged tracks", rise, max_rise, note=note, flag="max-untagged-rise")


def label_audit(staged: LabelCounts, current: LabelCounts | None, limit: float) -> Audit:
    """Compares the shares of the labels in the staged tags with those in the current tags."""
    audited = Audit("shift of labels", None, limit, flag="max-class-shift")
    if current is None:
        return audited.without_value(NotApplicable(NO_OTHER_TAGS))
    if not current.tracks:
        return audited.without_value(NotApplicable("no current tag has a label"))
    if not staged.tracks:
        return audited.without_value(NotMeasured(NO_STAGED_LABELS))
    return replace(audited, value=label_shift(current.tracks, staged.tracks))


def label_shift(before: dict[str, int], now: dict[str, int]) -> float:
    """Population stability index of the number of tracks by label."""
    names = sorted(before | now)
    return stability_index([before.get(name, 0) for name in names], [now.get(name, 0) for name in names])


def training_label_audit(classes: dict[str, int], staged: LabelCounts, limit: float) -> Audit:
    """How far the labels differ from those of the training set; reported only."""
    audited = Audit("shift of labels since training", None, limit, refuses=False)
    if not classes:
        why = "the model does not record how many training rows each class had"
        return audited.without_value(NotMeasured(why))
    if not staged.tracks:
        return audited.without_value(NotMeasured(NO_STAGED_LABELS))
    return replace(audited, value=label_shift(classes, staged.tracks))
