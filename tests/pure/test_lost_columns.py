"""Columns that were a feature or had a role in the current tracks, and no longer are or have."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.errors import AuditRefused
from genremill.infra.warehouse import Warehouse
from genremill.jobs.catalog import lost_columns
from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.measurements import Chosen, Counts
from genremill.jobs.snapshot_details import SplitRule, TracksDetails
from genremill.models.evaluation.split import SplitBy
from tests.pure.table_cases import Read
from tests.pure.test_night_model import save

ROWS = 40
RULE = SplitRule(SplitBy("artist"), (0.8, 0.1, 0.1), 0)
TABLE: dict[str, Any] = {
    "artists": [f"Artist {number % 9}" for number in range(ROWS)],
    "track_genre": ["rock", "pop"] * 20,
    "popularity": [50, 60] * 20,
    "tempo": [60 + 1.25 * (7 * number % ROWS) for number in range(ROWS)],
    "key": [1, 2, 7, 11] * 10,
}
OF_OTHER_TYPES = [
    ("text", [f"fast {number}" for number in range(ROWS)], "text; 100.0% of", "'fast 0', 'fast 1', 'fast 2'"),
    ("mostly text", ["120.5", "1", "x", "y", "z"] * 8, "text; 60.0% of", "'x', 'y', 'z'"),
    ("lists", [[1.5, 2.5]] * ROWS, "its type is array<double>; 100.0% of", "'[1.5, 2.5]'"),
    ("dates", [datetime.date(2026, 11, 1)] * ROWS, "dates; 100.0% of", "'2026-11-01'"),
    ("ids", list(range(0, 7 * ROWS, 7)), "row numbers: whole numbers in the order of the rows", ""),
]


def _chosen(table: dict[str, Any], flags: Columns | None = None) -> Chosen:
    """The table, whose candidates are all features."""
    read = Read(table, flags)
    features = tuple(read.understood.feature(name, 0.0) for name in read.features)
    counts = Counts(ROWS, ROWS, {}, {}, {}, {}, {})
    return Chosen(read.understood, features, tuple(range(len(features))), (), counts)


def _details(table: dict[str, Any], flags: Columns | None = None) -> TracksDetails:
    chosen = _chosen(table, flags)
    return TracksDetails(chosen.features, RULE, columns=chosen.understanding.uses)


def _lost(table: dict[str, Any], flags: Columns | None = None, before: Columns | None = None) -> list[str]:
    """The columns that a table has lost since `TABLE` became current."""
    found = lost_columns.lost_columns(_details(TABLE, before), _chosen(table, flags))
    return [column.name for column in found]


def _without(*names: str) -> dict[str, Any]:
    return {name: values for name, values in TABLE.items() if name not in names}


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        dict(reversed(TABLE.items())),
        TABLE | {"energy": [0.5, 0.25] * 20, "mood": ["calm", "sad"] * 20},
        TABLE | {"tempo": [*map(str, TABLE["tempo"][:-4]), "loud", "n/k", "?", ""]},
        TABLE | {"tempo": [f"{value} BPM" for value in TABLE["tempo"]]},
        TABLE | {"artists": [[name] for name in TABLE["artists"]]},
    ],
)
def test_nothing_is_lost(table: dict[str, Any]) -> None:
    assert _lost(table) == []


@pytest.mark.parametrize("name", ["tempo", "key", "popularity", "artists", "track_genre"])
def test_a_column_that_is_gone(name: str) -> None:
    assert _lost(_without(name)) == [name]


@pytest.mark.parametrize(("kind", "values", "why", "examples"), OF_OTHER_TYPES)
def test_a_column_of_another_type(kind: str, values: list[Any], why: str, examples: str) -> None:
    (found,) = lost_columns.lost_columns(_details(TABLE), _chosen(TABLE | {"tempo": values}))
    assert str(found).startswith(f"'tempo' was a numeric feature: {why}"), kind
    assert examples in found.why


def test_a_renamed_column_is_lost_and_the_message_names_the_new_one(tmp_path: Path) -> None:
    table = _without("tempo") | {"bpm": TABLE["tempo"]}
    assert _lost(table) == ["tempo"]
    with pytest.raises(AuditRefused, match=r"no such column\. New columns: 'bpm'\. `tracks` is unchanged"):
        _check(tmp_path, table, 0)


@pytest.mark.parametrize(
    ("table", "flags"),
    [
        (TABLE, Columns(ignore=("tempo",))),
        (TABLE, Columns(keep=("tempo",))),
        (TABLE, Columns(tags=("tempo",))),
        (TABLE, Columns(features=("key",))),
        (TABLE, Columns(categorical=("tempo",))),
        (TABLE, Columns(genre="key")),
        (_without("artists"), Columns(artists="none")),
        (_without("track_genre"), Columns(genre="none")),
    ],
)
def test_a_change_that_a_flag_asks_for_is_no_loss(table: dict[str, Any], flags: Columns) -> None:
    assert _lost(table, flags) == []


@pytest.mark.parametrize(
    ("flags", "change", "lost"),
    [
        (Columns(categorical=("tempo",)), {"tempo": ["slow", "fast"] * 20}, ["tempo"]),
        (Columns(popularity="tempo"), {"tempo": ["slow", "fast"] * 20}, ["tempo"]),
        (Columns(keep=("artists",)), {"tempo": ["slow", "fast"] * 20}, ["tempo"]),
    ],
)
def test_flags_that_stay_the_same_ask_for_no_change(
    flags: Columns, change: dict[str, Any], lost: list[str]
) -> None:
    assert _lost(TABLE | change, flags, before=flags) == lost


def test_without_its_flag_a_column_of_codes_is_lost() -> None:
    flags = Columns(categorical=("tempo", "key"))
    (found,) = lost_columns.lost_columns(_details(TABLE, flags), _chosen(TABLE))
    assert str(found) == "'tempo' was a categorical feature: it is a numeric feature now"


def test_tracks_of_a_version_that_recorded_no_columns() -> None:
    before = TracksDetails(_details(TABLE).features, RULE)
    found = lost_columns.lost_columns(before, _chosen(_without("tempo", "track_genre")))
    assert [column.name for column in found] == ["tempo"]


def _check(folder: Path, table: dict[str, Any], limit: int) -> dict[str, object]:
    summary: dict[str, object] = {}
    warehouse = Warehouse.at(str(folder / "warehouse"))
    lost_columns.check(warehouse, "--tracks t.csv", _details(TABLE), _chosen(table), limit, summary)
    return summary


def test_the_limit_is_a_number_of_columns(tmp_path: Path) -> None:
    table = _without("tempo", "key", "track_genre")
    with pytest.raises(AuditRefused) as refused:
        _check(tmp_path, table, 2)
    text = str(refused.value)
    assert text.startswith("--tracks t.csv: 3 of the columns that the current tracks use are lost; expected")
    assert "accept this change by running once with --max-lost-columns 3. If this is another catalog" in text
    assert refused.value.summary["lost_columns"].keys() == {"tempo", "key", "track_genre"}
    assert _check(tmp_path, table, 3) == refused.value.summary
    assert _check(tmp_path, TABLE, 0) == {}


def test_the_message_names_the_columns_that_the_model_in_use_reads(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path / "warehouse"))
    save(warehouse, "linear/r1", by_nightly=True)
    with pytest.raises(AuditRefused, match=r"\. The model in use, linear/r1, reads 'tempo'\. `tracks` is"):
        _check(tmp_path, _without("tempo", "key"), 0)
    with pytest.raises(AuditRefused, match=r"no such column\. `tracks` is"):
        _check(tmp_path, _without("key"), 0)


def test_the_message_describes_a_few_columns(tmp_path: Path) -> None:
    many = {f"x{number}": TABLE["tempo"] for number in range(9)}
    before = _details(TABLE | many)
    with pytest.raises(AuditRefused, match="and 4 more") as refused:
        lost_columns.check(Warehouse.at(str(tmp_path / "w")), "t.csv", before, _chosen(TABLE), 0, {})
    assert str(refused.value).count("was a numeric feature") == lost_columns.SHOWN
