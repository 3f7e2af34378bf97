"""The numbers of a model report: the headline, every figure with its interval, and every class."""

from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Cell, Stat, Table
from genremill.models.evaluation.metrics import ClassFigures, Figures, Interval, Metrics


@dataclass(frozen=True)
class _Line:
    """A line of the table of figures."""

    name: str
    meaning: str
    show: Callable[[float | None], str]
    value_of: Callable[[Figures], Interval | float | None]


LINES = (
    _Line("Top-1 accuracy", "pairs whose label is the most probable class", percent, lambda f: f.top1),
    _Line(
        "Best possible top-1",
        "a track gets one tag but may have several labels",
        percent,
        lambda f: f.ceiling_top1,
    ),
    _Line(
        "Top-5 accuracy",
        "pairs whose label is among the five most probable classes",
        percent,
        lambda f: f.top5,
    ),
    _Line("Track accuracy", "tracks that get any one of their labels", percent, lambda f: f.any_label),
    _Line(
        "Macro-F1",
        "mean F1 of the classes; rare classes count as much as others",
        percent,
        lambda f: f.macro_f1,
    ),
    _Line("Closeness", "wrong predictions that are in the right cluster", percent, lambda f: f.closeness),
    _Line("Closeness by chance", "the same for random predictions", percent, lambda f: f.closeness_chance),
    _Line(
        "Accuracy at 80 % coverage",
        "track accuracy without the least certain fifth of the tracks",
        percent,
        lambda f: f.surest_accuracy,
    ),
    _Line(
        "Gain from abstaining",
        "share of the gain that leaving out a fifth could bring with a perfect confidence",
        percent,
        lambda f: f.lift_share,
    ),
    _Line(
        "Expected calibration error",
        "mean gap of confidence and accuracy; 0 is best",
        decimal,
        lambda f: f.ece,
    ),
    _Line("Brier score", "mean squared error of the confidence; 0 is best", decimal, lambda f: f.brier),
    _Line(
        "Negative log-likelihood",
        "mean −log of the label's probability, nats; 0 is best",
        decimal,
        lambda f: f.nll,
    ),
)


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


def headline(metrics: Metrics) -> list[Stat]:
    """The numbers to read first."""
    figures, unseen = metrics.figures, unseen_subset(metrics)
    labeled = sum(one.support > 0 for one in figures.per_class.values())
    stats = [
        _stat("Top-1 accuracy", figures.top1, f"best possible {percent(figures.ceiling_top1)}"),
        _stat("Top-5 accuracy", figures.top5, "of pairs"),
        _stat("Track accuracy", figures.any_label, "any of its labels"),
        _stat("Macro-F1", figures.macro_f1, f"over {labeled} classes"),
        _stat("Closeness", figures.closeness, f"by chance {percent(figures.closeness_chance)}"),
    ]
    if unseen:
        stats.append(_stat("Top-1, unseen artists", unseen.top1, f"{unseen.rows:,} pairs"))
    return [one for one in stats if one]


def unseen_subset(metrics: Metrics) -> Figures | None:
    """The figures on unseen artists; None if there are none, or if all held-out artists are unseen."""
    unseen = metrics.unseen_artists
    return unseen if unseen and unseen.rows < metrics.figures.rows else None


def figures_table(metrics: Metrics) -> Table:
    """Every figure on all held-out tracks and, if that is a part of them, on those of unseen artists."""
    unseen, pairs = unseen_subset(metrics), metrics.figures.rows
    caption = f"{pairs:,} held-out pairs of track and label; 95 % intervals by bootstrap over artists. "
    if unseen:
        caption += (
            f"Unseen artists: the {unseen.rows:,} pairs of tracks that have no credited artist in train."
        )
    elif metrics.unseen_artists:
        caption += "All held-out tracks are by unseen artists: none of their credited artists is in train."
    else:
        caption += "Each held-out track has a credited artist in train, so no figures for unseen artists."
    rows = []
    for line in LINES:
        row = {"Figure": line.name}
        row |= dict(zip(("Held out", "95 % interval"), _shown(line, metrics.figures), strict=True))
        if unseen:
            names = ("Unseen artists", "Their 95 % interval")
            row |= dict(zip(names, _shown(line, unseen), strict=True))
        rows.append(row | {"Meaning": line.meaning})
    return Table([row for row in rows if row["Held out"] != MISSING], ("Figure", "Meaning"), caption=caption)


def class_table(metrics: Metrics) -> Table:
    """Precision, recall, F1, ROC-AUC, closeness and support of each class, the best first."""
    noun = str(metrics.subject.labels).capitalize()
    ranked = sorted(metrics.figures.per_class.items(), key=lambda entry: (-(entry[1].f1 or 0), entry[0]))
    return Table(
        [{noun: name} | _class_row(figures) for name, figures in ranked],
        (noun,),
    )


def _class_row(figures: ClassFigures) -> dict[str, str | Cell]:
    return {
        "F1": Cell(percent(figures.f1), figures.f1 or 0),
        "Precision": percent(figures.precision),
        "Recall": percent(figures.recall),
        "ROC-AUC": Cell(decimal(figures.roc_auc), 2 * (figures.roc_auc or 0.5) - 1),
        "Closeness": percent(figures.closeness),
        "Support": f"{figures.support:,}",
    }


def _stat(label: str, figure: Interval | None, detail: str) -> Stat | None:
    return Stat(label, percent(figure.value), (bounds(figure, percent), detail)) if figure else None


def _shown(line: _Line, figures: Figures) -> tuple[str, str]:
    figure = line.value_of(figures)
    if isinstance(figure, Interval):
        return line.show(figure.value), bounds(figure, line.show)
    return line.show(figure), ""


def bounds(figure: Interval, show: Callable[[float | None], str]) -> str:
    """The interval of a figure, or why it has none."""
    if figure.low is None or figure.high is None:
        return "one artist: no interval"
    return f"{show(figure.low).removesuffix(' %')} to {show(figure.high)}"
