"""The figures of metrics.json: cases with a known result, and changes that must not affect them."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from genremill.infra.errors import UsageError
from genremill.models.evaluation.calibration import TagFigures, coverage_curve, reliability, tag_figures
from genremill.models.evaluation.held_out import HeldOut, Labels
from genremill.models.evaluation.metrics import ClassFigures, Figures, Metrics, Subject, measure
from genremill.models.evaluation.scores import BLOCKS, confusion, sums_by_block
from genremill.models.evaluation.split import SplitBy

SUBJECT = Subject("mlp/1", Labels.GENRE, ("table",), use_popularity=False)


def held_out(
    probabilities: list[list[float]],
    pairs: list[tuple[int, int]],
    *,
    split: SplitBy = SplitBy.ARTIST,
    artists: list[str] | None = None,
    unseen: list[bool] | None = None,
    clusters: list[int] | None = None,
) -> HeldOut:
    tracks, classes = len(probabilities), len(probabilities[0])
    return HeldOut(
        split=split,
        classes=tuple(f"genre-{c}" for c in range(classes)),
        probabilities_TC=np.array(probabilities, dtype=np.float32),
        pair_track_P=np.array([track for track, _ in pairs]),
        pair_label_P=np.array([label for _, label in pairs]),
        artist_T=np.array(artists or [f"artist-{t}" for t in range(tracks)]),
        unseen_T=np.array(unseen or [False] * tracks),
        cluster_of_class_C=None if clusters is None else np.array(clusters),
        cluster_names=tuple(f"cluster-{c}" for c in range(3)),
    )


def random_sample(seed: int = 0, tracks: int = 600, classes: int = 7, sharpness: float = 1.0) -> HeldOut:
    """Tracks whose label is drawn from the probabilities that the model predicts, if sharpness is 1."""
    rng = np.random.default_rng(seed)
    truth_TC = rng.dirichlet(np.full(classes, 0.4), tracks)
    label_T = (rng.random((tracks, 1)) > truth_TC.cumsum(axis=1)).sum(axis=1)
    stated_TC = truth_TC**sharpness
    stated_TC /= stated_TC.sum(axis=1, keepdims=True)
    also_T = np.arange(0, tracks, 3)
    return HeldOut(
        SplitBy.ARTIST,
        tuple(f"genre-{c}" for c in range(classes)),
        stated_TC.astype(np.float32),
        pair_track_P=np.concatenate([np.arange(tracks), also_T]),
        pair_label_P=np.concatenate([label_T, (label_T[also_T] + 1) % classes]),
        artist_T=rng.integers(tracks // 4, size=tracks),
        unseen_T=rng.random(tracks) < 0.3,
        cluster_of_class_C=np.arange(classes) % 3,
        cluster_names=("a", "b", "c"),
    )


def single_labels(sample: HeldOut) -> HeldOut:
    tracks = len(sample.artist_T)
    return replace(sample, pair_track_P=np.arange(tracks), pair_label_P=sample.pair_label_P[:tracks])


def figures(sample: HeldOut) -> Figures:
    return measure(sample, SUBJECT, replicates=200).figures


def numbers(metrics: Metrics) -> list[float]:
    """Every number of metrics.json, in order, without keys and texts."""
    found: list[float] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, (int, float)):
            found.append(node)

    walk(json.loads(json.dumps(metrics.as_json(), allow_nan=False)))
    return found


def test_a_perfect_predictor_has_perfect_figures() -> None:
    found = figures(held_out([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [(0, 0), (1, 1), (2, 2)], clusters=[0, 0, 1]))
    shares = (found.top1, found.top5, found.any_label, found.macro_f1)
    assert [(s.value, s.low, s.high) for s in shares if s] == [(1, 1, 1)] * 4
    assert (found.ece.value, found.brier.value, found.nll.value) == (0, 0, 0)
    assert found.ceiling_top1 == 1
    assert found.closeness is None  # no prediction is wrong
    assert {one.roc_auc for one in found.per_class.values()} == {1}


def test_a_constant_predictor_is_only_right_for_its_class() -> None:
    found = figures(held_out([[0.25] * 4] * 4, [(t, t) for t in range(4)]))
    assert found.top1.value == 0.25
    assert found.top5.value == 1
    assert found.macro_f1.value == pytest.approx(2 * 1 / (1 + 4) / 4)
    assert found.ece.value == 0
    assert found.brier.value == pytest.approx((0.75**2 + 3 * 0.25**2) / 4)
    assert found.nll.value == pytest.approx(np.log(4))
    assert {one.roc_auc for one in found.per_class.values()} == {0.5}
    assert [one.precision for one in found.per_class.values()] == [0.25, None, None, None]
    assert [one.recall for one in found.per_class.values()] == [1, 0, 0, 0]


def test_a_track_with_two_labels_limits_top1_but_not_any_label() -> None:
    found = figures(held_out([[0.6, 0.3, 0.1]], [(0, 0), (0, 1)]))
    assert found.ceiling_top1 == found.top1.value == 0.5
    assert found.any_label is not None
    assert found.any_label.value == 1
    assert found.brier.value == pytest.approx(0.4**2)
    assert (found.top1.low, found.top1.high) == (None, None)  # no interval from one artist


def test_top5_has_five_classes_and_ties_are_in_class_order() -> None:
    falling = [[0.28, 0.24, 0.2, 0.12, 0.08, 0.05, 0.03]]
    assert [figures(held_out(falling, [(0, label)])).top5.value for label in (4, 5)] == [1, 0]
    tied = [[1 / 7] * 7]
    assert [figures(held_out(tied, [(0, label)])).top5.value for label in (4, 5)] == [1, 0]


def test_closeness_counts_wrong_predictions_in_the_cluster_of_the_label() -> None:
    says_first = [[0.5, 0.3, 0.1, 0.1]] * 4
    found = figures(held_out(says_first, [(0, 0), (1, 1), (2, 2), (3, 3)], clusters=[0, 0, 1, -1]))
    assert found.closeness is not None
    assert found.closeness.value == pytest.approx(1 / 3)
    assert found.closeness_chance == pytest.approx((2 / 4) ** 2 + (1 / 4) ** 2)
    unmapped = figures(held_out(says_first, [(0, 0), (1, 1), (2, 2), (3, 3)], clusters=[-1, -1, 0, 0]))
    assert unmapped.closeness is not None
    assert unmapped.closeness.value == 0


def test_closeness_is_left_out_without_a_map() -> None:
    found = figures(held_out([[0.9, 0.1]] * 2, [(0, 0), (1, 1)]))
    assert (found.closeness, found.closeness_chance) == (None, None)


def test_macro_f1_and_confusion_equal_values_calculated_by_hand() -> None:
    answers = [[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    sample = held_out(answers, [(0, 0), (1, 1), (2, 1), (3, 1)])
    found = figures(sample)
    assert found.macro_f1.value == pytest.approx((2 / 3 + 2 / 4) / 2)  # no track has the third class
    assert (found.per_class["genre-2"].f1, found.per_class["genre-2"].roc_auc) == (None, None)
    table = confusion(sample.pair_label_P, sample.top_T[sample.pair_track_P], classes=3)
    assert table.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_the_ece_is_small_for_a_calibrated_model_and_large_for_an_overconfident_one() -> None:
    honest, boastful = (figures(single_labels(random_sample(tracks=2000, sharpness=s))) for s in (1, 4))
    assert honest.ece.value < 0.04
    assert boastful.ece.value > 0.2
    assert honest.top1.value == boastful.top1.value
    assert honest.nll.value < boastful.nll.value
    assert honest.ece.low is not None
    assert honest.ece.low < honest.ece.value  # resampling alone raises it above the value


def test_abstaining_on_exactly_the_wrong_tracks_reaches_the_full_gain() -> None:
    sure, unsure = [0.9, 0.1], [0.6, 0.4]
    found = figures(held_out([sure] * 8 + [unsure] * 2, [(t, int(t > 5)) for t in range(10)]))
    assert found.any_label is not None
    assert (found.any_label.value, found.surest_accuracy.value) == (0.6, 0.75)
    assert found.lift_share is not None
    assert found.lift_share.value == pytest.approx(1)
    blind = figures(held_out([sure] * 8 + [unsure] * 2, [(t, t % 2) for t in range(10)]))
    assert blind.lift_share is not None
    assert blind.lift_share.value == pytest.approx(0)
    nothing_to_gain = figures(held_out([sure, unsure], [(0, 0), (1, 0)]))
    assert nothing_to_gain.lift_share is None


def test_tag_figures_are_shares_of_tracks_and_missing_for_the_rows_split() -> None:
    sample = held_out([[0.9, 0.1]] * 4, [(0, 0), (1, 0), (2, 1), (3, 0)])
    outlier_T, abstained_T = np.array([True, False, False, False]), np.array([True, True, False, False])
    found = tag_figures(sample, outlier_T, abstained_T)
    assert found == TagFigures(tagged=0.5, abstained=0.25, outlier=0.25, precision=0.5)
    assert tag_figures(replace(sample, split=SplitBy.ROWS), outlier_T, abstained_T) is None


def test_each_genre_has_its_own_closeness() -> None:
    says_first = [[0.5, 0.3, 0.1, 0.1]] * 4
    found = figures(held_out(says_first, [(0, 0), (1, 1), (2, 2), (3, 3)], clusters=[0, 0, 1, -1]))
    assert [one.closeness for one in found.per_class.values()] == [None, 1, 0, 0]


def test_the_rows_split_measures_each_pair_by_its_own_label() -> None:
    sample = held_out([[0.6, 0.3, 0.1]], [(0, 0), (0, 1)], split=SplitBy.ROWS)
    found = figures(sample)
    assert found.any_label is None
    assert found.ceiling_top1 == 0.5
    assert found.brier.value == pytest.approx((0.4**2 + 0.6**2) / 2)
    assert found.ece.value == pytest.approx(0.1)


def test_intervals_resample_artists_and_not_rows() -> None:
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    tracks = [right, wrong] * 100
    pairs = [(t, 0) for t in range(200)]
    spread_out = figures(held_out(tracks, pairs)).top1
    eight_artists = [f"artist-{t % 2 + 2 * (t // 50)}" for t in range(200)]
    prolific = figures(held_out(tracks, pairs, artists=eight_artists)).top1
    assert spread_out.value == prolific.value == 0.5
    assert spread_out.low == pytest.approx(0.5 - 1.96 * np.sqrt(0.25 / 200), abs=0.02)
    assert prolific.low is not None
    assert prolific.low < 0.3


def test_intervals_contain_their_values() -> None:
    metrics = measure(random_sample(), SUBJECT)
    intervals = [one for one in vars(metrics.figures).values() if hasattr(one, "low")]
    assert len(intervals) == 10
    assert all(one.low < one.value < one.high for one in intervals)


def test_figures_do_not_depend_on_the_order_of_pairs_and_tracks() -> None:
    sample, rng = random_sample(), np.random.default_rng(1)
    pair_order = rng.permutation(len(sample.pair_track_P))
    track_order = rng.permutation(len(sample.artist_T))
    shuffled = replace(
        sample,
        probabilities_TC=sample.probabilities_TC[track_order],
        artist_T=sample.artist_T[track_order],
        unseen_T=sample.unseen_T[track_order],
        pair_track_P=np.argsort(track_order)[sample.pair_track_P][pair_order],
        pair_label_P=sample.pair_label_P[pair_order],
    )
    for split in SplitBy:
        before = measure(replace(sample, split=split), SUBJECT, replicates=50)
        after = measure(replace(shuffled, split=split), SUBJECT, replicates=50)
        assert numbers(after) == pytest.approx(numbers(before), rel=1e-9)


def test_figures_on_unseen_artists_do_not_depend_on_other_artists() -> None:
    sample = random_sample()
    metrics = measure(sample, SUBJECT, replicates=50)
    alone = measure(sample.only(sample.unseen_T), SUBJECT, replicates=50)
    assert metrics.unseen_artists == alone.figures != metrics.figures
    nobody = measure(replace(sample, unseen_T=np.zeros(600, dtype=bool)), SUBJECT, replicates=50)
    assert nobody.unseen_artists is None


def test_metrics_json_has_the_expected_names() -> None:
    document = json.loads(json.dumps(measure(random_sample(), SUBJECT, replicates=50).as_json()))
    names = (
        "model_version labels inputs use_popularity split classes rows top1 top5 any_label ceiling_top1 "
        "macro_f1 closeness closeness_chance ece brier nll per_class surest_accuracy lift_share "
        "unseen_artists alone tags"
    )
    assert list(document) == names.split()
    assert set(document["top1"]) == {"value", "low", "high"}
    assert set(document["per_class"]["genre-0"]) == {field.name for field in fields(ClassFigures)}
    assert set(document["unseen_artists"]) == {field.name for field in fields(Figures)}


def test_all_pairs_count_if_there_are_more_artists_than_blocks() -> None:
    sample = random_sample(tracks=6000)
    crowded = replace(sample, artist_T=np.arange(6000))
    assert len(sums_by_block(crowded).pairs_A) == BLOCKS
    assert figures(crowded).top1.value == figures(sample).top1.value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artist_T": np.array(["x"])}, "expected"),
        ({"probabilities_TC": np.array([[0.5, np.nan], [0.5, 0.5]], np.float32)}, "finite"),
        ({"pair_track_P": np.array([0, 0])}, "no label"),
    ],
)
def test_an_inconsistent_sample_is_an_error(change: dict[str, np.ndarray], message: str) -> None:
    sample = held_out([[0.9, 0.1], [0.2, 0.8]], [(0, 0), (1, 1)])
    with pytest.raises(UsageError, match=message):
        replace(sample, **change)  # type: ignore[arg-type]


def test_an_empty_sample_is_an_error() -> None:
    sample = held_out([[0.9, 0.1]], [(0, 0)])
    with pytest.raises(UsageError, match="nothing to measure"):
        measure(sample.only(np.array([False])), SUBJECT)


def test_the_coverage_curve_ends_at_the_accuracy_of_all_predictions() -> None:
    sample = random_sample()
    curve = coverage_curve(sample.confidence_T, sample.right_T, points=20)
    assert curve[-1].coverage == 1
    assert curve[-1].accuracy == sample.right_T.mean()
    assert curve[0].accuracy > curve[-1].accuracy
    assert len(curve) <= 20


def test_reliability_bins_have_equally_many_predictions() -> None:
    sample = random_sample()
    bins = reliability(sample.confidence_T, sample.right_T, bins=10)
    assert {one.answers for one in bins} == {60}
    assert [one.confidence for one in bins] == sorted(one.confidence for one in bins)
