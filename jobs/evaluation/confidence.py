"""How far a model's confidence can be trusted, what abstaining brings, and what becomes of the tracks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages import parts
from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.markup import Markup
from genremill.infra.pages.parts import Column
from genremill.jobs.evaluation.figures import bounds, decimal, percent
from genremill.models.evaluation.abstention import UNREACHED, TagFigures
from genremill.models.evaluation.calibration import KEPT, CoveragePoint, ReliabilityBin, greatest_accuracy
from genremill.models.evaluation.metrics import Metrics

COVERAGES = (1.0, 0.9, KEPT, 0.7, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class ClusterTags:
    """The answers in one cluster on held-out tracks: how many there are, are tags, and are right tags."""

    name: str
    threshold: float
    answers: int
    tagged: int
    right: int


def confidence(
    metrics: Metrics,
    reliability: Sequence[ReliabilityBin],
    coverage: Sequence[CoveragePoint],
    thresholds: Sequence[ClusterTags],
) -> Markup:
    """The section on confidence; `thresholds` are empty where the model never abstains."""
    return parts.section(
        "Confidence",
        parts.side_by_side(_reliability(metrics, reliability), _coverage(metrics, coverage)),
        parts.side_by_side(
            _coverage_table(coverage),
            *([_statuses(metrics.tags)] if metrics.tags else []),
            *([_thresholds(thresholds)] if thresholds else []),
        ),
    )


def _reliability(metrics: Metrics, reliability: Sequence[ReliabilityBin]) -> Markup:
    chart = line_chart(
        "Reliability diagram",
        "Accuracy against confidence; a calibrated model lies on the diagonal.",
        Axis("confidence", 0.0, 1.0, percent=True),
        Axis("accuracy", 0.0, 1.0, percent=True),
        [
            Series("calibrated", [(0.0, 0.0), (1.0, 1.0)], guide=True),
            Series("this model", [(one.confidence, one.accuracy) for one in reliability], marks=True),
        ],
    )
    return parts.figure(
        chart,
        f"Accuracy against confidence, {len(reliability)} points of equally many answers; under the "
        f"diagonal, the model is surer than right. The mean gap is the ECE, "
        f"{decimal(metrics.figures.ece.value)}.",
    )


def _coverage(metrics: Metrics, coverage: Sequence[CoveragePoint]) -> Markup:
    accuracy = coverage[-1].accuracy
    shares = np.linspace(0.01, 1, 100)
    best = zip(shares, greatest_accuracy(np.array(accuracy), shares), strict=True)
    chart = line_chart(
        "Accuracy by coverage",
        "Accuracy of the surest answers against the share of tracks they cover.",
        Axis("tracks answered", 0.0, 1.0, percent=True),
        Axis("accuracy", 0.0, 1.0, percent=True),
        [
            Series("at best", [(float(share), float(most)) for share, most in best], guide=True),
            Series("the surest only", [(one.coverage, one.accuracy) for one in coverage]),
        ],
    )
    caption = "At best, all that is left out is wrong."
    if (share := metrics.figures.lift_share) is not None:
        caption += (
            f" Leaving out the least certain fifth brings {percent(share.value)} of the gain there could be "
            f"(95 %: {bounds(share, percent)})."
        )
    return parts.figure(chart, caption)


def _coverage_table(coverage: Sequence[CoveragePoint]) -> Markup:
    accuracy = coverage[-1].accuracy
    points = dict.fromkeys(min(coverage, key=lambda one: abs(one.coverage - share)) for share in COVERAGES)
    rows = []
    for one in points:
        best = float(greatest_accuracy(np.array(accuracy), np.array(one.coverage)))
        lift = percent((one.accuracy - accuracy) / (best - accuracy)) if best > accuracy else percent(None)
        rows.append(
            [percent(one.coverage), decimal(one.confidence), percent(one.accuracy), percent(best), lift]
        )
    names = ("Answered", "From a confidence of", "Accuracy", "At best", "Of the possible gain")
    return parts.table("Answering the surest only.", [Column(name) for name in names], rows)


def _statuses(tags: TagFigures) -> Markup:
    rows = [
        ["tagged", percent(tags.tagged), f"right {percent(tags.precision)} of the time"],
        ["abstained", percent(tags.abstained), "less sure than the threshold of the answer's cluster"],
        ["outlier", percent(tags.outlier), "further from the training tracks than nearly all like them"],
    ]
    columns = [Column("Status", number=False), Column("Share"), Column("What it says", number=False)]
    return parts.table("What becomes of held-out tracks.", columns, rows)


def _thresholds(thresholds: Sequence[ClusterTags]) -> Markup:
    rows = [
        [
            one.name,
            "out of reach" if one.threshold >= UNREACHED else decimal(one.threshold),
            f"{one.answers:,}",
            percent(one.tagged / one.answers if one.answers else None),
            percent(one.right / one.tagged if one.tagged else None),
        ]
        for one in thresholds
    ]
    columns = [
        Column("Answer in", number=False),
        *(Column(name) for name in ("Threshold", "Answers", "Tagged", "Of them right")),
    ]
    return parts.table("Thresholds, chosen on validation tracks, on held-out ones.", columns, rows)
