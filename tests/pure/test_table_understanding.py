"""What `ingest` understands of tables of all kinds."""

import math
import random
from typing import Any

import pyarrow as pa
import pytest

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.columns import Columns
from tests.pure.table_cases import Read

ROWS = 40
SHUFFLED = random.Random(0).sample(range(1000), ROWS)
TEMPO = [60 + 1.25 * number for number in SHUFFLED]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("__index_level_0__", range(ROWS), "row numbers"),
        ("index", [7 * number for number in range(ROWS)], "row numbers"),
        ("X", [str(number) for number in range(ROWS)], "row numbers"),
        ("level_0", [float(number) for number in range(ROWS)], "row numbers"),
        ("row_id", [str(ROWS - number) for number in range(ROWS)], "row numbers"),
        ("Unnamed: 0.1", SHUFFLED, "ids: whole numbers"),
        ("album_id", [1, 1, 2, 2], "ids, by its name"),
        ("releaseId", [3, 3, 9, 1], "ids, by its name"),
        ("added", [20260101, 20260102, 20260102, 19991231], "dates"),
        ("added_ts", [1_600_000_000_000, 1_700_000_000_000, 1_600_000_000_000], "dates"),
        ("followers", [5, 10, 5, 10], "popularity"),
        ("play count", ["1,234", "5"], "popularity"),
        ("artist_popularity", [0.5, 0.25], "popularity"),
    ],
)
def test_a_column_that_measures_nothing_is_no_feature(name: str, values: Any, reason: str) -> None:
    table = Read({"tempo": TEMPO, name: list(values)})
    assert table.features == ["tempo"]
    assert table.reason(name).startswith(reason)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("year", [1999, 2004, 2004, 2010]),
        ("index", [3, 1, 2, 3]),
        ("valid", [1, 0]),
        ("bpm", ["120", "98"]),
        ("is_live", [True, False]),
        ("price", [1.5, 2.5]),
    ],
)
def test_a_column_of_measured_numbers_is_a_feature(name: str, values: Any) -> None:
    assert name in Read({"tempo": TEMPO, name: values}).features


@pytest.mark.parametrize("name", ["popularity", "duration_ms", "energy"])
@pytest.mark.parametrize(
    "values", [[math.inf, -math.inf, None], pa.array([math.inf, 1.0, -math.inf], pa.float32())]
)
def test_a_column_of_infinite_numbers_is_no_feature(name: str, values: Any) -> None:
    assert Read({"tempo": TEMPO, name: values}).features == ["tempo"]


def test_a_column_named_by_a_flag_is_a_feature() -> None:
    assert Read({"tempo": TEMPO, "X": range(ROWS)}, Columns(features=("X", "tempo"))).features == [
        "X",
        "tempo",
    ]


def test_folder_names_are_no_features() -> None:
    assert Read({"tempo": TEMPO, "dt": [20261127]}, partitions=("dt",)).features == ["tempo"]


def test_numbers_restart_in_each_file() -> None:
    import dataclasses

    import numpy as np

    from genremill.jobs.catalog.understanding import understand

    table = Read({"tempo": TEMPO, "n": [*range(20), *range(20)]})
    assert "n" in table.features
    two = dataclasses.replace(table.sample, file=np.repeat([0, 1], 20))
    uses = understand(two, Columns(), "--tracks t", frozenset()).uses
    assert next(use.reason for use in uses if use.column == "n").startswith("row numbers")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,234", "12", "999"], [1234, 12, 999]),
        (["4,576,621", "1.5"], [4576621, 1.5]),
        (["0,5", "12,25", "3"], [0.5, 12.25, 3]),
        (["1.234,5", "0,5", "2.000"], [1234.5, 0.5, 2000]),
        (["57%", "3 %"], [57, 3]),
        (["120 BPM", "98.5bpm"], [120, 98.5]),
        (["-7 dB", "−6.5 dB"], [-7, -6.5]),
        (["1.5M", "20K", "7"], [1_500_000, 20_000, 7]),
        (["1 234", "1\u00a0235,5", "0,5"], [1234, 1235.5, 0.5]),
        (["TRUE", "false"], [1, 0]),
        (["1e-05", ".5", "+2"], [1e-05, 0.5, 2]),
    ],
)
def test_numbers_as_people_write_them(cells: list[str], expected: list[float]) -> None:
    assert Read({"x": cells}).values("x") == pytest.approx(expected)


@pytest.mark.parametrize(
    "cell", ["", " ", "nan", "NA", "N/A", "#N/A", "None", "NULL", "null", "?", "empty_field", "-", "Unknown"]
)
def test_markers_of_a_missing_number(cell: str) -> None:
    assert Read({"x": ["1", "2", "3", cell]}).values("x") == [1, 2, 3, None]


def test_further_markers() -> None:
    table = Read({"x": ["1", "n.n.", "-99", "-99.0"], "y": [1, 2, -99, 3]}, missing=["n.n.", "-99"])
    assert table.values("x") == [1, None, None, None]
    assert table.values("y") == [1, 2, None, 3]


def test_text_in_a_column_of_numbers_is_no_number() -> None:
    assert math.isnan(Read({"x": ["1", "2", "3", "loud"]}).values("x")[3] or 0.0)


def test_keys_and_modes() -> None:
    table = Read({"key": ["A#", "C", "Bb", "F♯"], "mode": ["Major", "Minor"]})
    assert table.values("key") == [10, 0, 10, 6]
    assert table.values("mode") == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "cells", "seconds", "unit"),
    [
        ("duration_ms", [269213, 236755, -1], [269.213, 236.755, None], "milliseconds"),
        ("duration_ms", [269.213, 236.755, 0], [269.213, 236.755, None], "seconds"),
        ("length", ["3:45", "1:02:03", "-1"], [225, 3723, None], "seconds"),
        ("Length (Duration)", ["201", "1,412", "?"], [201, 1412, None], "seconds"),
        ("minutes", [3.5, 4.25, None], [210, 255, None], "minutes"),
        ("duration", ["200 s", "210 s", ""], [200, 210, None], "seconds"),
    ],
)
def test_durations(name: str, cells: list[Any], seconds: list[float | None], unit: str) -> None:
    table = Read({name: cells}, Columns(duration=name))
    assert table.columns["duration_s"] == pytest.approx(seconds)
    assert f"read as {unit}" in table.reason(name)
    assert table.values(name)[0] == pytest.approx(1000 * (seconds[0] or 0))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Earth, Wind & Fire", "AC/DC"], [["Earth, Wind & Fire"], ["AC/DC"]]),
        (["Ada;Bo", "Ada ; "], [["Ada", "Bo"], ["Ada"]]),
        (["['Guns N\\' Roses', \"Ada\"]", "[]"], [["Guns N' Roses", "Ada"], []]),
        (['["Ada", "Bo"]', '["Beyonc\\u00e9"]'], [["Ada", "Bo"], ["Beyoncé"]]),
        (["['Ada' 'Bo']", "['Ada']"], [["Ada", "Bo"], ["Ada"]]),
        (["[{'id': 1, 'name': 'Ada'}]", '[{"name": "Bo"}]'], [["Ada"], ["Bo"]]),
        (["Salt &amp; Pepper", "Salt &#38; Pepper;Bo"], [["Salt & Pepper"], ["Salt & Pepper", "Bo"]]),
        (["Ro\u0301s\u200b", "\tR\u00f3s\u00a0"], [["Rós"], ["Rós"]]),
        (["Unknown", "?"], [["Unknown"], ["?"]]),
        (["NA", "empty_field"], [[], []]),
        (["A\0da", "A\rda"], [["Ada"], ["A da"]]),
        (['["Ad\\ud83d", "Bo"]', "['Ad\\ud83d\\ude00']"], [["Ad", "Bo"], ["Ad😀"]]),
    ],
)
def test_artists(cells: list[str], expected: list[list[str]]) -> None:
    assert Read({"artists": cells}).columns["artists"] == expected


def test_the_separator_of_artists_can_be_named() -> None:
    assert Read({"artists": ["Ada, Bo", "Cy"]}, Columns(separator=",")).columns["artists"] == [
        ["Ada", "Bo"],
        ["Cy"],
    ]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(
            [[{"id": "1", "name": "Ada"}, {"id": "2", "name": "Bo"}], None, [{"id": "3", "name": None}]]
        ),
        pa.array([["Ada", "Bo"], None, [""]], pa.large_list(pa.string())),
    ],
)
def test_artists_in_arrow_lists(values: pa.Array) -> None:
    assert Read({"artists": values}).columns["artists"] == [["Ada", "Bo"], [], []]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["rock, pop", "pop", "rock", "pop, indie"], [["rock", "pop"], ["pop"], ["rock"], ["pop", "indie"]]),
        (["rock|pop", "pop", "rock"], [["rock", "pop"], ["pop"], ["rock"]]),
        (["rock / pop", "pop", "rock"], [["rock", "pop"], ["pop"], ["rock"]]),
        (["pop;rock", "jazz;folk"], [["pop", "rock"], ["jazz", "folk"]]),
        (
            ["Old-Time / Historic", "rock", "pop", "jazz"],
            [["Old-Time / Historic"], ["rock"], ["pop"], ["jazz"]],
        ),
        (["Folk, World, & Country", "rock", "pop"], [["Folk, World, & Country"], ["rock"], ["pop"]]),
        (["r&amp;b", "r&b"], [["r&b"], ["r&b"]]),
        (["Unknown", "NONE", "?", "rock"], [[], [], [], ["rock"]]),
        (['{pop,"hip hop"}', "{pop}"], [["pop", "hip hop"], ["pop"]]),
        (["[{'genre_id': '21', 'genre_title': 'Hip-Hop'}]", "[]"], [["Hip-Hop"], []]),
        (["{'name': 'Jazz'}", '{"name": "Pop"}'], [["Jazz"], ["Pop"]]),
    ],
)
def test_genres(cells: list[str], expected: list[list[str]]) -> None:
    assert Read({"track_genre": cells}).columns["genres"] == expected


@pytest.mark.parametrize(
    ("names", "flag"),
    [
        (["artist_name"], "--columns.artists artist_name"),
        (["Artist(s)"], "--columns.artists 'Artist(s)'"),
        (["performer", "tempo"], "--columns.artists performer"),
        (["Top Genre"], "--columns.genre 'Top Genre'"),
        (["Length (Duration)"], "--columns.duration 'Length (Duration)'"),
        (["track_popularity"], "--columns.popularity track_popularity"),
        (["Title"], "--columns.title Title"),
    ],
)
def test_a_look_alike_is_refused(names: list[str], flag: str) -> None:
    with pytest.raises(UsageError) as refused:
        Read({name: ["a", "b"] for name in names})
    assert flag in str(refused.value)
    assert f"{flag.split()[0]} none" in str(refused.value)


def test_a_look_alike_that_is_kept_is_refused_too() -> None:
    with pytest.raises(UsageError, match=r"--columns.artists artist_name, or --columns.artists none"):
        Read({"artist_name": ["Ada", "Bo"]}, Columns(keep=("artist_name",)))


def test_none_says_that_there_is_no_such_column() -> None:
    assert Read({"artist_name": ["Ada"], "tempo": TEMPO}, Columns(artists="none")).columns["artists"][0] == []


def test_ids_are_made_from_names_or_from_the_whole_row() -> None:
    columns = {
        "track_name": ["A", "A", "A", "A", ""],
        "artists": ["Ada", "Ada", "Ada", "", ""],
        "tempo": ["1", "1", "2", "1", ""],
        "track_genre": ["pop", "rock", "pop", "pop", ""],
    }
    table = Read(columns, Columns(id="none"))
    ids, digests = table.columns["track_id"], table.columns["row_digest"]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert digests[0] == digests[1] != digests[2]
    assert ids[3] == digests[3]
    assert ids[4] is None
    assert table.columns["problem"][4] == {"reason": "no_id", "detail": "the row is empty"}


@pytest.mark.parametrize(
    "flags", [Columns(id="none", features=("tempo",)), Columns(id="none", keep=("row",))]
)
def test_row_numbers_and_folder_names_are_not_part_of_a_made_id(flags: Columns) -> None:
    def ids(first: int, day: str, tempo: pa.Array) -> list[str]:
        table = {"row": [first + number for number in range(3)], "tempo": tempo, "dt": [day]}
        made: list[str] = Read(table, flags, partitions=("dt",)).columns["track_id"]
        return made

    expected = ids(0, "20261127", pa.array([90, 95, 91]))
    assert ids(1, "20261128", pa.array([90.0, 95.0, 91.0])) == expected
    assert ids(0, "20261127", pa.array([90.0, 95.5, 91.0]))[1] != expected[1]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.list_(pa.string())), pa.list_(pa.struct([("genre_id", pa.int64())]))]
)
def test_lists_without_names_are_refused(kind: pa.DataType) -> None:
    for flags in (Columns(artists="v"), Columns(genre="v")):
        with pytest.raises(UsageError, match="v: expected text, or lists of text or of structs with"):
            Read({"v": pa.nulls(3, kind)}, flags)


def test_ids_are_text_whatever_their_type() -> None:
    whole = Read({"track_id": [7, 1 << 40]}, Columns(id="track_id", title="none"))
    blank = Read({"track_id": [7.0, math.nan, 1 << 40]}, Columns(id="track_id", title="none"))
    assert whole.columns["track_id"] == ["7", str(1 << 40)]
    assert blank.columns["track_id"] == ["7", None, str(1 << 40)]


@pytest.mark.parametrize("marker", ["nan", "None", "NULL", "N/A", "", " "])
def test_a_missing_id_is_no_id(marker: str) -> None:
    table = Read({"track_id": ["a", marker], "track_name": ["A", "B"]}, Columns(id="track_id"))
    assert table.columns["track_id"] == ["a", None]
    assert table.columns["problem"][1] == {"reason": "no_id", "detail": "track_id is blank"}


def test_a_type_that_a_role_cannot_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--columns.popularity v: expected numbers, found array"):
        Read({"v": [[1.0], [2.0]]}, Columns(popularity="v"))
    with pytest.raises(
        UsageError, match=r"--columns.id track_id: expected text or whole numbers, found double"
    ):
        Read({"track_id": [0.5, 1.0]}, Columns(id="track_id", title="none"))
    with pytest.raises(UsageError, match="column 'v': expected numbers, found array"):
        Read({"v": [[1.0], [2.0]]}, Columns(features=("v",)))


def test_typed_and_text_columns_give_the_same_numbers() -> None:
    typed = {
        "duration_ms": pa.array([1000, 0, 3000, -5, 5000, 6000, 7000]),
        "tempo": pa.array([60.5, 70.25, math.nan, 80.1, math.inf, 1e39, None]),
        "explicit": pa.array([True, False, True, True, None, False, True]),
        "stops": pa.array([1, None, 3, 4, 5, 6, 1 << 60]),
    }
    text = {name: values.cast(pa.string()) for name, values in typed.items()}
    from_typed, from_text = (Read(columns) for columns in (typed, text))
    assert from_typed.features == ["duration_ms", "tempo", "explicit", "stops"]
    assert repr(from_typed.columns) == repr(from_text.columns)
    assert from_typed.values("tempo")[2] is None
    assert math.isnan(from_typed.values("tempo")[4] or 0)
    assert from_typed.values("duration_ms")[1] is None


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [
        ("", "1", "x"),
        ("1.", "1", "e"),
        ("", "1", ":00:00"),
        ("", ",", ""),
        ("[", "'", ""),
        ("[", "['a',", "]"),
    ],
)
def test_very_long_cells_are_read_in_linear_time(start: str, repeated: str, end: str) -> None:
    cell = start + repeated * 100_000 + end
    table = Read(
        {"x": ["1", "2", "3", cell], "length": ["1:00", "2:00", "3:00", cell], "artists": ["[]", cell]},
        Columns(duration="length"),
    )
    assert math.isnan(table.values("x")[3] or 0)
    assert table.columns["duration_s"][:3] == [60, 120, 180]


def test_a_further_marker_may_look_like_a_truth_value_or_a_written_number() -> None:
    table = Read({"x": ["1", "true", "1,234", "2"]}, missing=["true", "1,234"])
    assert table.values("x") == [1, None, None, 2]
