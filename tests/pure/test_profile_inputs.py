"""The inputs of genre profiles, and their names."""

import math

import numpy as np

from genremill.models.encoders.table import TableEncoder, with_limits
from genremill.models.features import FeatureSpec, Scaling
from genremill.models.genres.profiles import most_telling
from genremill.udfs.profile_sums import encoded, encoded_names

FEATURES = (FeatureSpec("popularity", False, True), FeatureSpec("tempo", False), FeatureSpec("key", True))
ROWS_NF = np.array([[0, 60, 0], [50, 120, 7], [100, 180, 7]], np.float32)


def test_consensus_uses_ranks_and_all_their_squares_except_that_of_popularity() -> None:
    encoder = TableEncoder.fit(ROWS_NF, FEATURES, Scaling.RANK)
    assert encoded_names(encoder) == [
        *("rank of popularity", "rank of tempo", "squared rank of tempo", "key=0", "key=7")
    ]
    np.testing.assert_allclose(
        encoded(encoder, ROWS_NF), [[-1, -1, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1]], atol=1e-6
    )


def test_the_methods_of_the_reports_use_raw_values_and_indicators() -> None:
    encoder = TableEncoder.fit(ROWS_NF, FEATURES, Scaling.STANDARD)
    assert encoded_names(encoder) == ["popularity", "tempo", "key=0", "key=7"]
    np.testing.assert_allclose(
        encoded(encoder, ROWS_NF), [[0, 60, 1, 0], [50, 120, 0, 1], [100, 180, 0, 1]], atol=1e-6
    )


def test_the_values_that_separate_the_genres_best_are_used() -> None:
    rng = np.random.default_rng(0)
    genre_N = np.repeat(["a", "b", "c"], 50)
    x_NF = rng.normal(size=(150, 6))
    x_NF[:, 4] += np.repeat([0, 2, 4], 50)
    x_NF[:, 1] += np.repeat([3, 0, 0], 50)
    x_NF[:, 0] = 7.0  # a constant separates nothing
    assert most_telling(x_NF, genre_N, 2) == (1, 4)


def test_missing_values_stay_missing_in_all_inputs_of_their_feature() -> None:
    encoder = TableEncoder.fit(ROWS_NF, FEATURES, Scaling.RANK)
    nan = math.nan
    rows = np.array([[50, nan, 7], [nan, 120, nan]], np.float32)
    expected = [[0, nan, nan, 0, 1], [nan, 0, 0, nan, nan]]
    np.testing.assert_allclose(encoded(encoder, rows), expected, atol=1e-6)
    raw = encoded(TableEncoder.fit(ROWS_NF, FEATURES, Scaling.STANDARD), rows)
    np.testing.assert_allclose(raw, [[50, nan, 0, 1], [nan, 120, nan, nan]])


def test_the_best_values_are_found_among_those_with_missing_values() -> None:
    rng = np.random.default_rng(0)
    genre_N = np.repeat(["a", "b"], 100)
    x_NF = rng.normal(size=(200, 3))
    x_NF[:, 2] += np.repeat([0, 3], 100)
    x_NF[rng.random(x_NF.shape) < 0.3] = math.nan
    x_NF[:, 0] = math.nan
    assert most_telling(x_NF, genre_N, 1) == (2,)


def test_profiles_of_raw_values_stay_within_the_limits() -> None:
    x_NF = np.random.default_rng(0).normal([50, 120], [10, 20], (500, 2)).astype(np.float32)
    x_NF[3] = [1e6, -3e38]
    encoder = TableEncoder.fit(x_NF, with_limits(x_NF, FEATURES[:2]), Scaling.STANDARD)
    means = encoded(encoder, x_NF).mean(axis=0)
    np.testing.assert_allclose(means, [50, 120], rtol=0.02)
