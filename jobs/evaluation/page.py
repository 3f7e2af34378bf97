"""The HTML report of a model version on held-out tracks: what `evaluate` writes beside metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from genremill.infra.pages import parts
from genremill.infra.pages.markup import Markup
from genremill.jobs.evaluation.clusters import cluster_quality, countries
from genremill.jobs.evaluation.confidence import ClusterTags, confidence
from genremill.jobs.evaluation.confusions import confusions
from genremill.jobs.evaluation.figures import class_table, figures_table, headline
from genremill.jobs.evaluation.pictures import (
    ClusterMap,
    Correlations,
    Epoch,
    cluster_map,
    correlations,
    learning,
)
from genremill.models.evaluation.calibration import CoveragePoint, ReliabilityBin
from genremill.models.evaluation.held_out import Floats, Integers, SplitBy
from genremill.models.evaluation.metrics import Metrics

SPLIT_NAMES = {
    SplitBy.ARTIST: "artist split",
    SplitBy.RECORDING: "recording split",
    SplitBy.ROWS: "rows split",
    SplitBy.FILE: "split from a file",
}
SPLIT_MEANINGS = {
    SplitBy.ARTIST: "Held out by first artist and recording: no track of these artists was trained on.",
    SplitBy.RECORDING: "Held out by recording: no release of these recordings was trained on, but their "
    "artists may be known. Expect less on artists the model has never met.",
    SplitBy.ROWS: "Held out row by row, the protocol of the reports: the same track may stand in train under "
    "another genre, and its artist nearly always does.",
    SplitBy.FILE: "Held out by a list of tracks: what the figures promise depends on "
    "what that list keeps apart.",
}


@dataclass(frozen=True)
class Report:
    """All that a report shows; what is None or empty is left out, with a line that says why."""

    metrics: Metrics
    confusion_CC: Integers
    probability_CC: Floats
    """Mean probability of each class (column) on the tracks of each label (row)."""
    reliability: Sequence[ReliabilityBin]
    coverage: Sequence[CoveragePoint]
    thresholds: Sequence[ClusterTags] = ()
    epochs: Sequence[Epoch] = ()
    clusters: ClusterMap | None = None
    correlations: Correlations | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """The report as one self-contained HTML document."""
    metrics = report.metrics
    title = f"{metrics.subject.model_version}, {SPLIT_NAMES[metrics.split]}"
    return parts.page(
        f"{title} · genremill",
        parts.masthead("genremill · model report", title, SPLIT_MEANINGS[metrics.split]),
        *([_leak_warning()] if metrics.split is SplitBy.ROWS else []),
        headline(metrics),
        parts.section("Figures", figures_table(metrics)),
        learning(report.epochs),
        confidence(metrics, report.reliability, report.coverage, report.thresholds),
        confusions(metrics, report.confusion_CC, report.clusters),
        cluster_map(report.clusters),
        cluster_quality(metrics, report.confusion_CC, report.clusters),
        countries(metrics.classes, report.probability_CC, report.confusion_CC),
        correlations(report.correlations),
        parts.section(f"Each {metrics.subject.labels}", class_table(metrics)),
        parts.section("This run", parts.facts(_facts(report))),
    )


def _leak_warning() -> Markup:
    return parts.warning(
        "Not an honest estimate.",
        "Tracks and artists stand on both sides of this split, so the figures are higher than on any "
        "music the model has not met. They compare with the reports, and with nothing else.",
    )


def _facts(report: Report) -> dict[str, str]:
    metrics = report.metrics
    inputs = metrics.subject.inputs
    return {
        "Model version": metrics.subject.model_version,
        "Split": SPLIT_NAMES[metrics.split],
        "Labels": f"{metrics.subject.labels}, {len(metrics.classes)} classes",
        "Inputs": ", ".join(inputs),
        "Popularity": "an input" if metrics.subject.use_popularity else "not an input",
        "Held-out pairs": f"{metrics.figures.rows:,}",
        **report.facts,
    }
