"""Temperature, thresholds, outliers and the mix of styles: the columns of `tags` besides the label."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csc_array
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models import artifact
from genremill.models.artifact import Model
from genremill.models.encoders.base import Inputs
from genremill.models.evaluation.calibration import (
    CREDIBLE_ARTISTS,
    UNREACHED,
    artist_weights,
    fitted_temperature,
    fitted_thresholds,
    reliability,
    tempered,
)
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.scores import expected_calibration_error
from genremill.models.evaluation.split import SplitBy
from genremill.models.features import TABLE, FeatureSpec
from genremill.models.model_card import Cluster, ModelCard, Thresholds
from genremill.models.networks.base import Network
from genremill.models.outliers import TrainingDistribution, fit_distributions, limit_of
from genremill.models.recipe import Size
from genremill.udfs.style_mix import Styles
from genremill.udfs.tagging import Predicted, tags_of

CLUSTERS = (Cluster(3, "loud"), Cluster(7, "quiet"))


def drawn(sharpness: float, tracks: int = 20_000, seed: int = 0) -> tuple[npt.NDArray[np.float32], HeldOut]:
    """True probabilities, from which labels are drawn, and a sample whose model predicts a power of them."""
    rng = np.random.default_rng(seed)
    honest_TC = rng.dirichlet(np.full(6, 0.5), tracks)
    label_T = (rng.random((tracks, 1)) > honest_TC.cumsum(axis=1)).sum(axis=1).clip(0, 5)
    stated_TC = honest_TC**sharpness
    sample = HeldOut(
        SplitBy.ARTIST,
        tuple("abcdef"),
        (stated_TC / stated_TC.sum(axis=1, keepdims=True)).astype(np.float32),
        np.arange(tracks),
        label_T,
        rng.integers(tracks // 10, size=tracks),
        np.zeros(tracks, np.bool_),
    )
    return honest_TC.astype(np.float32), sample


def answered(p_TC: npt.NDArray[np.float32], right_T: npt.NDArray[np.bool_]) -> HeldOut:
    """Tracks whose label is the most probable class if `right_T` is true, else another class."""
    top_T = p_TC.argmax(axis=1)
    return HeldOut(
        SplitBy.ARTIST,
        tuple("abcdef"[: p_TC.shape[1]]),
        p_TC,
        np.arange(len(p_TC)),
        np.where(right_T, top_T, (top_T + 1) % p_TC.shape[1]),
        np.arange(len(p_TC)),
        np.zeros(len(p_TC), np.bool_),
    )


@pytest.mark.parametrize("sharpness", [0.6, 1.0, 2.5])
def test_temperature_corrects_overconfident_and_underconfident_models(sharpness: float) -> None:
    honest_TC, sample = drawn(sharpness)
    temperature = fitted_temperature(sample)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    p_TC = tempered(sample.probabilities_TC, temperature)
    np.testing.assert_allclose(p_TC, honest_TC, atol=0.03)
    bins = reliability(p_TC.max(axis=1).astype(np.float64), sample.right_T)
    gaps = np.array([one.answers * (one.confidence - one.accuracy) for one in bins])
    assert expected_calibration_error(gaps, np.array(float(len(p_TC)))) < 0.015


def test_temperature_keeps_the_order_of_labels_and_their_sum() -> None:
    p_TC = drawn(1.0, tracks=500)[0]
    p_TC[0] = [1, 0, 0, 0, 0, 0]
    for temperature in (0.3, 1.0, 3.0):
        found = tempered(p_TC, temperature)
        np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
        rising = np.diff(np.take_along_axis(found, p_TC.argsort(axis=1), axis=1), axis=1)
        assert (rising >= 0).all()
        assert found[0].tolist() == [1, 0, 0, 0, 0, 0]


def test_a_few_tracks_do_not_move_the_temperature_far() -> None:
    p_TC = np.tile(np.array([0.6, 0.4], np.float32), (5, 1))
    assert 0.5 < fitted_temperature(answered(p_TC, np.ones(5, np.bool_))) < 1
    assert fitted_temperature(answered(np.tile(p_TC, (1000, 1)), np.ones(5000, np.bool_))) < 0.3


def clustered(artists: int, tracks: int = 40_000, seed: int = 0) -> HeldOut:
    """Predictions `a` and `b` are calibrated, `c` is overconfident by .15 and has the number of `artists`."""
    rng = np.random.default_rng(seed)
    top_T = rng.integers(2, size=tracks)
    top_T[: 10 * artists] = 2
    confidence_T = rng.uniform(0.35, 0.95, tracks)
    right_T = rng.random(tracks) < confidence_T - 0.15 * (top_T == 2)
    p_TC = np.repeat((1 - confidence_T)[:, None] / 4, 7, axis=1) * (np.arange(7) > 2)
    p_TC[np.arange(tracks), top_T] = confidence_T
    return HeldOut(
        SplitBy.ARTIST,
        tuple("abcdefg"),
        p_TC.astype(np.float32),
        np.arange(tracks),
        np.where(right_T, top_T, 3),
        np.where(top_T == 2, np.arange(tracks) % artists, artists + np.arange(tracks) // 10),
        np.zeros(tracks, np.bool_),
    )


CLUSTER_OF_CLASS = [CLUSTERS[0], CLUSTERS[0], CLUSTERS[1], *[None] * 4]


def test_thresholds_reach_the_precision_in_every_cluster_of_many_artists() -> None:
    found = fitted_thresholds(clustered(artists=800), CLUSTER_OF_CLASS, 0.7)
    fresh = clustered(artists=800, seed=1)
    lowest_C = np.array([found.of(one) for one in CLUSTER_OF_CLASS])
    tagged_T = fresh.confidence_T >= lowest_C[fresh.top_T]
    for answers_T in (fresh.top_T < 2, fresh.top_T == 2):
        assert fresh.right_T[tagged_T & answers_T].mean() == pytest.approx(0.7, abs=0.02)
    assert found.by_cluster["loud"] < found.overall < found.by_cluster["quiet"]
    assert fitted_thresholds(fresh, CLUSTER_OF_CLASS, 0.85).by_cluster["quiet"] == UNREACHED


def test_a_cluster_of_few_artists_has_nearly_the_threshold_of_all_tracks() -> None:
    one, some, many = (
        fitted_thresholds(clustered(artists), CLUSTER_OF_CLASS, 0.7) for artists in (1, CREDIBLE_ARTISTS, 800)
    )
    assert one.by_cluster["quiet"] == pytest.approx(one.overall, abs=0.05)
    assert one.overall + 0.05 < some.by_cluster["quiet"] < many.by_cluster["quiet"]


def test_no_track_is_tagged_if_the_precision_cannot_be_reached() -> None:
    found = fitted_thresholds(clustered(artists=100), CLUSTER_OF_CLASS, 0.99)
    assert found == Thresholds(0.99, UNREACHED, {"loud": UNREACHED, "quiet": UNREACHED})


FEATURES = (
    *(FeatureSpec(name, False) for name in ("duration_ms", "energy", "loudness", "tempo")),
    FeatureSpec("key", True),
    FeatureSpec("explicit", False),
)


def raw_rows(rows: int, seed: int) -> npt.NDArray[np.float32]:
    """Rows like those of a track table: durations in ms, loudness correlated with energy, a code, a flag."""
    rng = np.random.default_rng(seed)
    energy = rng.beta(3, 2, rows)
    columns = (
        np.exp(rng.normal(12.2, 0.4, rows)),
        energy,
        -14 + 10 * energy + rng.normal(0, 1.5, rows),
        rng.normal(120, 28, rows),
        rng.integers(12, size=rows),
        np.zeros(rows),
    )
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("rows", [300, 20_000])
def test_only_tracks_unlike_the_training_tracks_are_outliers(rows: int) -> None:
    cloud = TrainingDistribution.fit(raw_rows(rows, seed=0), FEATURES)
    limit = limit_of(cloud(torch.from_numpy(raw_rows(rows // 8, seed=1))).numpy())

    distances = cloud(torch.from_numpy(raw_rows(rows // 8, seed=1))).numpy()
    assert limit_of(np.concatenate([distances, np.zeros(rows // 20, np.float32)])) == limit

    def beyond(x_BF: npt.NDArray[np.float32]) -> float:
        return float((cloud(torch.from_numpy(x_BF)).numpy() > limit).mean())

    honest = raw_rows(20_000, seed=2)
    assert beyond(honest) < 0.005
    seconds, percents, scrambled, quiet, contrary = (honest.copy() for _ in range(5))
    seconds[:, 0] /= 1000
    percents[:, 1] *= 100
    scrambled = scrambled[:, [1, 2, 3, 0, 4, 5]]
    quiet[:, 2] -= 25
    contrary[:, 1:3] = 0.1, -3  # common values, but not together
    foreign = (seconds, percents, scrambled, quiet, contrary)
    assert [beyond(one) > 0.99 for one in foreign] == [True] * 5
    flagged = honest.copy()
    flagged[:, 4:] = 1  # codes and constant features are ignored
    assert beyond(flagged) < 0.005


class _Stated(Network):
    """A network whose probabilities are the first four values of its input."""

    classes = 4

    def forward(self, inputs: Inputs) -> Tensor:
        return inputs[TABLE][None, :, :4].log()


def card(**overrides: object) -> ModelCard:
    base = ModelCard(
        model="stated",
        classes=("metal", "punk", "hip-hop", "polka"),
        features=tuple(FeatureSpec(f"f{at}", False) for at in range(5)),
        size=Size(),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={"metal": CLUSTERS[1], "punk": CLUSTERS[1], "hip-hop": CLUSTERS[0]},
        genre_map={"metal": 7, "punk": 7, "hip-hop": 3},
    )
    return replace(base, **overrides)  # type: ignore[arg-type]


ROWS = [
    [0.3, 0.2, 0.4, 0.1, 0.0],
    None,
    [0.1, 0.6, 0.25, 0.05, 0.0],
    [0.95, 0.02, 0.02, 0.01, 0.0],
    [0.95, 0.02, 0.02, 0.01, 1e6],
]


def tagged(of: ModelCard, clouds: nn.ModuleDict | None = None) -> dict[str, list[object]]:
    model = Model(of, _Stated(), nn.ModuleDict() if clouds is None else clouds)
    batch = pa.RecordBatch.from_pydict({"table_features": pa.array(ROWS, pa.list_(pa.float32()))})
    found = tags_of(Predicted.of(batch, model, tuple(range(5))), of, Styles.of(of))
    return {name: column.to_pylist() for name, column in found.items()}


def test_the_probability_of_a_cluster_is_the_sum_over_its_genres_also_in_the_blend() -> None:
    found = tagged(card())
    assert found["label"] == ["hip-hop", None, "punk", "metal", "metal"]
    assert found["cluster_id"] == [3, None, 7, 7, 7]
    sums = [
        [(one["cluster_id"], round(one["probability"], 4)) for one in row or []]  # type: ignore[attr-defined]
        for row in found["clusters"]
    ]
    assert sums[:3] == [[(7, 0.5), (3, 0.4)], [], [(7, 0.7), (3, 0.25)]]
    assert found["blend"] == [
        "metal 50 % · hip-hop 40 %",
        None,
        "punk 70 % · hip-hop 25 %",
        "metal 97 %",
        "metal 97 %",
    ]


def test_without_a_genre_map_the_blend_consists_of_genres() -> None:
    found = tagged(card(clusters={}, genre_map={}))
    assert found["clusters"] == [None] * 5
    assert found["blend"][0] == "hip-hop 40 % · metal 30 % · punk 20 %"
    assert found["blend"][3] == "metal 95 %"


def test_the_temperature_changes_confidence_and_clusters() -> None:
    flat, plain = tagged(card(temperature=2.0)), tagged(card())
    powers = np.sqrt([0.3, 0.2, 0.4, 0.1])
    assert flat["confidence"][0] == pytest.approx(powers[2] / powers.sum())
    assert flat["clusters"][0][0]["probability"] == pytest.approx((powers[0] + powers[1]) / powers.sum())  # type: ignore[index]
    assert flat["label"] == plain["label"]


def test_below_the_threshold_of_its_cluster_a_model_abstains_but_lists_the_top_labels() -> None:
    found = tagged(card(thresholds=Thresholds(0.9, 0.0, {"quiet": 0.7, "loud": 0.3})))
    assert found["status"] == ["tagged", "no_features", "abstained", "tagged", "tagged"]
    assert (found["label"][2], found["cluster_id"][2]) == (None, None)
    assert found["confidence"][2] == pytest.approx(0.6)
    assert found["top"][2][0]["label"] == "punk"  # type: ignore[index]
    assert found["label"][0] == "hip-hop"


def test_an_outlier_has_no_label_whatever_its_confidence() -> None:
    of = card()
    rng = np.random.default_rng(0)
    clouds = fit_distributions(rng.uniform(0.01, 1, (500, 5)).astype(np.float32), of.features)
    found = tagged(replace(of, outlier_limits={TABLE: 3.0}), clouds)
    assert found["status"] == ["tagged", "no_features", "tagged", "tagged", "outlier"]
    assert (found["label"][4], found["cluster_id"][4]) == (None, None)
    assert found["confidence"][4] == pytest.approx(0.95)


def test_a_track_that_overflows_does_not_affect_other_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tagged(card())

    def overflown(_: _Stated, inputs: Inputs) -> Tensor:
        logits_HBC = inputs[TABLE][None, :, :4].log()
        logits_HBC[:, 1] = torch.inf
        return logits_HBC

    monkeypatch.setattr(_Stated, "forward", overflown)
    found = tagged(card())
    assert found["confidence"][2] == pytest.approx(0.25)
    for name, column in found.items():
        assert column[:2] + column[3:] == whole[name][:2] + whole[name][3:]


def test_cards_without_calibration_are_read_and_invalid_cards_are_not() -> None:
    record = json.loads(card().to_json())
    older = {name: record[name] for name in record.keys() - {"temperature", "thresholds", "outlier_limits"}}
    assert ModelCard.from_json(json.dumps(older), "model.json") == card()
    whole = card(temperature=0.8, thresholds=Thresholds(0.9, 0.5, {"loud": 0.4}), outlier_limits={TABLE: 2.0})
    assert ModelCard.from_json(whole.to_json(), "model.json") == whole
    wrong = [
        ("temperature", 0),
        ("temperature", "hot"),
        ("outlier_limits", {"x": 1}),
        ("thresholds", []),
    ]
    for name, value in wrong:
        with pytest.raises(UsageError, match="is not a valid ModelCard record"):
            ModelCard.from_json(json.dumps(record | {name: value}), "model.json")


def test_training_distributions_are_saved_with_the_weights(tmp_path: Path) -> None:
    from genremill.models import zoo
    from genremill.models.encoders.table import TableEncoder

    x_BF, scaling = raw_rows(100, seed=0), zoo.entry("linear").scaling
    encoder = TableEncoder.fit(x_BF, FEATURES, scaling)
    network = zoo.entry("linear").build(encoder, 4, Size())
    of = card(model="linear", features=FEATURES, categories=12, outlier_limits={TABLE: 2.0})
    clouds = fit_distributions(x_BF, FEATURES)
    artifact.save(f"file://{tmp_path}/m", of, network.state_dict(), clouds)
    loaded = artifact.load(f"file://{tmp_path}/m")
    rows = torch.from_numpy(raw_rows(20, seed=1))
    assert torch.equal(loaded.distributions[TABLE](rows), clouds[TABLE](rows))
    artifact.save(f"file://{tmp_path}/without", of, network.state_dict())
    with pytest.raises(UsageError, match=r"clouds\.table\.centre_N: expected \(5,\), found None"):
        artifact.load(f"file://{tmp_path}/without")


def test_an_artist_with_hundreds_of_tracks_does_not_dominate_the_temperature() -> None:
    rng = np.random.default_rng(0)
    confidence_T = rng.uniform(0.5, 0.99, size=900)
    p_TC = np.stack([confidence_T, 1 - confidence_T], axis=1).astype(np.float32)
    right_T = rng.random(900) < confidence_T
    right_T[500:] = False  # all tracks of one artist, and the model is wrong about them
    artist_T = np.where(np.arange(900) < 500, np.arange(900), 500)
    alone = fitted_temperature(answered(p_TC[:500], right_T[:500]))
    found = answered(p_TC, right_T)
    assert fitted_temperature(found) > 2 * alone
    assert fitted_temperature(found, artist_weights(artist_T)) == pytest.approx(alone, rel=0.1)


def test_confidence_is_the_probability_of_any_label() -> None:
    """Four of five tracks with the label b also have the label a; all other tracks have one label."""
    rng = np.random.default_rng(0)
    p_TC = rng.dirichlet(np.ones(3), 20_000).astype(np.float32)
    label_T = (rng.random((len(p_TC), 1)) > p_TC.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    also_T = (label_T == 1) & (rng.random(len(p_TC)) < 0.8)
    tracks = np.arange(len(p_TC))
    sample = HeldOut(
        SplitBy.ARTIST,
        tuple("abc"),
        p_TC,
        np.concatenate([tracks, tracks[also_T]]),
        np.concatenate([label_T, np.zeros(also_T.sum(), np.int64)]),
        tracks,
        np.zeros(len(p_TC), np.bool_),
        together_CC=csc_array([[1, 0, 0], [0.8, 1, 0], [0, 0, 1]]),
    )
    assert fitted_temperature(sample) == pytest.approx(1, abs=0.05)
    assert fitted_temperature(replace(sample, together_CC=None)) < 0.9
    for top in range(3):
        of_T = sample.top_T == top
        assert sample.confidence_T[of_T].mean() == pytest.approx(sample.right_T[of_T].mean(), abs=0.02)
