"""How far the features that a model takes have moved, against the current snapshot and the training split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.features import input_selection
from genremill.models.evaluation.drift import Histogram
from genremill.models.model_card import ModelCard
from genremill.udfs.arrow_rows import matrix

ROWS, VALUES = 20_000, 8_000_000
"""Tracks of a snapshot that are looked at, and values of them at most. Between two samples of this size, an
index over ten bins is .001 by chance alone."""


@dataclass(frozen=True)
class FeatureShift:
    """A feature and its population stability index."""

    feature: str
    index: float


def sample(
    spark: SparkSession, warehouse: Warehouse, tracks: Snapshot, card: ModelCard
) -> npt.NDArray[np.float32]:
    """The model's features of some tracks of a run, drawn by stable hash, shape (tracks, features).

    Of a model that takes no vectors there are none.
    """
    if not card.features:
        return np.zeros((0, 0), np.float32)
    taken = input_selection.of_model(warehouse, tracks, card)
    frame = taken.of_all(spark, snapshots.read(spark, warehouse, tracks))
    share = min(ROWS, VALUES // len(card.features)) / max(tracks.rows, 1)
    drawn = frame.where(taken.usable() & (unit_hash("drift", 0, "track_id") < share))
    table = drawn.select(taken.vector().alias("values")).toArrow()
    return matrix(table.column("values"), len(card.features)).astype(np.float32)


def shifts(
    card: ModelCard, expected: Sequence[Histogram], found: npt.NDArray[np.float32]
) -> tuple[FeatureShift, ...]:
    """The index of each feature, the largest first."""
    pairs = [
        FeatureShift(one.name, histogram.shift(found[:, at]))
        for at, (one, histogram) in enumerate(zip(card.features, expected, strict=True))
    ]
    return tuple(sorted(pairs, key=lambda one: (-one.index, one.feature)))
