"""The figures of a model report, with intervals, and how far the confidence of the model can be trusted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Figure
from genremill.models.evaluation.calibration import KEPT, CoveragePoint, ReliabilityBin
from genremill.models.evaluation.metrics import Figures, Interval, Metrics
from genremill.models.evaluation.scores import greatest_accuracy

FIGURES = (
    ("top1", "Top-1 accuracy", "pairs whose label is the most probable class"),
    ("ceiling_top1", "Best possible top-1", "a track gets one tag but may have several labels"),
    ("top5", "Top-5 accuracy", "pairs whose label is among the five most probable classes"),
    ("any_label", "Track accuracy", "tracks that get any of their labels"),
    ("macro_f1", "Macro-F1", "mean F1 of the classes; rare classes count as much as others"),
    ("closeness", "Closeness", "wrong predictions that are in the right cluster"),
    ("closeness_chance", "Closeness by chance", "the same for random predictions"),
    ("surest_accuracy", "Accuracy at 80 % coverage", "track accuracy without the least certain fifth"),
    ("lift_share", "Gain from abstaining", "share of the gain if only wrong tracks were left out"),
    ("ece", "Expected calibration error", "mean gap of confidence and accuracy; 0 is best"),
    ("brier", "Brier score", "mean squared error of the confidence; 0 is best"),
    ("nll", "Negative log-likelihood", "mean −log of the label's probability, in nats; 0 is best"),
)
"""Field of `Figures`, standard name, and meaning."""
DECIMALS = ("ece", "brier", "nll")
COVERAGES = (1.0, 0.9, KEPT, 0.7, 0.5, 0.25, 0.1)
ACCURACY = Axis("accuracy", 0.0, 1.0, percent=True)


@dataclass(frozen=True)
class ClusterTags:
    """Held-out predictions in one cluster: their number, the number of tags, and the number of right tags."""

    name: str
    threshold: float
    predictions: int
    tagged: int
    right: int


def lead(metrics: Metrics) -> str:
    """How good the model is, in a sentence."""
    noun, figures = metrics.subject.labels, metrics.unseen_artists or metrics.figures
    whose = "tracks by unseen artists" if metrics.unseen_artists else "held-out tracks"
    pairs, best = percent(figures.top1.value), percent(figures.ceiling_top1)
    if figures.any_label is None:
        return f"The model is right on {pairs} of the pairs of track and {noun}; the best possible is {best}."
    return (
        f"The model gives {percent(figures.any_label.value)} of the {whose} one of their {noun}s; counted by "
        f"pairs of track and {noun} it scores {pairs}, and the best possible score is {best}."
    )


def unseen_subset(metrics: Metrics) -> Figures | None:
    """The figures on unseen artists; None if there are none, or if all held-out artists are unseen."""
    unseen = metrics.unseen_artists
    return unseen if unseen and unseen.rows < metrics.figures.rows else None


def rows(metrics: Metrics) -> list[tuple[str, ...]]:
    """Name, value and interval of each figure, the same on unseen artists, and the meaning."""
    unseen = unseen_subset(metrics)
    lines: list[tuple[str, ...]] = []
    for field, name, meaning in FIGURES:
        held_out = _shown(field, metrics.figures)
        if held_out[0] != MISSING:
            lines.append((name, *held_out, *(_shown(field, unseen) if unseen else ("", "")), meaning))
    return lines


def caption(metrics: Metrics) -> str:
    """What the table of figures shows, and on which artists."""
    unseen, pairs = unseen_subset(metrics), f"{metrics.figures.rows:,} held-out pairs of track and label"
    if unseen:
        artists = f"Unseen artists: the {unseen.rows:,} pairs of tracks that have no credited artist in train"
    elif metrics.unseen_artists:
        artists = "All held-out tracks are by unseen artists: none of their credited artists is in train"
    else:
        artists = "Each held-out track has a credited artist in train, so none is by unseen artists"
    return f"{pairs}; 95 % intervals by bootstrap over artists. {artists}."


def bounds(figure: Interval, show: Callable[[float | None], str] = percent) -> str:
    """The interval of a figure, or why it has none."""
    if figure.low is None or figure.high is None:
        return "one artist: no interval"
    return f"{show(figure.low).removesuffix(' %')} to {show(figure.high)}"


def _shown(field: str, figures: Figures) -> tuple[str, str]:
    figure, show = getattr(figures, field), decimal if field in DECIMALS else percent
    return (show(figure.value), bounds(figure, show)) if isinstance(figure, Interval) else (show(figure), "")


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
    best = greatest_accuracy(np.array(points[-1].accuracy), shares)
    series = [
        Series("best possible", list(zip(shares.tolist(), best.tolist(), strict=True)), guide=True),
        Series("this model", [(point.coverage, point.accuracy) for point in points]),
    ]
    x = Axis("tracks tagged", 0.0, 1.0, percent=True)
    return line_figure("Accuracy by coverage", caption, x, ACCURACY, series)


def coverage_rows(points: Sequence[CoveragePoint]) -> list[tuple[str, ...]]:
    """Coverage, least confidence, accuracy, the best possible accuracy, and the share of its gain."""
    rows, accuracy = [], points[-1].accuracy
    nearest = (min(points, key=lambda point: abs(point.coverage - share)) for share in COVERAGES)
    for point in dict.fromkeys(nearest):
        best = float(greatest_accuracy(np.array(accuracy), np.array(point.coverage)))
        gain = (point.accuracy - accuracy) / (best - accuracy) if best > accuracy else None
        shares = map(percent, (point.accuracy, best, gain))
        rows.append((percent(point.coverage), decimal(point.confidence), *shares))
    return rows
