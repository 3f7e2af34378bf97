"""Drift of the model's features since the current tags and since training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot
from genremill.jobs.audits.audit import Audit, AuditInputs
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
    """A feature and its population stability index."""

    feature: str
    index: float


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


def since_training(card: ModelCard, staged: Sample) -> tuple[FeatureShift, ...]:
    """The drift of each feature since training; empty if the model has no histograms."""
    stored = card.training.histograms
    return _shifts(card, stored, staged) if stored and len(staged) else ()


def since_current(
    spark: SparkSession, inputs: AuditInputs, staged: Sample
) -> tuple[tuple[FeatureShift, ...], str]:
    """The drift of each feature since the tracks of the current tags, or the reason why it is unknown."""
    if inputs.current_tracks is None:
        return (), "the tracks of the current tags were removed"
    try:
        current = sample(spark, inputs, inputs.current_tracks)
    except UsageError as err:  # those tracks do not have all features of this model
        return (), str(err)
    if not len(current) or not len(staged):
        return (), "there are no features"
    return _shifts(inputs.card, histograms(current), staged), ""


def audit(name: str, shifts: tuple[FeatureShift, ...], limit: float, why: str, refuses: bool) -> Audit:
    """The audit of the largest drift of a feature; `why` says why `shifts` is empty."""
    if not shifts:
        return Audit(name, None, limit, refuses, why)
    over = [f"{shift.feature} {shift.index:.2f}" for shift in shifts if shift.index > limit]
    return Audit(name, shifts[0].index, limit, refuses, ", ".join(over[:5]) or f"most in {shifts[0].feature}")


def _shifts(card: ModelCard, before: Sequence[Histogram], now: Sample) -> tuple[FeatureShift, ...]:
    """The index of each feature, largest first."""
    shifts = [
        FeatureShift(feature.name, histogram.shift(values))
        for feature, histogram, values in zip(card.features, before, now.T, strict=True)
    ]
    return tuple(sorted(shifts, key=lambda shift: (-shift.index, shift.feature)))
