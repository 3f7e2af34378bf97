"""Columns of the track table that have lost values since the tracks of the current tags."""

from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.audits.audit import Audit, AuditInputs
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails

MISSING_VALUES = "missing values"
SHOWN = 5
"""Columns that the audit names."""


@dataclass(frozen=True)
class MissingRise:
    """A feature, and the share of tracks without a value before and now."""

    feature: str
    before: float
    after: float | None
    """None if the tracks do not have the feature any more."""

    @property
    def rise(self) -> float:
        """By how much the share has risen; 1 if the feature is gone."""
        return 1.0 if self.after is None else self.after - self.before

    def __str__(self) -> str:
        after = "no longer a feature" if self.after is None else f"{self.after:.1%}"
        return f"{self.feature} {self.before:.1%} → {after}"


def rises(before: Snapshot, now: Snapshot) -> list[MissingRise]:
    """The features of two snapshots of `tracks`, the largest rise first."""
    after = {feature.name: feature.missing for feature in TracksDetails.of(now).features}
    features = TracksDetails.of(before).features
    return _sorted([MissingRise(each.name, each.missing, after.get(each.name)) for each in features])


def audit(inputs: AuditInputs, limit: float) -> Audit:
    """The audit of the largest rise since the current tags, or the model's features for a new model."""
    found: list[MissingRise] = []
    if inputs.current_tracks is not None:
        found = rises(inputs.current_tracks, inputs.tracks)
    if inputs.current is None or inputs.has_new_model:
        there = {*TracksDetails.of(inputs.tracks).feature_names, *(rise.feature for rise in found)}
        needed = model_registry.table_features(inputs.card)
        found = _sorted([*found, *(MissingRise(name, 0.0, None) for name in needed if name not in there)])
    if inputs.current is not None and inputs.current_tracks is None and not found:
        return Audit(MISSING_VALUES, None, limit, note="the tracks of the current tags were removed")
    return Audit(
        MISSING_VALUES, max((rise.rise for rise in found), default=0.0), limit, note=_named(found, limit)
    )


def refused(warehouse: Warehouse, tracks: Snapshot, limit: float) -> str | None:
    """The features of `tracks` whose rise since the current tags is over the limit, as text."""
    tags = warehouse.current("tags")
    before = warehouse.finished("tracks", TagsDetails.of(tags.snapshot).tracks_run) if tags else None
    return _named(rises(before, tracks), limit) or None if before else None


def _sorted(found: Sequence[MissingRise]) -> list[MissingRise]:
    return sorted(found, key=lambda each: (-each.rise, each.feature))


def _named(found: Sequence[MissingRise], limit: float) -> str:
    over = [str(each) for each in found if each.rise > limit]
    return ", ".join(over[:SHOWN]) + (f" and {len(over) - SHOWN} more" if over[SHOWN:] else "")
