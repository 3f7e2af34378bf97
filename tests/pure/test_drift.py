"""The stability index and the paired difference, on distributions with known results."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from genremill.models.evaluation.drift import Histogram, stability_index
from genremill.models.evaluation.metrics import paired_difference


def test_two_samples_of_the_same_distribution_have_a_small_index() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram.of(rng.normal(size=20_000))
    # The expected index is (bins - 1) (1/n + 1/m) = 9 / 10,000, and a little more for almost empty bins.
    assert 0 < histogram.shift(rng.normal(size=20_000)) < 0.005


def test_the_index_of_a_shifted_normal_distribution_is_the_square_of_the_shift() -> None:
    rng = np.random.default_rng(0)
    histogram = Histogram.of(rng.normal(size=50_000))
    # Without bins, the index of a shift by d standard deviations is d squared; bins reduce it a little.
    for shift in (0.2, 0.5, 1.0):
        assert 0.85 * shift**2 < histogram.shift(rng.normal(shift, size=50_000)) < 1.02 * shift**2


def test_values_outside_the_range_of_the_histogram_raise_the_index() -> None:
    constant = Histogram.of(np.full(1000, 4.0))
    assert constant.shift(np.full(1000, 4.0)) == 0
    assert constant.shift(np.full(1000, 3.0)) > 5
    milliseconds = Histogram.of(np.random.default_rng(0).uniform(1e5, 3e5, 5000))
    assert milliseconds.shift(np.random.default_rng(1).uniform(100, 300, 5000)) > 5


def _feature(kind: str, number: int, seed: int = 0) -> npt.NDArray[np.float64]:
    """Values like those of a column of a music table: loudness, duration, tempo, key or a sparse share."""
    songs = np.random.default_rng(seed)
    values = {
        "loudness": -songs.gamma(4, 2, number),
        "duration": songs.lognormal(12.3, 0.3, number),
        "tempo": songs.normal(120, 27, number),
        "key": songs.integers(0, 12, number).astype(float),
        "instrumentalness": songs.beta(0.1, 1, number) * (songs.random(number) < 0.4),
        "heavy": songs.standard_t(2, number),
    }
    return values[kind]


KINDS = ("loudness", "duration", "tempo", "key", "instrumentalness", "heavy")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tracks", [1500, 5000, 20_000])
def test_resamples_of_one_catalog_raise_no_alarm(kind: str, tracks: int) -> None:
    worst = max(
        Histogram.of(_feature(kind, tracks, 2 * seed)).shift(_feature(kind, tracks, 2 * seed + 1))
        for seed in range(50)
    )
    assert worst < 0.1
    grown = Histogram.of(_feature(kind, tracks)).shift(_feature(kind, 4 * tracks, seed=1))
    assert grown < 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", [1e6, -1e6, -3e38, math.inf])
def test_one_percent_of_extreme_values_is_a_major_shift(kind: str, extreme: float) -> None:
    before = _feature(kind, 5000)
    now = before.copy()
    now[np.random.default_rng(1).choice(5000, 50, replace=False)] = extreme
    assert Histogram.of(before).shift(now) > 0.25
    before[:1] = extreme  # one earlier value of this size does not hide it
    assert Histogram.of(before).shift(now) > 0.25


def test_a_few_extreme_values_of_a_small_catalog_are_not_told_from_chance() -> None:
    before = _feature("tempo", 300)
    assert Histogram.of(before).shift(np.concatenate([before[3:], np.full(3, 1e6)])) < 0.1


@pytest.mark.parametrize("kind", ["loudness", "duration", "tempo"])
@pytest.mark.parametrize("wrong", [lambda values: values / 1000, np.zeros_like, lambda values: -values])
def test_another_unit_and_a_constant_are_a_major_shift(
    kind: str, wrong: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> None:
    values = _feature(kind, 5000)
    assert Histogram.of(values).shift(wrong(values)) > 1


def test_a_histogram_that_an_earlier_version_stored_sees_heavy_tails() -> None:
    """Its first and last edge are the smallest and the largest value."""
    earlier = Histogram((0.0, 10.0), (0, 1, 4998, 1, 0))
    values = np.linspace(0, 10, 5000)
    assert earlier.shift(values) == pytest.approx(0, abs=1e-9)
    values[1:51] = 1e6
    assert earlier.shift(values) > 0.25


def test_the_index_is_large_if_only_one_of_several_codes_remains() -> None:
    keys = Histogram.of(np.repeat(np.arange(12.0), 100))
    assert keys.shift(np.repeat(np.arange(12.0), 50)) == pytest.approx(0, abs=1e-6)
    assert keys.shift(np.zeros(1200)) > 2


def test_nan_and_empty_samples_have_no_shift() -> None:
    assert Histogram.of(np.array([math.nan])).shift(np.array([1.0])) == 0
    assert Histogram.of(np.array([1.0, 2.0])).shift(np.array([math.nan])) == 0
    assert stability_index([], []) == 0


def test_the_interval_of_an_equally_good_model_contains_zero() -> None:
    rng = np.random.default_rng(0)
    tracks = rng.integers(1, 30, size=500)
    same = paired_difference(tracks, rng.integers(-3, 4, size=500))
    assert same.low is not None
    assert same.high is not None
    assert same.low < 0 < same.high
    worse = paired_difference(tracks, -(tracks // 2))
    assert worse.high is not None
    assert worse.high < -0.4


def test_all_tracks_of_an_artist_are_resampled_together() -> None:
    """Ten artists with ten equal tracks give a wider interval than a hundred artists with one track."""
    few = paired_difference(np.full(10, 10), np.array([10] * 6 + [-10] * 4))
    many = paired_difference(np.ones(100, int), np.array([1] * 60 + [-1] * 40))
    assert few.value == many.value == pytest.approx(0.2)
    assert few.low is not None
    assert many.low is not None
    assert few.low < many.low - 0.2
