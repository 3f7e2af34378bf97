"""Columns of the track table that have lost values since the tracks of the current tags."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.audits.audit import TRACKS_REMOVED, Audit, AuditInputs, NotMeasured
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.features import VECTORS

MISSING_VALUES = "missing values"
_TEXTS = frozenset({"title", "album", "artists", "text", "tags"})
"""Uses of columns that the audit compares, besides the features."""
SHOWN = 5
"""Columns that the audit names."""


@dataclass(frozen=True)
class MissingRise:
    """A column, and the share of tracks or rows without a value before and now."""

    column: str
    before: float
    after: float | None
    """None if the tracks do not have the column any more."""

    @property
    def rise(self) -> float:
        """By how much the share has risen; 1 if the column is gone."""
        return 1.0 if self.after is None else self.after - self.before

    def __str__(self) -> str:
        after = "no longer used" if self.after is None else f"{self.after:.1%}"
        return f"{self.column} {self.before:.1%} → {after}"


def rises(before: Snapshot, now: Snapshot) -> list[MissingRise]:
    """The features, the texts and the audio of two snapshots of `tracks`, the largest rise first."""
    after = _missing(now)
    columns = [MissingRise(name, missing, after.get(name)) for name, missing in _missing(before).items()]
    return _sorted([*columns, MissingRise("audio", _without_audio(before), _without_audio(now))])


def _missing(tracks: Snapshot) -> dict[str, float]:
    """The share of missing values of each feature, of title, album and artists, of texts, tags and vectors.

    New tracks without a genre are usual, so only the loss of all genres counts.
    """
    details = TracksDetails.of(tracks)
    names = {use.column: use.missing for use in details.columns if _TEXTS & {*use.uses}}
    genres = {use.column: math.floor(use.missing) for use in details.columns if "genre" in use.uses}
    vectors = {VECTORS + column.name: column.missing for column in details.vectors}
    return names | genres | {feature.name: feature.missing for feature in details.features} | vectors


def _without_audio(tracks: Snapshot) -> float:
    """1 if no track has audio, else 0: new tracks without audio are usual."""
    return 0.0 if TracksDetails.of(tracks).with_audio else 1.0


def audit(inputs: AuditInputs, limit: float) -> Audit:
    """The audit of the largest rise since the current tags, or the model's features for a new model."""
    found: list[MissingRise] = []
    if inputs.current_tracks is not None:
        found = rises(inputs.current_tracks, inputs.tracks)
    if inputs.current is None or inputs.has_new_model:
        compared = [tracks for tracks in (inputs.tracks, inputs.current_tracks) if tracks]
        there = {name for tracks in compared for name in TracksDetails.of(tracks).feature_names}
        needed = model_registry.table_features(inputs.card)
        found = _sorted([*found, *(MissingRise(name, 0.0, None) for name in needed if name not in there)])
    audited = Audit(MISSING_VALUES, None, limit, flag="max-missing-rise")
    if inputs.current is not None and inputs.current_tracks is None and not found:
        return audited.without_value(NotMeasured(TRACKS_REMOVED))
    largest = max((rise.rise for rise in found), default=0.0)
    return replace(audited, value=largest, note=_named(found, limit))


def refused(warehouse: Warehouse, tracks: Snapshot, limit: float) -> str | None:
    """The features of `tracks` whose rise since the current tags is over the limit, as text."""
    tags = warehouse.current("tags")
    before = warehouse.finished("tracks", TagsDetails.of(tags.snapshot).tracks_run) if tags else None
    return _named(rises(before, tracks), limit) or None if before else None


def _sorted(found: Sequence[MissingRise]) -> list[MissingRise]:
    return sorted(found, key=lambda each: (-each.rise, each.column))


def _named(found: Sequence[MissingRise], limit: float) -> str:
    over = [str(each) for each in found if each.rise > limit]
    return ", ".join(over[:SHOWN]) + (f" and {len(over) - SHOWN} more" if over[SHOWN:] else "")
