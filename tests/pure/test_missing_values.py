"""Missing values: which rows have an input; outliers, genre profiles and drift over the known values."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch

from genremill.models.evaluation.drift import Histogram, histograms
from genremill.models.features import FeatureSpec
from genremill.models.genres.profiles import genre_means, partial_sums
from genremill.models.outliers import TrainingDistribution, fit_distributions, limit_of
from genremill.udfs.model_rows import feature_rows
from tests.pure.test_confidence import FEATURES, raw_rows

NAN = math.nan
LISTS = pa.array(
    [[1.0, 2.0, 3.0], [None, 5.0, None], [None] * 3, [], None, [7.0, None, 9.0]], pa.list_(pa.float32())
)


def test_a_row_has_features_if_any_of_them_has_a_value() -> None:
    rows, has = feature_rows(LISTS, (0, 1, 2))
    assert has.tolist() == [True, True, False, False, False, True]
    np.testing.assert_array_equal(rows, np.array([[1, 2, 3], [NAN, 5, NAN], [7, NAN, 9]], np.float32))
    assert rows.dtype == np.float32


def test_only_the_features_of_the_model_count_and_one_that_the_tracks_lack_is_missing() -> None:
    rows, has = feature_rows(LISTS, (2, None, 0))
    assert has.tolist() == [True, False, False, False, False, True]
    np.testing.assert_array_equal(rows, [[3, NAN, 1], [9, NAN, 7]])
    rows, has = feature_rows(LISTS, (None, None))
    assert rows.shape == (0, 2)
    assert not has.any()


def test_a_distance_with_missing_values_is_the_mean_over_them() -> None:
    rng = np.random.default_rng(0)
    z_BF = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], 50_000).astype(np.float32)
    distribution = TrainingDistribution.fit(z_BF, tuple(FeatureSpec(name, False) for name in "ab"))
    rows = torch.tensor([[2.0, NAN], [NAN, NAN], [NAN, -3.0], [2.0, 1.6]])
    # The square of a known value is z², whatever it is correlated with; a missing value adds 1.
    expected = [math.sqrt((4 + 1) / 2), 1.0, math.sqrt((9 + 1) / 2), math.sqrt((4 + 0) / 2)]
    assert distribution(rows).tolist() == pytest.approx(expected, rel=0.02)


def test_a_distribution_of_rows_with_missing_values_is_that_of_the_complete_rows() -> None:
    complete = raw_rows(20_000, seed=0)
    incomplete = complete.copy()
    incomplete[np.random.default_rng(1).random(complete.shape) < 0.2] = NAN
    incomplete[0] = NAN  # this row lacks the input
    rows = torch.from_numpy(raw_rows(5000, seed=2))
    expected, found = (fit_distributions(x_BF, FEATURES)["table"](rows) for x_BF in (complete, incomplete))
    assert float((found / expected - 1).abs().max()) < 0.06


def test_a_track_is_no_outlier_because_values_are_missing() -> None:
    distribution = TrainingDistribution.fit(raw_rows(20_000, seed=0), FEATURES)
    limit = limit_of(distribution(torch.from_numpy(raw_rows(2500, seed=1))).numpy())
    rows = raw_rows(5000, seed=2)
    for share in (0.2, 0.5, 0.9, 1.0):
        lacking = np.where(np.random.default_rng(3).random(rows.shape) < share, np.float32(NAN), rows)
        assert (distribution(torch.from_numpy(lacking)).numpy() > limit).mean() < 0.005
    odd = np.full_like(rows[:1], NAN)
    odd[0, 0] = 30.0  # a duration in seconds instead of milliseconds
    assert distribution(torch.from_numpy(odd)).item() > limit


def test_a_constant_feature_and_a_feature_without_values_are_ignored() -> None:
    rows = raw_rows(300, seed=0)
    rows[:, 3] = NAN
    distribution = TrainingDistribution.fit(rows, FEATURES)
    lacking = torch.from_numpy(raw_rows(10, seed=1))
    expected = distribution(lacking)
    assert torch.isfinite(expected).all()
    lacking[:, [3, 5]] = NAN
    torch.testing.assert_close(distribution(lacking), expected)


def _pairs() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Correlated inputs, genres and buckets of 6,000 pairs; a third of the second input is missing."""
    rng = np.random.default_rng(0)
    genre_N = rng.integers(3, size=6000)
    x_ND = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 2]], 6000) + 2.0 * genre_N[:, None]
    x_ND[rng.random(6000) < 1 / 3, 1] = NAN
    return x_ND, genre_N, rng.integers(4, size=6000)


def test_profiles_are_the_means_and_covariances_of_the_known_values() -> None:
    x_ND, genre_N, bucket_N = _pairs()
    means_GD = genre_means([(x_ND[:2500], genre_N[:2500]), (x_ND[2500:], genre_N[2500:])], 3, 2)
    expected_GD = np.stack([np.nanmean(x_ND[genre_N == genre], axis=0) for genre in range(3)])
    np.testing.assert_allclose(means_GD, expected_GD)
    sums = partial_sums(x_ND, genre_N, bucket_N, ("a", "b", "c"), 4, means_GD)
    profiles = sums.profiles(sums.even_weights())
    np.testing.assert_allclose(profiles.means_GD, expected_GD)
    deviation_ND = x_ND - expected_GD[genre_N]
    both_N = ~np.isnan(deviation_ND[:, 1])
    product = np.mean(deviation_ND[both_N, 0] * deviation_ND[both_N, 1])
    variances = np.nanmean(deviation_ND**2, axis=0)
    np.testing.assert_allclose(profiles.within_DD, [[variances[0], product], [product, variances[1]]])
    assert np.isfinite(profiles.whitened()).all()


def test_a_genre_without_a_known_value_has_the_mean_of_all_genres() -> None:
    x_ND = np.array([[1.0, NAN], [NAN, NAN], [3.0, NAN]])
    means_GD = genre_means([(x_ND, np.array([0, 1, 0]))], 2, 2)
    np.testing.assert_array_equal(means_GD, [[2, 0], [2, 0]])


def test_sums_of_batches_with_missing_values_add_up() -> None:
    x_ND, genre_N, bucket_N = _pairs()
    means_GD = genre_means([(x_ND, genre_N)], 3, 2)
    whole = partial_sums(x_ND, genre_N, bucket_N, ("a", "b", "c"), 4, means_GD)
    halves = [
        partial_sums(x_ND[half], genre_N[half], bucket_N[half], ("a", "b", "c"), 4, means_GD)
        for half in (slice(1000), slice(1000, None))
    ]
    both = halves[0] + halves[1]
    np.testing.assert_allclose(both.sums_BGD, whole.sums_BGD)
    np.testing.assert_array_equal(both.lacking_BDD, whole.lacking_BDD)
    assert whole.of_bucket(2).lacking_BDD[0, 0, 1] == np.isnan(x_ND[bucket_N == 2, 1]).sum()


def test_drift_compares_the_values_that_are_there() -> None:
    values_NF = np.random.default_rng(0).normal(size=(4000, 2))
    lacking_NF = np.where(np.arange(4000)[:, None] % 4 < [1, 0], NAN, values_NF)
    [first, second] = histograms(lacking_NF)
    assert first == Histogram.of(values_NF[np.arange(4000) % 4 >= 1, 0])
    assert second == Histogram.of(values_NF[:, 1])
    assert second.shift(np.where(np.arange(4000) % 2, NAN, values_NF[:, 1])) < 0.01
