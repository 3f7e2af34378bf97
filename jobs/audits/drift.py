"""Drift of the model's features since the current tags and since training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.audits.audit import (
    NO_OTHER_TAGS,
    TRACKS_REMOVED,
    Audit,
    AuditInputs,
    NotApplicable,
    NotMeasured,
)
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.features import input_selection
from genremill.models.evaluation.drift import Histogram, histograms
from genremill.models.model_card import ModelCard
from genremill.udfs.arrow_rows import matrix

ROWS, VALUES = 20_000, 8_000_000
"""Largest sample of a snapshot, in tracks and in values. Between two samples of 20,000 tracks, chance alone
gives an index of about 0.001 over ten bins."""
DRIFT = "drift of features"

Sample = npt.NDArray[np.float32]
"""Features of some tracks, shape (tracks, features)."""


@dataclass(frozen=True)
class FeatureShift:
    """A feature and the index of its drift: see `models.evaluation.drift`."""

    feature: str
    index: float


Shifts: TypeAlias = tuple[FeatureShift, ...]


def sample(spark: SparkSession, inputs: AuditInputs, tracks: Snapshot) -> Sample:
    """The model's features of some tracks of a snapshot, selected by a stable hash.

    Empty for a model without feature vectors.
    """
    card = inputs.card
    if not card.features:
        return np.zeros((0, 0), np.float32)
    features = input_selection.of_model(inputs.warehouse, tracks, card)
    rows = features.with_inputs(spark, inputs.read(spark, tracks))
    share = min(ROWS, VALUES // len(card.features)) / max(tracks.rows, 1)
    selected = rows.where(features.usable() & (unit_hash("drift", 0, "track_id") < share))
    table = selected.select(features.vector().alias("values")).toArrow()
    return matrix(table.column("values"), len(card.features)).astype(np.float32)


def since_training(card: ModelCard, staged: Sample, limit: float) -> tuple[Shifts, Audit]:
    """The drift of each feature since training, and its audit, which only reports."""

    def measure() -> Shifts:
        stored = card.training.histograms
        if card.features and not stored:
            raise NotMeasured("the model has no histograms of its training set")
        return _shifts(card, stored, staged)

    return _audited(Audit("drift since training", None, limit, refuses=False), measure)


def since_current(
    spark: SparkSession, inputs: AuditInputs, staged: Sample, limit: float
) -> tuple[Shifts, Audit]:
    """The drift of each feature since the tracks of the current tags, and its audit."""

    def measure() -> Shifts:
        if inputs.current is None:
            raise NotApplicable(NO_OTHER_TAGS)
        if inputs.current_tracks is None:
            raise NotMeasured(TRACKS_REMOVED)
        try:
            current = sample(spark, inputs, inputs.current_tracks)
        except UsageError as err:  # those tracks do not have all features of this model
            raise NotMeasured(str(err)) from err
        if len(staged) and not len(current):
            raise NotMeasured("no track of the current tags has the features of the model")
        return _shifts(inputs.card, histograms(current), staged)

    return _audited(Audit(DRIFT, None, limit, flag="max-drift"), measure)


def _audited(audit: Audit, measure: Callable[[], Shifts]) -> tuple[Shifts, Audit]:
    """The drift of each feature, and the audit of the largest one."""
    try:
        shifts = measure()
    except NotMeasured as err:
        return (), audit.without_value(err)
    over = [f"{shift.feature} {shift.index:.2f}" for shift in shifts if shift.index > audit.limit]
    note = ", ".join(over[:5]) or f"most in {shifts[0].feature}"
    return shifts, replace(audit, value=shifts[0].index, note=note)


def _shifts(card: ModelCard, before: Sequence[Histogram], now: Sample) -> Shifts:
    """The index of each feature, largest first."""
    if not card.features:
        raise NotApplicable("the model has no features")
    if not len(now):
        raise NotMeasured("no track has the features of the model")
    shifts = [
        FeatureShift(feature.name, histogram.shift(values))
        for feature, histogram, values in zip(card.features, before, now.T, strict=True)
    ]
    return tuple(sorted(shifts, key=lambda shift: (-shift.index, shift.feature)))
