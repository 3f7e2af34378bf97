"""Columns that give the label away."""

import numpy as np
import pytest

from genremill.jobs.catalog.leaks import leaking_columns

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(20), 30)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("the code of the label", LABELS),
        ("shuffled codes", RNG.permutation(20)[LABELS]),
        ("row numbers of a table sorted by label", np.arange(len(LABELS))),
        ("codes with a few missing", np.where(RNG.random(len(LABELS)) < 0.02, np.nan, LABELS)),
    ],
)
def test_a_column_that_names_the_label_is_a_leak(name: str, column: np.ndarray) -> None:
    noise = RNG.normal(size=len(LABELS))
    order = RNG.permutation(len(LABELS))
    assert set(leaking_columns(np.stack([noise, column.astype(float)], axis=1)[order], LABELS[order])) == {1}


def test_measured_columns_are_no_leaks() -> None:
    strong = LABELS + RNG.normal(size=len(LABELS))
    constant, blank = np.ones(len(LABELS)), np.full(len(LABELS), np.nan)
    ids = RNG.permutation(len(LABELS)).astype(float)
    assert leaking_columns(np.stack([strong, constant, blank, ids], axis=1), LABELS) == {}


def test_a_frequent_label_alone_is_no_leak() -> None:
    labels = np.repeat([0, 1], [380, 20])
    column = np.where(RNG.random(400) < 0.5, 1.0, 2.0)
    assert leaking_columns(column[:, None], labels) == {}


def test_too_few_rows_show_no_leak() -> None:
    assert leaking_columns(np.arange(10.0)[:, None], np.arange(10) % 2) == {}
