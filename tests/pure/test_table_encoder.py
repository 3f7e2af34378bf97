"""Encoding of raw features: the result of each scaling, and the tensors that are saved with the weights."""

import math

import numpy as np
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.models.encoders.table import LONGEST, TableEncoder, with_limits, with_missing_marked
from genremill.models.features import TABLE, FeatureSpec, Scaling

FEATURES = (FeatureSpec("tempo", False), FeatureSpec("key", True), FeatureSpec("energy", False))
ROWS = np.array([[60, 0, 0.0], [120, 7, 0.5], [180, 7, 1.0]], np.float32)


def test_minmax_scales_the_train_rows_to_0_and_1() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.MINMAX)
    assert encoder.encoded_names == ["tempo", "energy", "key=0", "key=7"]
    assert encoder({TABLE: torch.from_numpy(ROWS)}).tolist() == [[0, 0, 1, 0], [0.5, 0.5, 0, 1], [1, 1, 0, 1]]


def test_an_unseen_category_is_all_zeros() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.MINMAX)
    assert encoder.indicators(torch.tensor([[60, -1.0, 0]])).tolist() == [[0, 0]]


def test_standard_has_mean_0_and_deviation_1() -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, Scaling.STANDARD)
    scaled = encoder.numeric(torch.from_numpy(ROWS)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-6)


def test_features_that_no_train_track_has_are_an_error() -> None:
    encoder = TableEncoder(FEATURES, Scaling.RANK)
    with pytest.raises(UsageError, match="none of 3 train tracks has table: leave it out"):
        encoder.learn({TABLE: np.full_like(ROWS, np.nan)})


def test_ranks_do_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 1)).astype(np.float32)
    one = TableEncoder.fit(x, (FeatureSpec("x", False),), Scaling.RANK)
    two = TableEncoder.fit(np.exp(x), (FeatureSpec("x", False),), Scaling.RANK)
    ranks = one.numeric(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ranks, two.numeric(torch.from_numpy(np.exp(x))).numpy(), atol=2e-3)
    np.testing.assert_allclose(ranks[:, 0], (np.argsort(np.argsort(x[:, 0])) / 4999), atol=2e-3)


@pytest.mark.parametrize("scaling", Scaling)
def test_a_constant_feature_stays_finite(scaling: Scaling) -> None:
    x = np.full((10, 1), 3.0, np.float32)
    encoder = TableEncoder.fit(x, (FeatureSpec("x", False),), scaling)
    assert torch.isfinite(encoder({TABLE: torch.tensor([[3.0], [9.0], [-9.0]])})).all()


@pytest.mark.parametrize("scaling", Scaling)
def test_an_encoder_loaded_from_its_tensors_encodes_the_same(scaling: Scaling) -> None:
    fitted = TableEncoder.fit(ROWS, FEATURES, scaling)
    loaded = TableEncoder(FEATURES, scaling, categories=2)
    loaded.load_state_dict(fitted.state_dict())
    x = {TABLE: torch.tensor([[100.0, 7, 0.3], [999, 3, -1]])}
    assert torch.equal(fitted(x), loaded(x))


NAN = math.nan
INCOMPLETE = np.array([[60, 0, 0.0], [120, 7, NAN], [180, NAN, 1.0], [180, 0, 0.2]], np.float32)


def test_features_with_missing_values_in_train_rows_get_an_indicator() -> None:
    features = with_missing_marked(INCOMPLETE, FEATURES)
    assert [feature.has_missing for feature in features] == [False, True, True]
    encoder = TableEncoder.fit(INCOMPLETE, features, Scaling.MINMAX)
    names = ["tempo", "energy", "key=0", "key=7", "key is missing", "energy is missing"]
    assert encoder.encoded_names == names
    assert encoder.encoded_count == len(names)
    encoded = encoder({TABLE: torch.tensor([[120, 7, 1.0], [NAN, NAN, NAN]])})
    # The medians are 150 and 0.2. Tempo has no indicator, because each train row has it.
    torch.testing.assert_close(encoded, torch.tensor([[0.5, 1, 0, 1, 0, 0], [0.75, 0.2, 0, 0, 1, 1]]))


def test_a_row_without_the_input_is_no_missing_value_of_its_features() -> None:
    features = (*FEATURES, FeatureSpec("rms", False, input="sound"))
    rows = np.column_stack([ROWS, [0.1, NAN, 0.3]]).astype(np.float32)
    rows[2, :3] = NAN
    assert with_missing_marked(rows, features) == features


@pytest.mark.parametrize(
    ("scaling", "center"), [(Scaling.MINMAX, 0.5), (Scaling.RANK, 0.5), (Scaling.STANDARD, 0.0)]
)
def test_without_missing_values_in_training_the_center_replaces_them(scaling: Scaling, center: float) -> None:
    encoder = TableEncoder.fit(ROWS, FEATURES, scaling)
    assert encoder.state_dict().keys() == {
        *("numeric_N", "grid_NG", "category_feature_C", "category_value_C")
    }
    assert encoder({TABLE: torch.full((1, 3), NAN)}).tolist() == [[center, center, 0, 0]]


@pytest.mark.parametrize("scaling", Scaling)
def test_scales_are_those_of_the_known_values(scaling: Scaling) -> None:
    with_holes = np.repeat(ROWS, 2, axis=0)
    with_holes[1::2, 2] = NAN
    complete, incomplete = (TableEncoder.fit(rows, FEATURES, scaling) for rows in (ROWS, with_holes))
    torch.testing.assert_close(incomplete.grid_NG[1], complete.grid_NG[1])


@pytest.mark.parametrize("scaling", Scaling)
def test_a_feature_that_no_train_row_has_is_0(scaling: Scaling) -> None:
    rows = ROWS.copy()
    rows[:, 2] = NAN
    encoder = TableEncoder.fit(rows, with_missing_marked(rows, FEATURES), scaling)
    assert torch.isfinite(encoder({TABLE: torch.from_numpy(rows)})).all()
    assert torch.isfinite(encoder({TABLE: torch.from_numpy(ROWS)})).all()


NORMAL = np.random.default_rng(0).normal([10, 200], [1, 50], (1000, 2)).astype(np.float32)
NUMBERS = (FeatureSpec("loudness", False), FeatureSpec("tempo", False))


def fitted_on(rows: np.ndarray, scaling: Scaling) -> TableEncoder:
    """An encoder whose features have the limits of the rows."""
    return TableEncoder.fit(rows, with_limits(rows, NUMBERS), scaling)


@pytest.mark.parametrize("hostile", [1e6, -3e38, 3e38, math.inf, -math.inf, 300.0])
@pytest.mark.parametrize("scaling", Scaling)
def test_a_few_hostile_values_change_no_scale(scaling: Scaling, hostile: float) -> None:
    rows = NORMAL.copy()
    rows[:10] = hostile  # 1 %
    clean, poisoned = fitted_on(NORMAL, scaling), fitted_on(rows, scaling)
    x = torch.from_numpy(NORMAL)
    ratio = poisoned.numeric(x).std(dim=0) / clean.numeric(x).std(dim=0)
    assert 0.75 < ratio.min() <= ratio.max() < 1.25
    assert poisoned.numeric(torch.full((1, 2), hostile)).abs().max() < 7


@pytest.mark.parametrize("scaling", Scaling)
def test_limits_do_not_change_how_ordinary_rows_are_scaled(scaling: Scaling) -> None:
    without, limited = TableEncoder.fit(NORMAL, NUMBERS, scaling), fitted_on(NORMAL, scaling)
    for before, after in zip(
        *(of.numeric(torch.from_numpy(NORMAL)).T for of in (without, limited)), strict=True
    ):
        assert np.corrcoef(before, after)[0, 1] > 0.995


def test_a_long_row_of_standardized_numbers_is_shortened_in_its_direction() -> None:
    limited = fitted_on(NORMAL, Scaling.STANDARD)
    ordinary, longest = limited.numeric(torch.from_numpy(NORMAL)), LONGEST + 1 / NORMAL.shape[1]
    length = ordinary.square().mean(dim=1).sqrt()
    assert 0.01 < float((length > 0.999 * longest).float().mean()) < 0.05
    assert float(length.max()) == pytest.approx(longest)
    short, long = limited.numeric(torch.from_numpy(np.array([[10.1, 210], [11.5, 350]]).astype(np.float32)))
    assert float(torch.nn.functional.cosine_similarity(short, long, dim=0)) > 0.99
    assert float(long.square().mean().sqrt()) == pytest.approx(longest)


def test_the_limits_of_a_feature_come_from_its_quantiles_and_ignore_missing_values() -> None:
    rows = np.column_stack([np.arange(101.0), np.where(np.arange(101) < 2, np.arange(101), np.nan)])
    features = with_limits(rows.astype(np.float32), (*NUMBERS[:1], FeatureSpec("key", False)))
    assert features[0].limits == pytest.approx((-67.3, 167.3), abs=0.1)
    assert features[1].limits == pytest.approx((0.5 - 2.3, 0.5 + 2.3))


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([math.nan] * 5, (0, 0)),
        ([7.0] * 5, (7, 7)),
        ([0.0, 1.0] * 50, (0.5 - 2.3, 0.5 + 2.3)),
        ([-math.inf] + [1.0, 2.0] * 50, (1.5 - 2.3, 1.5 + 2.3)),
        # few values other than 0, and the same with 1 % of hostile rows
        ([0.0] * 985 + [1.0] * 15, (0, 4.6)),
        ([0.0] * 975 + [1.0] * 15 + [1e6] * 10, (0, 4.6)),
        ([0.0] * 975 + [1.0] * 15 + [1e-9] * 10, (0, 4.6)),
        ([0.0] * 999 + [1.0], (0, 4.6)),
        ([4.0] * 970 + [3.0] * 15 + [5.0] * 15, (-0.6, 8.6)),
    ],
)
def test_limits_of_special_columns(values: list[float], limits: tuple[float, float]) -> None:
    (feature,) = with_limits(np.array(values, np.float32)[:, None], NUMBERS[:1])
    assert feature.limits == pytest.approx(limits)


def test_categories_have_no_limits() -> None:
    assert [feature.limits is None for feature in with_limits(ROWS, FEATURES)] == [False, True, False]
