"""The numbers of a model report: how good the model is in a sentence, and every figure with its interval."""

from collections.abc import Callable

from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.models.evaluation.metrics import Figures, Interval, Metrics

FIGURES = (
    ("top1", "Top-1 accuracy", "pairs whose label is the most probable class"),
    ("ceiling_top1", "Best possible top-1", "a track gets one tag but may have several labels"),
    ("top5", "Top-5 accuracy", "pairs whose label is among the five most probable classes"),
    ("any_label", "Track accuracy", "tracks that get any of their labels"),
    ("macro_f1", "Macro-F1", "mean F1 of the classes; rare classes count as much as others"),
    ("closeness", "Closeness", "wrong predictions that are in the right cluster"),
    ("closeness_chance", "Closeness by chance", "the same for random predictions"),
    (
        "surest_accuracy",
        "Accuracy at 80 % coverage",
        "track accuracy without the least certain fifth",
    ),
    (
        "lift_share",
        "Gain from abstaining",
        "share of the gain if only wrong tracks were left out",
    ),
    ("ece", "Expected calibration error", "mean gap of confidence and accuracy; 0 is best"),
    ("brier", "Brier score", "mean squared error of the confidence; 0 is best"),
    ("nll", "Negative log-likelihood", "mean −log of the label's probability, in nats; 0 is best"),
)
"""Field of `Figures`, standard name, and meaning."""
DECIMALS = ("ece", "brier", "nll")


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
