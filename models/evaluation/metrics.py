"""The figures of a model version on held-out pairs, each with its interval: what metrics.json holds.

Shape suffixes: P pairs, T tracks, C classes, R bootstrap replicates.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from genremill.infra.errors import UsageError
from genremill.models.evaluation.abstention import TagFigures
from genremill.models.evaluation.calibration import expected_calibration_error, lift_share
from genremill.models.evaluation.held_out import Flags, Floats, HeldOut, Integers, Labels
from genremill.models.evaluation.split import SplitBy
from genremill.models.evaluation.sums import Tallies, close, tally

REPLICATES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval, by bootstrap over artists; no bounds where there is only one artist."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others; None where nothing defines the figure.

    precision: share of the pairs given this tag that bear its label. recall: share of the pairs of its label
    that are given the tag. f1: their harmonic mean. support: pairs of the label. roc_auc: see `roc_auc`.
    closeness: share of its pairs' wrong answers that are of its cluster.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    roc_auc: float | None
    closeness: float | None


@dataclass(frozen=True)
class Figures:
    """What is measured on a set of held-out pairs; a track's answer is its top tag, the likeliest class.

    rows: pairs. top1, top5: share of pairs whose label is the answer, or among the five likeliest classes.
    any_label: share of tracks whose answer is any of their labels; None under `rows`, where it means nothing.
    ceiling_top1: see `ceiling`. macro_f1: see `macro_f1`.
    closeness: share of wrong answers that are of the label's cluster; its chance: see `closeness_chance`.
    ece: see `expected_calibration_error`; brier: mean of (confidence - right)² of the answer; both per track.
    nll: mean -log of the label's probability over pairs, in nats.
    surest_accuracy: accuracy per track if the least certain fifth had no answer; lift_share: how much that is
    of the greatest gain possible, see `calibration.lift_share`.
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
    tags: TagFigures | None = None
    """None under `rows`, where a track's other labels lie in train."""

    def as_json(self) -> dict[str, object]:
        """The object that metrics.json holds; no NaN in it."""
        return {
            **asdict(self.subject),
            "split": self.split,
            "classes": self.classes,
            **asdict(self.figures),
            "unseen_artists": asdict(self.unseen_artists) if self.unseen_artists else None,
            "tags": asdict(self.tags) if self.tags else None,
        }


def measure(held_out: HeldOut, subject: Subject, *, seed: int = 0, replicates: int = REPLICATES) -> Metrics:
    """The metrics of a model version on a held-out sample.

    A track with the labels `a` and `b` and one with the label `c`; the model says `a` of both, and `b` is the
    cluster mate of `a`:

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
        raise UsageError(f"nothing to measure: the split {held_out.split} holds out no pair with a label")
    unseen = held_out.only(held_out.unseen_T)
    return Metrics(
        subject=subject,
        split=held_out.split,
        classes=held_out.classes,
        figures=_figures(held_out, seed, replicates),
        unseen_artists=_figures(unseen, seed, replicates) if len(unseen.pair_track_P) else None,
    )


def _figures(held_out: HeldOut, seed: int, replicates: int) -> Figures:
    units = held_out.units()
    blocks = tally(units)
    total, drawn = blocks.total(), blocks.resampled(replicates, seed)
    several_artists = len(blocks.pairs_A) > 1
    cluster_of_class_C, wrong = units.cluster_of_class_C, float(total.pairs_A[0] - total.top1_A[0])
    can_lift = 0 < total.right_A[0] < total.tracks_A[0] and total.kept_A[0] < total.tracks_A[0]

    def interval(formula: Callable[[Tallies], Floats], least: float = 0.0, most: float = 1.0) -> Interval:
        value = float(formula(total)[0])
        return spread(value, formula(drawn), least, most) if several_artists else Interval(value, None, None)

    return Figures(
        rows=len(units.pair_label_P),
        top1=interval(lambda t: t.top1_A / t.pairs_A),
        top5=interval(lambda t: t.top5_A / t.pairs_A),
        any_label=None if units.split is SplitBy.ROWS else interval(lambda t: t.right_A / t.tracks_A),
        ceiling_top1=ceiling(held_out.pair_track_P, held_out.pair_label_P),
        macro_f1=interval(lambda t: macro_f1(t.hits_AC, t.truths_AC, t.chosen_AC)),
        closeness=None
        if cluster_of_class_C is None or not wrong
        else interval(lambda t: ratio(t.close_A, t.pairs_A - t.top1_A)),
        closeness_chance=None
        if cluster_of_class_C is None
        else closeness_chance(cluster_of_class_C[units.pair_label_P]),
        ece=interval(lambda t: expected_calibration_error(t.gap_AB, t.tracks_A)),
        brier=interval(lambda t: t.squared_error_A / t.tracks_A),
        nll=interval(lambda t: t.surprise_A / t.pairs_A, most=np.inf),
        per_class=_per_class(units, total),
        surest_accuracy=interval(lambda t: ratio(t.kept_right_A, t.kept_A)),
        lift_share=interval(_lift_share, least=-np.inf) if can_lift else None,
    )


def _lift_share(tallies: Tallies) -> Floats:
    accuracy_A = tallies.right_A / tallies.tracks_A
    return lift_share(
        accuracy_A, ratio(tallies.kept_right_A, tallies.kept_A), tallies.kept_A / tallies.tracks_A
    )


def _per_class(units: HeldOut, total: Tallies) -> dict[str, ClassFigures]:
    hits_C, truths_C, chosen_C = total.hits_AC[0], total.truths_AC[0], total.chosen_AC[0]
    precision_C, recall_C = ratio(hits_C, chosen_C), ratio(hits_C, truths_C)
    f1_C = np.where(truths_C > 0, ratio(2 * hits_C, truths_C + chosen_C), np.nan)
    answer_P = units.top_T[units.pair_track_P]
    close_P = close(units.cluster_of_class_C, units.pair_label_P, answer_P)
    close_C = np.bincount(units.pair_label_P[close_P], minlength=len(units.classes)).astype(np.float64)
    wrong_C = truths_C - hits_C if units.cluster_of_class_C is not None else np.zeros_like(truths_C)
    closeness_C = ratio(close_C, wrong_C)
    return {
        name: ClassFigures(
            precision=_defined(precision_C[c]),
            recall=_defined(recall_C[c]),
            f1=_defined(f1_C[c]),
            support=int(truths_C[c]),
            roc_auc=roc_auc(units.probabilities_TC[:, c], units.truth_TC[:, c]),
            closeness=_defined(closeness_C[c]),
        )
        for c, name in enumerate(units.classes)
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part of whole; NaN where the whole is 0.

    >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0]))
    array([0.25,  nan])
    """
    share: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return share


def spread(value: float, replicates_R: Floats, least: float = 0.0, most: float = 1.0) -> Interval:
    """A value with the middle 95 % of its replicates, shifted so that their median is the value.

    Resampling alone raises a calibration error and lowers a macro-F1; the shift takes that bias out.

    >>> spread(0.5, np.linspace(0.5, 0.7, 101))
    Interval(value=0.5, low=0.405, high=0.595)
    """
    low, middle, high = np.nanquantile(replicates_R, [(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
    low, high = max(least, low - middle + value), min(most, high - middle + value)
    return Interval(value, float(low), float(high))


def ceiling(pair_track_P: Integers, pair_label_P: Integers) -> float:
    """Share of pairs that one answer a track can get right at best; a figure above it is a leak.

    A track with two labels, and one with a single label:

    >>> round(ceiling(np.array([0, 0, 1]), np.array([4, 7, 4])), 3)
    0.667
    """
    pairs, count = np.unique(np.stack([pair_track_P, pair_label_P]), axis=1, return_counts=True)
    best_T = np.zeros(int(pair_track_P.max()) + 1)
    np.maximum.at(best_T, pairs[0], count)
    return float(best_T.sum() / len(pair_track_P))


def macro_f1(hits_RC: Floats, truths_RC: Floats, chosen_RC: Floats) -> Floats:
    """Mean F1 = 2 hits / (truths + chosen) over the classes that are a label of some pair.

    The first class has F1 2/3, the second 1/2; the third is chosen once, but no pair bears it:

    >>> macro_f1(np.array([2.0, 1.0, 0.0]), np.array([3.0, 2.0, 0.0]), np.array([3.0, 2.0, 1.0])).round(4)
    np.float64(0.5833)
    """
    f1_RC = np.where(truths_RC > 0, 2 * hits_RC / np.maximum(truths_RC + chosen_RC, 1), 0)
    macro_R: Floats = f1_RC.sum(axis=-1) / (truths_RC > 0).sum(axis=-1)
    return macro_R


def closeness_chance(cluster_P: Integers) -> float:
    """Closeness of blind answers: the sum of squared cluster shares of the labels; -1 is no cluster.

    >>> closeness_chance(np.array([0, 0, 0, 1]))
    0.625
    """
    share_K = np.bincount(cluster_P[cluster_P >= 0]) / len(cluster_P)
    return float((share_K**2).sum())


def roc_auc(score_T: NDArray[np.float32], positive_T: Flags) -> float | None:
    """The chance that a positive scores above a negative, a tie counting half; None unless there are both.

    >>> roc_auc(np.array([0.9, 0.4, 0.4, 0.1], np.float32), np.array([True, True, False, False]))
    0.875
    """
    positives, negatives = score_T[positive_T], np.sort(score_T[~positive_T])
    if not len(positives) or not len(negatives):
        return None
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).mean() / 2 / len(negatives))


def mean_probability(held_out: HeldOut) -> Floats:
    """Mean probability of each class (column) over the pairs of each label (row), shape (C, C)."""
    classes, tracks = len(held_out.classes), len(held_out.artist_T)
    label_P, track_P = held_out.pair_label_P, held_out.pair_track_P
    bears_CT = csr_array((np.ones(len(label_P)), (label_P, track_P)), shape=(classes, tracks))
    pairs_C1 = np.bincount(label_P, minlength=classes)[:, None]
    mean_CC: Floats = (bears_CT @ held_out.probabilities_TC.astype(np.float64)) / np.maximum(pairs_C1, 1)
    return mean_CC


def confusion(label_P: Integers, answer_P: Integers, classes: int) -> Integers:
    """Pairs by label (row) and answer (column), shape (C, C).

    >>> confusion(np.array([0, 0, 1]), answer_P=np.array([0, 1, 1]), classes=2)
    array([[1, 1],
           [0, 1]])
    """
    cell_P = label_P * classes + answer_P
    return np.bincount(cell_P, minlength=classes**2).reshape(classes, classes).astype(np.int64)
