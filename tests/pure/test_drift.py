"""The index of a drift and the paired difference, on distributions with known results."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from genremill.jobs.audits import drift
from genremill.jobs.audits.audit import Verdict
from genremill.models.evaluation.drift import Histogram, stability_index
from genremill.models.evaluation.metrics import paired_difference
from tests.pure.test_missing_audit import BEFORE, inputs, tags

SPARK: Any = None


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


FAR_DURATION = 1e9
"""Milliseconds: 278 hours. 1e6 ms are 17 minutes, which no rule can refuse that accepts audiobooks."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("extreme", [1e6, -1e6, -3e38, math.inf])
@pytest.mark.parametrize("tracks", [5000, 20_000])
def test_one_percent_of_extreme_values_is_a_major_shift(kind: str, extreme: float, tracks: int) -> None:
    if kind == "duration" and extreme == 1e6:
        extreme = FAR_DURATION
    before = _feature(kind, tracks)
    now = before.copy()
    now[np.random.default_rng(1).choice(tracks, tracks // 100, replace=False)] = extreme
    assert Histogram.of(before).shift(now) > 0.25
    before[:1] = extreme  # one earlier value of this size does not hide it
    assert Histogram.of(before).shift(now) > 0.25


def _codes(number: int) -> npt.NDArray[np.float64]:
    """Codes 0 to 3, of which 0 is by far the most frequent one."""
    return np.minimum(np.random.default_rng(0).geometric(0.7, number), 4) - np.ones(number)


def _years(number: int, first: int = 1990, end: int = 2026) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).integers(first, end, number).astype(float)


def _durations(share: float, low: float, high: float) -> npt.NDArray[np.float64]:
    """New durations between two limits in minutes."""
    return np.random.default_rng(0).uniform(low, high, round(20_000 * share)) * 60_000


@pytest.mark.parametrize(
    ("before", "new", "index"),
    [
        pytest.param(_years(20_000), np.full(100, 2026), 0.00, id="a new year"),
        pytest.param(_years(20_000), np.full(150, 2026), 0.01, id="more tracks of a new year"),
        pytest.param(_years(20_000), np.full(200, 2026), 0.02, id="1 % of a new year"),
        pytest.param(_years(20_000), np.full(1000, 2026), 0.18, id="5 % of a new year"),
        pytest.param(_years(20_000), _years(1000, 2026, 2031), 0.18, id="5 % of five new years"),
        pytest.param(_years(20_000), _years(1000, 1950, 1990), 0.18, id="5 % of an old label"),
        pytest.param(np.repeat([0.0, 1], [19_990, 10]), np.ones(120), 0.01, id="a rare flag"),
        pytest.param(np.repeat([0.0, 1], [19_990, 10]), np.ones(1000), 0.18, id="a flag of 5 %"),
        pytest.param(np.zeros(20_000), np.ones(200), 0.02, id="a new flag"),
        pytest.param(_feature("duration", 20_000), np.array([36e6]), 0.00, id="a new longest track"),
        pytest.param(
            _feature("duration", 20_000), _durations(0.05, 20, 60), 0.18, id="chapters of audiobooks"
        ),
        pytest.param(_feature("duration", 20_000), _durations(0.05, 60, 900), 0.18, id="whole audiobooks"),
        pytest.param(_feature("key", 20_000), np.full(200, -1), 0.02, id="a code for an unknown key"),
        pytest.param(_feature("key", 20_000), np.full(200, 12), 0.02, id="a new code"),
        pytest.param(_feature("key", 20_000), np.full(200, 99), 0.02, id="a new high code"),
        pytest.param(_codes(20_000), np.full(200, 4), 0.02, id="a new code of few"),
        pytest.param(_codes(20_000), np.full(1000, 20), 0.18, id="5 % of a new code of few"),
    ],
)
@pytest.mark.parametrize("sample", [1, 4])
def test_the_growth_of_a_catalog_is_not_a_major_shift(
    before: npt.NDArray[np.float64], new: npt.NDArray[np.float64], index: float, sample: int
) -> None:
    """New tracks come to those of before. A quarter of the tracks has nearly the same index."""
    now = np.concatenate([before, new])
    shift = Histogram.of(before[::sample]).shift(now[::sample])
    assert shift == pytest.approx(index, abs=0.015)
    assert shift < 0.25


@pytest.mark.parametrize(("share", "refused"), [(0.05, False), (0.1, True)])
def test_many_values_outside_the_earlier_range_are_a_major_shift(share: float, *, refused: bool) -> None:
    now = np.concatenate([_years(20_000), np.full(round(20_000 * share), 2026)])
    assert (Histogram.of(_years(20_000)).shift(now) > 0.25) == refused


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


def test_a_histogram_that_an_earlier_version_stored_sees_far_values() -> None:
    """Its first and last edge are the smallest and the largest value."""
    earlier = Histogram((0.0, 10.0), (0, 1, 4998, 1, 0))
    values = np.linspace(0, 10, 5000)
    assert earlier.shift(values) == pytest.approx(0, abs=1e-9)
    values[1:51] = 1e6
    assert earlier.shift(values) > 0.25


@pytest.mark.parametrize("last", [5e9, 3e38, 1e308])
@pytest.mark.parametrize("first", [0.0, -1.0, -1e308])
def test_a_range_of_any_size_has_limits(first: float, last: float) -> None:
    values = np.array([0, 1, 3e38, math.inf], np.float32)
    low, high = Histogram((first, last), (0, 1, 4998, 1, 0)).far
    assert low < first < last < high
    assert Histogram((first, last), (0, 1, 4998, 1, 0)).shift(values) < math.inf


def test_the_index_is_large_if_only_one_of_several_codes_remains() -> None:
    keys = Histogram.of(np.repeat(np.arange(12.0), 100))
    assert keys.shift(np.repeat(np.arange(12.0), 50)) == pytest.approx(0, abs=1e-3)
    assert keys.shift(np.zeros(1200)) > 2


def test_nan_and_empty_samples_have_no_shift() -> None:
    assert Histogram.of(np.array([math.nan])).shift(np.array([1.0])) == 0
    assert Histogram.of(np.array([1.0, 2.0])).shift(np.array([math.nan])) == 0
    assert stability_index([], []) == 0


@pytest.mark.parametrize(
    ("model", "verdict"), [("linear/r1", Verdict.NOT_MEASURED), ("linear/r2", Verdict.NOT_APPLICABLE)]
)
def test_only_a_new_model_can_have_features_that_no_earlier_track_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, verdict: Verdict
) -> None:
    now = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
    monkeypatch.setattr(drift, "sample", lambda *_: now[:0])
    given = replace(inputs(tmp_path, BEFORE), staged=tags("r2", "t2", model))
    shifts, audit = drift.since_current(SPARK, given, now, 0.25)
    assert (shifts, audit.verdict) == ((), verdict)
    assert audit.note == "no track of the current tags has the features of the model"


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
