"""The model report: the HTML page about a model version on held-out tracks, beside metrics.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from genremill.infra.pages.parts import Header
from genremill.infra.pages.rendering import render_template
from genremill.jobs.evaluation import confusions, figures, pictures
from genremill.jobs.evaluation.figures import ClusterTags
from genremill.jobs.evaluation.pictures import ClusterMap, Correlations
from genremill.models.evaluation.calibration import UNREACHED, CoveragePoint, ReliabilityBin
from genremill.models.evaluation.held_out import Floats, Integers, Labels
from genremill.models.evaluation.metrics import Metrics
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import Epoch

SPLIT_NAMES = {split: f"{split} split" for split in SplitBy} | {SplitBy.FILE: "split from a file"}
SPLIT_MEANINGS = {
    SplitBy.ARTIST: "Held out by first artist and recording: the model was trained on no track of the first "
    "artists of these tracks.",
    SplitBy.RECORDING: "Held out by recording: the model was trained on no release of these recordings, but "
    "it may know their artists. Expect lower figures on artists that the model does not know.",
    SplitBy.ROWS: "Held out row by row, as in the reports: the same track may be in train under another "
    "genre, and its artist nearly always is.",
    SplitBy.FILE: "Held out by a list of tracks: what the figures mean depends on what that list separates.",
}


@dataclass(frozen=True)
class Report:
    """The content of a report; a part that is None or empty is left out, and the page says why."""

    metrics: Metrics
    header: Header
    confusion_CC: Integers
    probability_CC: Floats
    """Mean probability of each class (column) on the tracks of each label (row)."""
    reliability: Sequence[ReliabilityBin]
    coverage: Sequence[CoveragePoint]
    thresholds: Sequence[ClusterTags] = ()
    epochs: Sequence[Epoch] = ()
    fits_input_weights: bool = False
    """Whether the last training step fitted the weights of the inputs on validation tracks."""
    clusters: ClusterMap | None = None
    correlations: Correlations | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def render(report: Report) -> str:
    """The report as one self-contained HTML document."""
    metrics, classes, confusion_CC = report.metrics, report.metrics.classes, report.confusion_CC
    noun = str(metrics.subject.labels)
    genre_clusters = report.clusters if metrics.subject.labels is not Labels.CLUSTER else None
    by_class, by_cluster = confusions.matrices(classes, confusion_CC, noun, genre_clusters)
    return render_template(
        "genremill/jobs/evaluation/report.html.j2",
        kind="model report",
        title=f"{metrics.subject.model_version}, {SPLIT_NAMES[metrics.split]}",
        lead=figures.lead(metrics),
        header=report.header,
        report=report,
        leaky=metrics.split is SplitBy.ROWS,
        noun=noun,
        split_meaning=SPLIT_MEANINGS[metrics.split],
        unseen=figures.unseen_subset(metrics),
        bounds=figures.bounds,
        figure_rows=figures.rows(metrics),
        figure_caption=figures.caption(metrics),
        learning=pictures.learning(report.epochs),
        reliability=figures.reliability(metrics, report.reliability),
        coverage=figures.coverage(metrics, report.coverage),
        coverage_rows=figures.coverage_rows(report.coverage),
        unreached=UNREACHED,
        confusion_matrix=by_class,
        confusion_rows=confusions.most_frequent(classes, confusion_CC),
        cluster_matrix=by_cluster,
        genre_map=pictures.genre_map(report.clusters) if report.clusters else None,
        cluster_balance=confusions.balance(classes, confusion_CC, genre_clusters) if genre_clusters else "",
        quality_rows=confusions.quality_rows(classes, confusion_CC, genre_clusters) if genre_clusters else [],
        country_rows=confusions.country_rows(classes, report.probability_CC, confusion_CC),
        correlations=pictures.correlations(report.correlations) if report.correlations else None,
        classes=sorted(metrics.figures.per_class.items(), key=lambda entry: (-(entry[1].f1 or 0), entry[0])),
        facts={
            "Model version": metrics.subject.model_version,
            "Labels": f"{noun}, {len(classes)} classes",
            "Inputs": ", ".join(metrics.subject.inputs),
            "Held-out pairs": f"{metrics.figures.rows:,}",
            **report.facts,
        },
    )
