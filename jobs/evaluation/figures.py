"""The numbers of a model report: the headline, every figure with its interval, and every class."""

from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.pages import parts
from genremill.infra.pages.charts import meter
from genremill.infra.pages.markup import Markup, join
from genremill.infra.pages.parts import Column
from genremill.models.evaluation.metrics import ClassFigures, Figures, Interval, Metrics

MISSING = "–"


def percent(share: float | None) -> str:
    """A share in percent, a dash where there is none.

    >>> percent(0.3194), percent(None)
    ('31.9 %', '–')
    """
    return MISSING if share is None else f"{100 * share:.1f} %"


def decimal(number: float | None) -> str:
    """A number with three decimals, a dash where there is none.

    >>> decimal(2.3456)
    '2.346'
    """
    return MISSING if number is None else f"{number:.3f}"


@dataclass(frozen=True)
class _Line:
    """A line of the table of figures."""

    name: str
    meaning: str
    show: Callable[[float | None], str]
    of: Callable[[Figures], Interval | float | None]


LINES = (
    _Line("Top-1", "pairs whose label is the likeliest class", percent, lambda f: f.top1),
    _Line(
        "Ceiling of top-1", "the most that one answer a track can reach", percent, lambda f: f.ceiling_top1
    ),
    _Line("Top-5", "pairs whose label is among the five likeliest classes", percent, lambda f: f.top5),
    _Line("Any label", "tracks whose answer is any of their labels", percent, lambda f: f.any_label),
    _Line("Macro-F1", "mean F1 of the classes, rare ones counting as much", percent, lambda f: f.macro_f1),
    _Line("Closeness", "wrong answers in the right cluster", percent, lambda f: f.closeness),
    _Line("Closeness by chance", "the same for blind answers", percent, lambda f: f.closeness_chance),
    _Line(
        "Surest four fifths",
        "tracks whose answer is any of their labels, the least certain fifth left out",
        percent,
        lambda f: f.surest_accuracy,
    ),
    _Line("Of the possible gain", "how much leaving them out brings", percent, lambda f: f.lift_share),
    _Line("ECE", "gap between confidence and accuracy; 0 is best", decimal, lambda f: f.ece),
    _Line("Brier", "squared error of the confidence; 0 is best", decimal, lambda f: f.brier),
    _Line("NLL", "surprise at the label, in nats; 0 is best", decimal, lambda f: f.nll),
)


def headline(metrics: Metrics) -> Markup:
    """The six numbers to read first."""
    figures, unseen = metrics.figures, metrics.unseen_artists
    labelled = sum(one.support > 0 for one in figures.per_class.values())
    return parts.stats(
        _stat("Top-1", figures.top1, f"ceiling {percent(figures.ceiling_top1)}"),
        _stat("Top-5", figures.top5, "of pairs"),
        _stat("Any label", figures.any_label, "of tracks"),
        _stat("Macro-F1", figures.macro_f1, f"over {labelled} classes"),
        _stat("Closeness", figures.closeness, f"chance {percent(figures.closeness_chance)}"),
        _stat(
            "Top-1, unseen artists",
            unseen.top1 if unseen else None,
            f"{unseen.rows if unseen else 0:,} pairs",
        ),
    )


def figures_table(metrics: Metrics) -> Markup:
    """Every figure, on all held-out tracks and, beside it, on those of unseen artists."""
    sets = [("Held out", metrics.figures), ("Unseen artists", metrics.unseen_artists)]
    present = [(name, figures) for name, figures in sets if figures]
    columns = [Column("Figure", number=False)]
    for name, _ in present:
        columns += [Column(name), Column("95 % interval")]
    rows = [
        [line.name, *(text for _, figures in present for text in _shown(line, figures)), line.meaning]
        for line in LINES
    ]
    caption = "Intervals by bootstrap over artists."
    if metrics.unseen_artists is None:
        caption += " No held-out track is by unseen artists alone, so that subset is left out."
    else:
        pairs = metrics.unseen_artists.rows
        caption += (
            f" Unseen artists: {pairs:,} of {metrics.figures.rows:,} pairs, no credited artist in train."
        )
    return parts.table(caption, [*columns, Column("What it says", number=False)], rows)


def class_table(metrics: Metrics) -> Markup:
    """Precision, recall, F1, ROC-AUC, closeness and support of each class, the best told first."""
    ranked = sorted(metrics.figures.per_class.items(), key=lambda entry: (-(entry[1].f1 or 0), entry[0]))
    return parts.table(
        "The best told first. ROC-AUC: the chance that a track of the class scores above another; "
        "its bar starts at chance, 0.5. Closeness: its wrong answers that are of its cluster.",
        [
            Column(str(metrics.subject.labels).capitalize(), number=False),
            *(Column(name) for name in ("F1", "Precision", "Recall", "ROC-AUC", "Closeness", "Support")),
        ],
        [_class_row(name, figures) for name, figures in ranked],
    )


def _class_row(name: str, figures: ClassFigures) -> list[str]:
    return [
        name,
        join(percent(figures.f1), meter(figures.f1 or 0)),
        percent(figures.precision),
        percent(figures.recall),
        join(decimal(figures.roc_auc), meter(2 * (figures.roc_auc or 0.5) - 1)),
        percent(figures.closeness),
        f"{figures.support:,}",
    ]


def _stat(label: str, figure: Interval | None, detail: str) -> Markup:
    if figure is None:
        return parts.stat(label, MISSING, "not defined here")
    return parts.stat(label, percent(figure.value), bounds(figure, percent), detail)


def _shown(line: _Line, figures: Figures) -> tuple[str, str]:
    figure = line.of(figures)
    if isinstance(figure, Interval):
        return line.show(figure.value), bounds(figure, line.show)
    return line.show(figure), ""


def bounds(figure: Interval, show: Callable[[float | None], str]) -> str:
    """A figure's interval, or why it has none."""
    if figure.low is None or figure.high is None:
        return "one artist: no interval"
    return f"{show(figure.low).removesuffix(' %')} to {show(figure.high)}"
