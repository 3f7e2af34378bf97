"""A few bad cells do not change what a column is or how its other cells are read."""

import math
from typing import Any

import pyarrow as pa
import pytest

from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.number_formats import number_format
from genremill.udfs.cells.rows import EXAMPLES
from tests.pure.table_cases import Read

ROWS, BAD = 40, 4
TEXTS = [f"see note {number}" for number in range(BAD)]
UNORDERED = [7 * number % ROWS for number in range(ROWS - BAD)]


def _with_bad(cells: list[str], bad: list[str]) -> list[str]:
    """`ROWS` cells, of which the last ones are bad."""
    return (cells * ROWS)[: ROWS - len(bad)] + bad


@pytest.mark.parametrize(
    ("name", "cells", "first"),
    [
        ("x", ["0.5", "0.25"], 0.5),
        ("x", ["0,5", "0,25"], 0.5),
        ("x", ["TRUE", "FALSE"], 1),
        ("mode", ["Major", "Minor"], 1),
        ("key", ["A#", "C"], 10),
        ("x", ["3:45", "2:10"], 225),
        ("x", ["120 BPM", "98 BPM"], 120),
        ("x", ["57%", "3%"], 57),
        ("x", ["1,234", "999"], 1234),
    ],
)
def test_other_cells_are_read_as_they_would_be_alone(name: str, cells: list[str], first: float) -> None:
    table = Read({name: _with_bad(cells, TEXTS)})
    assert table.features == [name]
    values = table.values(name)
    assert values[: ROWS - BAD] == Read({name: _with_bad(cells, [])}).values(name)[: ROWS - BAD]
    assert values[0] == first
    assert all(value is not None and math.isnan(value) for value in values[ROWS - BAD :])


@pytest.mark.parametrize(
    ("cells", "others", "expected"),
    [
        (["5.123", "-7.250"], ["1,5"] * 2, 5.123),
        (["5,123", "-7,250"], ["1.5"] * 2, 5123),
        (["5,123", "-7,25"], ["1.5"] * 2, 5.123),
    ],
)
def test_a_few_cells_do_not_decide_the_decimal_sign(
    cells: list[str], others: list[str], expected: float
) -> None:
    assert Read({"x": _with_bad(cells, others)}).values("x")[0] == pytest.approx(expected)


def test_how_often_a_cell_occurs_counts() -> None:
    assert number_format(["Major"] * 36 + TEXTS, "mode", ".").words == "mode"
    assert number_format(["Major"] * 4 + TEXTS, "mode", ".").words == ""


@pytest.mark.parametrize(
    ("name", "good", "bad", "reason"),
    [
        ("n", list(map(str, range(ROWS - BAD))), TEXTS, "row numbers"),
        ("n", list(map(str, UNORDERED)), TEXTS, "ids: whole numbers"),
        ("n", list(map(str, UNORDERED)), ["0.5"] * BAD, "ids: whole numbers"),
        ("added", ["20260101", "20260102"] * 18, TEXTS, "dates"),
        ("added", ["20260101", "20260102"] * 18, ["0.5", "-3", "7", "1e9"], "dates"),
    ],
)
def test_a_column_that_measures_nothing_does_not_become_a_feature(
    name: str, good: list[str], bad: list[str], reason: str
) -> None:
    table = Read({"tempo": [1.5, 2.5], name: good + bad})
    assert table.features == ["tempo"]
    assert table.reason(name).startswith(reason)


@pytest.mark.parametrize("numbers", [0, 4, 15])
def test_text_with_some_numbers_stays_text(numbers: int) -> None:
    texts = [f"{number} Main Street" for number in range(ROWS - numbers)]
    table = Read({"tempo": [1.5, 2.5], "place": texts + ["1999"] * numbers})
    (use,) = (use for use in table.understood.uses if use.column == "place")
    assert (use.uses, use.reason) == (("ignored",), "text")
    assert use.parsed == (numbers / ROWS or None)
    assert use.examples == ("0 Main Street", "1 Main Street", "2 Main Street")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "loud", "2", "n/k", "?", ""], [None, "loud", None, "n/k", None, None]),
        (["1", "2", "a" * 50, "3", "4"], [None, None, "a" * 31 + "…", None, None]),
        (pa.array([1.5, math.inf, math.nan, None]), [None, "inf", None, None]),
        (["1"] * 5, [None] * 5),
        (["1"] * 9 + ["x"] * 5, [None] * 9 + ["x"] * EXAMPLES + [None] * (5 - EXAMPLES)),
    ],
)
def test_examples_of_values_that_are_not_numbers(values: Any, expected: list[str | None]) -> None:
    found = Read({"v": values}, Columns(features=("v",))).columns["not_numbers"]
    assert found == [None if value is None else [("v", value)] for value in expected]
