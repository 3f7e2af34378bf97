"""How far the confidence of a model can be trusted, what abstaining brings, and how many tracks get a tag."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.formats import decimal, percent
from genremill.infra.pages.parts import Figure, Table
from genremill.jobs.evaluation.figures import bounds
from genremill.models.evaluation.abstention import UNREACHED, TagFigures
from genremill.models.evaluation.calibration import KEPT, CoveragePoint, ReliabilityBin, greatest_accuracy
from genremill.models.evaluation.metrics import Metrics

COVERAGES = (1.0, 0.9, KEPT, 0.7, 0.5, 0.25, 0.1)
ACCURACY = Axis("accuracy", 0.0, 1.0, percent=True)


@dataclass(frozen=True)
class ClusterTags:
    """Held-out predictions in one cluster: how many there are, become tags, and are right tags."""

    name: str
    threshold: float
    answers: int
    tagged: int
    right: int


def reliability(metrics: Metrics, bins: Sequence[ReliabilityBin]) -> Figure:
    """Accuracy against confidence."""
    chart = line_chart(
        "Reliability diagram",
        "Accuracy against confidence; a calibrated model lies on the diagonal.",
        Axis("confidence", 0.0, 1.0, percent=True),
        ACCURACY,
        [
            Series("calibrated", [(0.0, 0.0), (1.0, 1.0)], guide=True),
            Series("this model", [(one.confidence, one.accuracy) for one in bins], marks=True),
        ],
    )
    return Figure(
        "Reliability diagram",
        chart,
        f"Accuracy against confidence, in {len(bins)} bins with equally many tracks. Below the diagonal, the "
        "model is too confident. The mean gap is the expected calibration error, "
        f"{decimal(metrics.figures.ece.value)}.",
    )


def coverage(metrics: Metrics, points: Sequence[CoveragePoint]) -> Figure:
    """Accuracy of the most certain tracks against their share."""
    shares = np.linspace(0.01, 1, 100)
    best = zip(shares, greatest_accuracy(np.array(points[-1].accuracy), shares), strict=True)
    chart = line_chart(
        "Accuracy by coverage",
        "Accuracy of the most certain predictions against the share of tracks they cover.",
        Axis("tracks tagged", 0.0, 1.0, percent=True),
        ACCURACY,
        [
            Series("best possible", [(float(share), float(most)) for share, most in best], guide=True),
            Series("this model", [(one.coverage, one.accuracy) for one in points]),
        ],
    )
    caption = (
        "Accuracy if only the most certain tracks get a tag. At best, all tracks left out are wrong ones."
    )
    if (share := metrics.figures.lift_share) is not None:
        caption += (
            f" Leaving out the least certain fifth brings {percent(share.value)} of the possible gain "
            f"(95 %: {bounds(share, percent)})."
        )
    return Figure("Accuracy by coverage", chart, caption)


def tables(
    metrics: Metrics, points: Sequence[CoveragePoint], thresholds: Sequence[ClusterTags]
) -> list[Table]:
    """Accuracy by coverage, the status of tracks, and thresholds; `thresholds` are empty if none are used."""
    found = [_coverage_table(points)]
    found += [_statuses(metrics.tags)] if metrics.tags else []
    return found + ([_thresholds(thresholds)] if thresholds else [])


def _coverage_table(coverage: Sequence[CoveragePoint]) -> Table:
    accuracy = coverage[-1].accuracy
    points = dict.fromkeys(min(coverage, key=lambda one: abs(one.coverage - share)) for share in COVERAGES)
    rows = []
    for point in points:
        best = float(greatest_accuracy(np.array(accuracy), np.array(point.coverage)))
        rows.append(
            {
                "Coverage": percent(point.coverage),
                "Least confidence": decimal(point.confidence),
                "Accuracy": percent(point.accuracy),
                "Best possible": percent(best),
                "Share of the gain": percent(
                    (point.accuracy - accuracy) / (best - accuracy) if best > accuracy else None
                ),
            }
        )
    return Table(rows, caption="Track accuracy if only the most certain tracks get a tag.")


def _statuses(tags: TagFigures) -> Table:
    rows = [
        ("tagged", tags.tagged, f"{percent(tags.precision)} of these tags are right"),
        ("abstained", tags.abstained, "the confidence is below the threshold of the predicted cluster"),
        ("outlier", tags.outlier, "further from the training tracks than nearly all of them are"),
    ]
    return Table(
        [{"Status": name, "Share": percent(share), "Meaning": meaning} for name, share, meaning in rows],
        ("Status", "Meaning"),
        caption="Status of held-out tracks.",
    )


def _thresholds(thresholds: Sequence[ClusterTags]) -> Table:
    rows = [
        {
            "Cluster predicted": one.name,
            "Threshold": "unreachable" if one.threshold >= UNREACHED else decimal(one.threshold),
            "Tracks": f"{one.answers:,}",
            "Tagged": percent(one.tagged / one.answers if one.answers else None),
            "Right tags": percent(one.right / one.tagged if one.tagged else None),
        }
        for one in thresholds
    ]
    return Table(
        rows,
        ("Cluster predicted",),
        caption="Thresholds of confidence, chosen on validation tracks, applied to held-out tracks.",
    )
