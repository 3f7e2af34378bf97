"""The distance from the training tracks, and its limit, when some training tracks are hostile."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from genremill.models.features import FeatureSpec
from genremill.models.outliers import TrainingDistribution, limit_of

Rows = np.ndarray


def tracks(count: int, seed: int) -> Rows:
    """Tracks with a duration of about 200 s, and correlated energy and loudness."""
    rng = np.random.default_rng(seed)
    duration_s, energy = rng.lognormal(5.3, 0.4, count), rng.beta(3, 2, count)
    loudness = 20 * energy - 25 + rng.normal(0, 2, count)
    return np.stack([duration_s, energy, loudness, rng.uniform(0, 1, count)], axis=1).astype(np.float32)


def in_other_units(rows: Rows) -> dict[str, Rows]:
    """The same tracks with one column in a wrong unit."""
    return {
        name: np.concatenate([rows[:, :at], rows[:, at : at + 1] * factor, rows[:, at + 1 :]], axis=1)
        for name, at, factor in (
            ("milliseconds", 0, 1000),
            ("thousands of seconds", 0, 1e-3),
            ("percent", 1, 100),
            ("percent of valence", 3, 100),
        )
    }


def share_of_outliers(training: Rows, held_out: Rows, rows: Rows) -> float:
    """The share of rows beyond the limit that training and held-out rows give."""
    names = [f"{at}" for at in range(training.shape[1])]
    distribution = TrainingDistribution.fit(training, tuple(FeatureSpec(name, False) for name in names))
    limit = limit_of(distribution(torch.from_numpy(held_out)).numpy())
    return float((~(distribution(torch.from_numpy(rows)) <= limit)).float().mean())


RNG = np.random.default_rng(5)
FURTHER_COLUMNS: dict[str, Callable[[int], np.ndarray]] = {
    "2.5 % of values from 0 to 1": lambda count: np.where(RNG.random(count) < 0.025, RNG.random(count), 0),
    "3 % of values from 0 to 1": lambda count: np.where(RNG.random(count) < 0.03, RNG.random(count), 0),
    "5 % of play counts": lambda count: np.where(RNG.random(count) < 0.05, RNG.lognormal(7, 2, count), 0),
    "half zeros": lambda count: np.where(RNG.random(count) < 0.5, 10 ** RNG.uniform(-6, 0, count), 0),
    "meters": lambda count: RNG.choice([4.0, 3.0, 5.0, 1.0], count, p=[0.9, 0.08, 0.01, 0.01]),
    "a heavy tail": lambda count: RNG.standard_cauchy(count),
    "flags": lambda count: RNG.random(count) < 0.08,
}
"""Columns that are not smooth, by what they contain."""


@pytest.mark.parametrize("column", FURTHER_COLUMNS)
@pytest.mark.parametrize("hostile", [None, 1e-6, 1e6])
def test_a_column_with_few_values_or_a_heavy_tail_hides_no_feed_in_the_wrong_unit(
    column: str, hostile: float | None
) -> None:
    def rows(count: int, seed: int, changed: float | None = None) -> Rows:
        values = np.asarray(FURTHER_COLUMNS[column](count), np.float32)
        if changed is not None:
            values[: count // 100] = changed
        return np.column_stack([tracks(count, seed), values])

    training, held_out = rows(5000, 0, hostile), rows(2000, 1, hostile)
    for unit, wrong in in_other_units(rows(2000, 2)).items():
        assert share_of_outliers(training, held_out, wrong) > 0.95, unit
    assert share_of_outliers(training, held_out, rows(20_000, 3)) < 0.02


HOSTILE = {
    "one row of the smallest number": (1, [-3e38] * 4),
    "1 % of the smallest number": (0.01, [-3e38] * 4),
    "1 % of the largest number": (0.01, [3e38] * 4),
    "1 % far away": (0.01, [1e6] * 4),
    "1 % that are not positive": (0.01, [-1.0, np.nan, np.nan, np.nan]),
    "1 % at a corner within the limits": (0.01, [700.0, 0.01, 5.0, 1.4]),
    "1 % infinite": (0.01, [np.inf] * 4),
}


def with_hostile(rows: Rows, kind: str) -> Rows:
    """The rows, of which the first have hostile values; NaN keeps the true one."""
    count, values = HOSTILE[kind]
    changed = rows.copy()
    first = changed[: int(count if count >= 1 else count * len(rows))]
    first[:] = np.where(np.isnan(values), first, np.array(values, np.float32))
    return changed


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_training_tracks_do_not_hide_a_feed_in_the_wrong_unit(kind: str) -> None:
    training, held_out = (with_hostile(tracks(count, seed), kind) for count, seed in ((5000, 0), (2000, 1)))
    for unit, rows in in_other_units(tracks(2000, 2)).items():
        assert share_of_outliers(training, held_out, rows) > 0.95, unit
    assert share_of_outliers(training, held_out, tracks(20_000, 3)) < 0.003


def test_few_normal_tracks_are_outliers() -> None:
    assert share_of_outliers(tracks(5000, 0), tracks(2000, 1), tracks(20_000, 2)) < 0.003


def test_the_limit_does_not_depend_on_one_per_cent_of_the_distances() -> None:
    distance_T = np.random.default_rng(0).lognormal(0, 0.3, 10_000).astype(np.float32)
    hostile_T = distance_T.copy()
    hostile_T[:100] = 1e30
    assert limit_of(hostile_T) == pytest.approx(limit_of(distance_T), rel=0.25)
