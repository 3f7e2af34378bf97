"""How far the confidence of a model can be trusted, and what abstaining brings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.formats import decimal, percent
from genremill.infra.pages.parts import Figure
from genremill.jobs.evaluation.figures import bounds
from genremill.models.evaluation.calibration import KEPT, CoveragePoint, ReliabilityBin
from genremill.models.evaluation.metrics import Metrics
from genremill.models.evaluation.scores import greatest_accuracy

COVERAGES = (1.0, 0.9, KEPT, 0.7, 0.5, 0.25, 0.1)
ACCURACY = Axis("accuracy", 0.0, 1.0, percent=True)


@dataclass(frozen=True)
class ClusterTags:
    """Held-out predictions in one cluster: how many there are, become tags, and are right tags."""

    name: str
    threshold: float
    predictions: int
    tagged: int
    right: int


def reliability(metrics: Metrics, bins: Sequence[ReliabilityBin]) -> Figure:
    """Accuracy against confidence."""
    caption = (
        f"Accuracy against confidence, in {len(bins)} bins with equally many tracks. Below the diagonal, the "
        "model is too confident. The mean gap is the expected calibration error, "
        f"{decimal(metrics.figures.ece.value)}."
    )
    series = [
        Series("calibrated", [(0.0, 0.0), (1.0, 1.0)], guide=True),
        Series("this model", [(bin_.confidence, bin_.accuracy) for bin_ in bins], marks=True),
    ]
    x = Axis("confidence", 0.0, 1.0, percent=True)
    return line_figure("Reliability diagram", caption, x, ACCURACY, series)


def coverage(metrics: Metrics, points: Sequence[CoveragePoint]) -> Figure:
    """Accuracy of the most certain tracks against their share."""
    caption = "Accuracy if only the most certain tracks get a tag. At best, all others would be wrong."
    if (share := metrics.figures.lift_share) is not None:
        caption += (
            f" Leaving out the least certain fifth brings {percent(share.value)} of the possible gain "
            f"(95 %: {bounds(share)})."
        )
    shares = np.linspace(0.01, 1, 100)
    best = zip(shares.tolist(), _best(points, shares).tolist(), strict=True)
    series = [
        Series("best possible", list(best), guide=True),
        Series("this model", [(point.coverage, point.accuracy) for point in points]),
    ]
    x = Axis("tracks tagged", 0.0, 1.0, percent=True)
    return line_figure("Accuracy by coverage", caption, x, ACCURACY, series)


def coverage_rows(points: Sequence[CoveragePoint]) -> list[tuple[str, ...]]:
    """Coverage, least confidence, accuracy, the best possible accuracy, and the share of its gain."""
    rows, accuracy = [], points[-1].accuracy
    for point in dict.fromkeys(
        min(points, key=lambda point: abs(point.coverage - share)) for share in COVERAGES
    ):
        best = float(_best(points, np.array(point.coverage)))
        gain = (point.accuracy - accuracy) / (best - accuracy) if best > accuracy else None
        shares = (point.accuracy, best, gain)
        rows.append((percent(point.coverage), decimal(point.confidence), *map(percent, shares)))
    return rows


def _best(points: Sequence[CoveragePoint], coverage: np.ndarray) -> np.ndarray:
    return greatest_accuracy(np.array(points[-1].accuracy), coverage)
