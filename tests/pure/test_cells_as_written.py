"""Cells as people and programs write them: counts of rows, numbers, durations, lists, keys and markers."""

import math
import random
import time
from typing import Any

import numpy as np
import pytest

from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.sample import Sample
from genremill.jobs.catalog.understanding import understand
from genremill.udfs.cells.lists import is_literal, is_structured, parse_list
from genremill.udfs.cells.text import clean_text, folded_label
from tests.pure.table_cases import Read

DRAW = random.Random(0)


def _with_repeats(rows: int, *, kept: float = 1.0) -> list[int]:
    """An index of which each number stands in one to three rows, after a filter of the rows."""
    numbers = [number for number in range(rows) if number < 2 or DRAW.random() < kept]
    return [number for number in numbers for _ in range(DRAW.choice([1, 1, 2, 3]))]


@pytest.mark.parametrize(
    "values",
    [
        [0, 0, 1, 2, 3, 3, 3, 4],
        _with_repeats(60),
        _with_repeats(400, kept=0.95),
        [number + 1 for number in _with_repeats(60)][::-1],
        [str(number) for number in _with_repeats(60)],
    ],
)
def test_row_numbers_may_repeat(values: list[Any]) -> None:
    table = Read({"n": values})
    assert "n" not in table.features
    assert table.reason("n").startswith("row numbers")


@pytest.mark.parametrize(
    "values",
    [
        sorted(DRAW.choices(range(60, 201), k=150)),
        sorted(DRAW.choices(range(60, 201), k=40), reverse=True),
        [-8, -8, -7, -7, -6, -6, -5, -5],
        sorted(round(DRAW.gauss(-9, 4)) for _ in range(30)),
        [*sorted(DRAW.choices(range(200_000, 230_000), k=400)), 230_000, 230_000],
        sorted(DRAW.choices(range(101), k=30)),
        sorted(DRAW.choices(range(12), k=60)),
        [0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2],
        [1, 1, 2, 2, 3, 3, 2, 4, 5],
    ],
)
def test_a_sorted_measurement_is_no_row_number(values: list[int]) -> None:
    assert Read({"x": values}).features == ["x"]


def test_repeated_row_numbers_begin_again_in_each_file() -> None:
    read = Read({"n": [*range(10), 9, *range(10), 9]}).sample
    sample = Sample(read.columns, read.types, np.repeat([0, 1], 11))
    uses = understand(sample, Columns(), "--tracks t", frozenset()).uses
    assert next(use.reason for use in uses if use.column == "n").startswith("row numbers")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.412", "201", "233"], [1412, 201, 233]),
        (["1.412", "201", "35", "−1.002", "7"], [1412, 201, 35, -1002, 7]),
        (["1.000,50", "1.017,50"], [1000.5, 1017.5]),
        (["1 000,5", "2\u00a0000,25"], [1000.5, 2000.25]),
        (["1\u202f000,5", "2'000,25", "3\u2019000.5"], [1000.5, 2000.25, math.nan]),
        (["1'000.5", "2'000.25"], [1000.5, 2000.25]),
        (["1.100.000", "2.101.000"], [1_100_000, 2_101_000]),
        (["1,100,000", "2,101,000", "12"], [1_100_000, 2_101_000, 12]),
        (["1.234.567,5", "0,5"], [1_234_567.5, 0.5]),
        (["101.123", "102.456"], [101.123, 102.456]),
        (["101.123", "98", "120", "99"], [101.123, 98, 120, 99]),
        (["120.123", "99.5", "100", "98", "97"], [120.123, 99.5, 100, 98, 97]),
        (["0.123", "1", "0"], [0.123, 1, 0]),
        (["–7.2", "—6.5", "-5"], [-7.2, -6.5, -5]),
        (["１２３", "４．５", "－７"], [123, 4.5, -7]),
        (["−7,2 dB", "–6,1 dB"], [-7.2, -6.1]),
        (["1", "2", "3²"], [1, 2, math.nan]),
    ],
)
def test_separators_and_signs_of_numbers(cells: list[str], expected: list[float]) -> None:
    assert Read({"x": cells}).values("x") == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.000", "101", "102"], [1000, 101, 102]),
        (["1.412", "1.017"], [1412, 1017]),
        (["1,412", "201", "233"], [1412, 201, 233]),
        (["101,123", "98", "120"], [101.123, 98, 120]),
        (["12", "7"], [12, 7]),
    ],
)
def test_separators_in_a_table_with_decimal_commas(cells: list[str], expected: list[float]) -> None:
    table = Read({"x": cells, "loudness": ["-7,2", "-6,25", "-5,1", "-4,7", "-3,1"]})
    assert table.values("x")[: len(cells)] == pytest.approx(expected)
    assert table.values("loudness")[0] == pytest.approx(-7.2)


def test_truth_values_have_no_decimal_commas() -> None:
    table = Read({"live": ["TRUE", "False"], "loudness": ["-7,2", "-6,25"]})
    assert table.reason("live") == "numbers"
    assert table.reason("loudness") == "decimal commas"


@pytest.mark.parametrize(
    ("name", "cells", "seconds"),
    [
        ("duration", [3.75, 4.1], [225, 246]),
        ("duration_ms", ["3.75", "4.1"], [225, 246]),
        ("length", ["3.5m", "4m", "2.25 m"], [210, 240, 135]),
        ("duration", ["PT3M45S", "PT4M", "PT1H2M3.5S", "P0DT3M45S"], [225, 240, 3723.5, 225]),
        ("duration", ["3m45s", "3m 45s", "59s"], [225, 225, 59]),
        ("duration", ["3 min 45 s", "4 minutes 10 seconds", "1 h 2 min"], [225, 250, 3720]),
        ("duration", ["0 days 00:03:45", "0 days 00:04:10.500000", "1 day, 0:00:01"], [225, 250.5, 86401]),
        ("duration", ["3:45 min", "4:10 min"], [225, 250]),
        ("duration", ["3,75 min", "4.1 min"], [225, 246]),
        ("duration", ["1,412 s", "201 s"], [1412, 201]),
        ("duration_s", [12.5, 15.0], [12.5, 15]),
        ("duration", ["225000 ms", "230000 ms"], [225, 230]),
        ("duration", [30.0, 29.9], [30, 29.9]),
        ("Length (Duration)", ["1.412", "201", "233"], [1412, 201, 233]),
    ],
)
def test_durations_in_other_units(name: str, cells: list[Any], seconds: list[float]) -> None:
    assert Read({name: cells}, Columns(duration=name)).columns["duration_s"] == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([229_000, 180_000, 210_000, 229, 180], "40%"),
        ([229, 180, 210, 229_000], "25%"),
        ([229_000.5, 229.5], "50%"),
    ],
)
def test_durations_in_two_units_are_reported(values: list[float], share: str) -> None:
    reason = Read({"duration": values}, Columns(duration="duration")).reason("duration")
    assert f"{share} are then shorter than 1 s or longer than 10 h: check the units" in reason


def test_a_few_odd_durations_are_no_mistake() -> None:
    values = [229_000] * 99 + [300]
    assert "check" not in Read({"duration": values}, Columns(duration="duration")).reason("duration")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["('Artist 0', 'Guest')", "('a',)"], [["Artist 0", "Guest"], ["a"]]),
        (['c("a", "b")', "Plain", "character(0)"], [["a", "b"], ["Plain"], []]),
        (["array(['a', 'b'], dtype=object)", "array(['c'],\n      dtype='<U1')"], [["a", "b"], ["c"]]),
        (["frozenset({'a'})", "set()", "{'b'}"], [["a"], [], ["b"]]),
        (["Plain", "Bo", "Cy", "['a', 'b']"], [["Plain"], ["Bo"], ["Cy"], ["a", "b"]]),
        (["Plain", "Bo;Cy", '["a", "b"]'], [["Plain"], ["Bo", "Cy"], ["a", "b"]]),
        (["Plain", "Bo", "[{'name': 'a'}]"], [["Plain"], ["Bo"], ["a"]]),
        (["{'artist': 'a', 'name': 'b'}", "{'artist': 'c'}"], [["b"], ["c"]]),
        (["[{'title': 'x', 'name': 'a{'}, {'name': 'b', 'label': 'y'}]"], [["a{", "b"]]),
        (["[{'id': 1, 'artist': {'name': 'a', 'title': 'x'}}]"], [["a"]]),
        (["[{'tag': 'x'}]", '[{"tag": "y"}]'], [["x"], ["y"]]),
        (["(What's the Story) Morning Glory", "Bo"], [["(What's the Story) Morning Glory"], ["Bo"]]),
        (["('Til Tuesday)", "(hed) p.e."], [["('Til Tuesday)"], ["(hed) p.e."]]),
        (['("Weird Al" Yankovic)', '("Heroes") (Live)'], [['("Weird Al" Yankovic)'], ['("Heroes") (Live)']]),
        (["[spunge]", "Bo", "f()"], [["[spunge]"], ["Bo"], ["f()"]]),
    ],
)
def test_lists_of_programming_languages(cells: list[str], expected: list[list[str]]) -> None:
    assert Read({"artists": cells}).columns["artists"] == expected


def test_a_list_beside_labels_with_a_separator() -> None:
    cells = ["rock, pop", "pop", "rock", "['indie', 'rock']"]
    assert Read({"track_genre": cells}).columns["genres"] == [
        ["rock", "pop"],
        ["pop"],
        ["rock"],
        ["indie", "rock"],
    ]


@pytest.mark.parametrize(
    ("start", "repeated"),
    [("('a',", "'\\"), ("[{", "'\\\""), ("[{", "{'name': 'a"), ("(", '"a"('), ("['a'", ", \\'")],
)
def test_long_lists_are_read_in_linear_time(start: str, repeated: str) -> None:
    began = time.monotonic()
    for end in ("]", "}", ")"):
        cell = start + repeated * 100_000 + end
        is_literal(cell)
        if is_structured(cell):
            parse_list(cell)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["Folk, World, & Country"] * 20 + ["rock"] * 10, ["Folk, World, & Country"]),
        (["Hip-Hop / Rap"] * 30 + ["Country"] * 30, ["Hip-Hop / Rap"]),
        (["Hip-Hop / Rap", "hip-hop / rap", "HIP-HOP / RAP", "Country"], ["Hip-Hop / Rap"]),
        (["rock, pop", "rock, jazz", "folk, indie"], ["rock", "pop"]),
        (["pop;rock"] * 3 + ["jazz"], ["pop", "rock"]),
        (["rock / pop"] * 3 + ["pop"], ["rock", "pop"]),
    ],
)
def test_a_frequent_label_with_a_separator(cells: list[str], first: list[str]) -> None:
    assert Read({"track_genre": cells}).columns["genres"][0] == first


def test_keys_in_words() -> None:
    cells = ["A Moll", "C Dur", "C#/Db", "A-flat", "C-sharp", "A-major", "F♯ / G♭ minor", "E-moll", "B"]
    assert Read({"key": cells}).values("key") == [9, 0, 1, 8, 1, 9, 6, 4, 11]
    assert "key" not in Read({"key": ["A/B testing", "Door", "C/D", "Am I"]}).features


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["3:45", "4:10"], [225, 250]),
        (["03:45", "2:59"], [225, 179]),
        (["12:03", *(f"3:{second}" for second in range(10, 20)), "3:10"], [723, *range(190, 200), 190]),
    ],
)
def test_clock_times_in_a_column_of_any_name(cells: list[str], expected: list[float]) -> None:
    assert Read({"Started": cells}).values("Started") == expected


@pytest.mark.parametrize("cells", [["08:30", "14:05", "23:10"], ["00:03:45", "00:04:10"], ["3:45", "a", "b"]])
def test_times_of_the_day_are_no_features(cells: list[str]) -> None:
    assert Read({"Started": cells}).features == []


MARKERS = [
    *("--", "–", "—", "？", "Ｎ／Ａ", "ｎａｎ", "\\N", "n.a.", "N.A.", "－"),
    *("#DIV/0!", "#VALUE!", "#REF!", "#NAME?"),
]


@pytest.mark.parametrize("cell", MARKERS)
def test_further_markers_of_missing_values(cell: str) -> None:
    assert Read({"x": ["1", "2", "3", cell]}).values("x") == [1, 2, 3, None]
    assert Read({"track_genre": ["rock", cell]}).columns["genres"] == [["rock"], []]


def test_markers_of_a_flag_may_be_wide() -> None:
    assert Read({"x": ["1", "2", "３", "－９９"]}, missing=["-99"]).values("x") == [1, 2, 3, None]


@pytest.mark.parametrize("cell", ["---", "N", "Ｎ", "n/a/b", "#1"])
def test_texts_that_are_no_markers(cell: str) -> None:
    assert Read({"track_genre": ["rock", cell]}).columns["genres"][1] == [cell]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ska&reggae;dub", "ska&reggae;dub"),
        ("R&notes;", "R&notes;"),
        ("a&#0;b&#xD800;", "ab"),
        ("&Eacute;t&eacute; &amp; &#38;", "Été & &"),
        ("rock &#8217;n&#x2019; roll", "rock ’n’ roll"),
        ("drum&bass", "drum&bass"),
    ],
)
def test_only_whole_entities_are_decoded(text: str, expected: str) -> None:
    assert clean_text(text) == expected


@pytest.mark.parametrize("label", ["Children’s Music", "children`s music", "Childrenʼs Music"])
def test_apostrophes_of_labels(label: str) -> None:
    assert folded_label(label) == folded_label("Children's Music") != folded_label("Childrens Music")


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["Artist 12", "Maroon 5", "Juniors 7"], "text"),
        (["12 Monkeys", "21 Savage", "10 Years", "50 Cent"], "text"),
        (["4-Apr", "May 12", "March 3, 2020", "12 sept 1999"], "dates"),
    ],
)
def test_only_months_make_dates(cells: list[str], reason: str) -> None:
    assert Read({"x": cells}).reason("x") == reason
