"""The figures of a model version on held-out pairs, with intervals: the content of metrics.json.

Shape suffixes: P pairs, T tracks, C classes, A artists or blocks of them, R bootstrap replicates.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from genremill.infra.errors import UsageError
from genremill.models.evaluation import scores
from genremill.models.evaluation.calibration import TagFigures
from genremill.models.evaluation.held_out import Floats, HeldOut, Labels
from genremill.models.evaluation.scores import Sums, ratio
from genremill.models.evaluation.split import SplitBy

REPLICATES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval, by bootstrap over artists; no bounds if there is only one artist."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class; None if a figure is undefined.

    support: pairs with the label. closeness: share of the wrong predictions for it that are in its cluster.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    roc_auc: float | None
    closeness: float | None


@dataclass(frozen=True)
class Figures:
    """The figures of a set of held-out pairs. The prediction for a track is its top tag.

    rows: pairs. top1, top5: share of pairs whose label is the prediction, or among the top five classes.
    any_label: share of tracks whose prediction is one of their labels; None for a split by `rows`.
    closeness: share of the wrong predictions that are in the cluster of the label.
    ece: see `scores.expected_calibration_error`. brier: mean of (confidence - correct)². Both are per track.
    nll: mean -log of the label's probability over pairs, in nats.
    surest_accuracy: accuracy on tracks without the least certain fifth.
    ceiling_top1, macro_f1, closeness_chance, lift_share: see the functions of `scores`.
    """

    rows: int
    top1: Interval
    top5: Interval
    any_label: Interval | None
    ceiling_top1: float
    macro_f1: Interval
    closeness: Interval | None
    closeness_chance: float | None
    ece: Interval
    brier: Interval
    nll: Interval
    per_class: dict[str, ClassFigures]
    surest_accuracy: Interval
    lift_share: Interval | None


@dataclass(frozen=True)
class Subject:
    """Which model version is measured."""

    model_version: str
    labels: Labels
    inputs: tuple[str, ...]
    use_popularity: bool


@dataclass(frozen=True)
class Metrics:
    """All of metrics.json: the figures on all held-out tracks, and on those of unseen artists."""

    subject: Subject
    split: SplitBy
    classes: tuple[str, ...]
    figures: Figures
    unseen_artists: Figures | None
    alone: Figures | None = None
    """The figures of predictions without the artist's other tracks; None if the model does not use them."""
    tags: TagFigures | None = None
    """None for a split by `rows`, where the other labels of a track are in train."""

    def as_json(self) -> dict[str, object]:
        """The object that metrics.json holds; no NaN in it."""
        return {
            **asdict(self.subject),
            "split": self.split,
            "classes": self.classes,
            **asdict(self.figures),
            "unseen_artists": asdict(self.unseen_artists) if self.unseen_artists else None,
            "alone": asdict(self.alone) if self.alone else None,
            "tags": asdict(self.tags) if self.tags else None,
        }


def measure(
    held_out: HeldOut,
    subject: Subject,
    alone: HeldOut | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Metrics:
    """The metrics of a model version on a held-out sample. Raises `UsageError` if the sample is empty.

    `alone` is the sample with predictions that do not use the artist's other tracks.

    One track has the labels `a` and `b`, which are in one cluster, the other has `c`. The model predicts `a`:

    >>> sample = HeldOut(
    ...     SplitBy.ARTIST, ("a", "b", "c"), np.tile(np.float32([0.5, 0.3, 0.2]), (2, 1)),
    ...     pair_track_P=np.array([0, 0, 1]), pair_label_P=np.array([0, 1, 2]),
    ...     artist_T=np.array(["x", "y"]), unseen_T=np.array([False, False]),
    ...     cluster_of_class_C=np.array([0, 0, 1]), cluster_names=("mild", "wild"))
    >>> figures = measure(sample, Subject("mlp/1", Labels.GENRE, ("table",), False)).figures
    >>> round(figures.top1.value, 3), round(figures.ceiling_top1, 3), figures.any_label.value
    (0.333, 0.667, 0.5)
    >>> figures.closeness.value, figures.brier.value, round(figures.nll.value, 3)
    (0.5, 0.25, 1.169)
    """
    if not len(held_out.pair_track_P):
        raise UsageError(f"nothing to measure: the split {held_out.split} has no held-out pair with a label")
    unseen = held_out.only(held_out.unseen_T)
    return Metrics(
        subject=subject,
        split=held_out.split,
        classes=held_out.classes,
        figures=_figures(held_out, seed, replicates),
        unseen_artists=_figures(unseen, seed, replicates) if len(unseen.pair_track_P) else None,
        alone=_figures(alone, seed, replicates) if alone else None,
    )


def _figures(held_out: HeldOut, seed: int, replicates: int) -> Figures:
    units = held_out.units()
    blocks = scores.sums_by_block(units)
    count = len(blocks.pairs_A)
    total = blocks.weighted(np.ones((1, count)))
    drawn = blocks.weighted(scores.times_drawn(count, replicates, seed))
    cluster_P = None if units.cluster_of_class_C is None else units.cluster_of_class_C[units.pair_label_P]
    can_be_close = cluster_P is not None and total.top1_A[0] < total.pairs_A[0]
    can_lift = 0 < total.right_A[0] < total.tracks_A[0] and total.kept_A[0] < total.tracks_A[0]

    def interval(formula: Callable[[Sums], Floats], least: float = 0.0, most: float = 1.0) -> Interval:
        value = float(formula(total)[0])
        return spread(value, formula(drawn), least, most) if count > 1 else Interval(value, None, None)

    return Figures(
        rows=len(units.pair_label_P),
        top1=interval(lambda t: t.top1_A / t.pairs_A),
        top5=interval(lambda t: t.top5_A / t.pairs_A),
        any_label=None if units.split is SplitBy.ROWS else interval(lambda t: t.right_A / t.tracks_A),
        ceiling_top1=scores.ceiling(held_out.pair_track_P, held_out.pair_label_P),
        macro_f1=interval(lambda t: scores.macro_f1(t.hits_AC, t.truths_AC, t.chosen_AC)),
        closeness=interval(lambda t: ratio(t.close_A, t.pairs_A - t.top1_A)) if can_be_close else None,
        closeness_chance=None if cluster_P is None else scores.closeness_chance(cluster_P),
        ece=interval(lambda t: scores.expected_calibration_error(t.gap_AB, t.tracks_A)),
        brier=interval(lambda t: t.squared_error_A / t.tracks_A),
        nll=interval(lambda t: t.surprise_A / t.pairs_A, most=np.inf),
        per_class=_per_class(units, total),
        surest_accuracy=interval(lambda t: ratio(t.kept_right_A, t.kept_A)),
        lift_share=interval(scores.lift_share, least=-np.inf) if can_lift else None,
    )


def _per_class(units: HeldOut, total: Sums) -> dict[str, ClassFigures]:
    hits_C, truths_C, chosen_C = total.hits_AC[0], total.truths_AC[0], total.chosen_AC[0]
    precision_C, recall_C = ratio(hits_C, chosen_C), ratio(hits_C, truths_C)
    f1_C = np.where(truths_C > 0, ratio(2 * hits_C, truths_C + chosen_C), np.nan)
    close_P = scores.close(units.cluster_of_class_C, units.pair_label_P, units.top_T[units.pair_track_P])
    close_C = np.bincount(units.pair_label_P[close_P], minlength=len(units.classes)).astype(np.float64)
    closeness_C = ratio(close_C, truths_C - hits_C)
    has_clusters = units.cluster_of_class_C is not None
    return {
        name: ClassFigures(
            precision=_defined(precision_C[c]),
            recall=_defined(recall_C[c]),
            f1=_defined(f1_C[c]),
            support=int(truths_C[c]),
            roc_auc=scores.roc_auc(units.probabilities_TC[:, c], units.truth_TC[:, c]),
            closeness=_defined(closeness_C[c]) if has_clusters else None,
        )
        for c, name in enumerate(units.classes)
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def spread(value: float, replicates_R: Floats, least: float = 0.0, most: float = 1.0) -> Interval:
    """A value with the middle 95 % of its replicates, shifted so that their median is the value.

    Resampling alone raises a calibration error and lowers a macro-F1; the shift removes this bias.

    >>> spread(0.5, np.linspace(0.5, 0.7, 101))
    Interval(value=0.5, low=0.405, high=0.595)
    """
    low, middle, high = np.nanquantile(replicates_R, [(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2]).tolist()
    return Interval(value, max(least, low - middle + value), min(most, high - middle + value))


def paired_difference(
    tracks_A: NDArray[np.integer], gained_A: NDArray[np.integer], seed: int = 0
) -> Interval:
    """Accuracy of the second model minus that of the first, with a 95 % interval by bootstrap over artists.

    `tracks_A` counts the held-out tracks of each artist, 1 or more. `gained_A` counts the tracks that only
    the second model has right, minus those that only the first has right.
    """
    drawn_RA = scores.times_drawn(len(tracks_A), REPLICATES, seed)
    replicates_R = (drawn_RA @ gained_A) / (drawn_RA @ tracks_A)
    low, high = np.quantile(replicates_R, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(gained_A.sum() / tracks_A.sum()), float(low), float(high))
