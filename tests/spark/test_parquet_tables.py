"""Parquet and Excel tables as people write them: types that Spark lacks, schemas that differ, odd cells."""

import datetime
import decimal
import io
import re
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from tests.conftest import real_data
from tests.spark.tables_as_written import cells, malformed, read

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
MOMENT = datetime.datetime(2026, 11, 27, 3, 4, 5, 678000)


def write(path: Path, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_every_type_is_read_or_converted(spark: SparkSession, tmp_path: Path) -> None:
    long = decimal.Decimal("1.50")
    columns: dict[str, tuple[pa.Array, str, Any]] = {
        "ns": (pa.array([MOMENT], pa.timestamp("ns")), "timestamp_ntz", MOMENT),
        "zone": (pa.array([MOMENT], pa.timestamp("ns", "UTC")), "timestamp", MOMENT),
        "us": (pa.array([MOMENT], pa.timestamp("us")), "timestamp_ntz", MOMENT),
        "half": (pa.array(np.array([0.5], np.float16)), "float", 0.5),
        "halves": (pa.array([[0.5, 2.0]], pa.list_(pa.float16())), "array<float>", [0.5, 2.0]),
        "time": (pa.array([datetime.time(0, 3, 45)], pa.time64("us")), "string", "00:03:45.000000"),
        "time_s": (pa.array([225], pa.time32("s")), "string", "00:03:45.000"),
        "length": (pa.array([225_000_000_000], pa.duration("ns")), "double", 225_000.0),
        "none": (pa.nulls(1), "string", None),
        "short": (pa.array([long]), "decimal(3,2)", long),
        "long": (pa.array([long], pa.decimal256(50, 2)), "string", "1.50"),
        "id": (pa.array([ID.bytes], pa.binary(16)).cast(pa.uuid()), "string", str(ID)),
        "code": (pa.array(["a"]).dictionary_encode(), "string", "a"),
        "large": (pa.array(["a"], pa.large_string()), "string", "a"),
        "view": (pa.array(["a"], pa.string_view()), "string", "a"),
        "list": (pa.array([[1]], pa.large_list(pa.int64())), "array<bigint>", [1]),
        "fixed": (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "array<float>", [1.0, 2.0]),
        "unsigned": (pa.array([2**64 - 1], pa.uint64()), "decimal(20,0)", decimal.Decimal(2**64 - 1)),
        "day": (pa.array([datetime.date(2026, 11, 27)]), "date", datetime.date(2026, 11, 27)),
        "map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "map<string,bigint>", {"a": 1}),
        " a.b\t": (pa.array([1]), "bigint", 1),
    }
    write(tmp_path / "t.parquet", **{name: array for name, (array, _, _) in columns.items()})
    table = read(spark, tmp_path, tmp_path / "t.parquet")
    types = dict(table.rows.dtypes)
    assert {name.strip(): types[name.strip()] for name in columns} == {
        name.strip(): kind for name, (_, kind, _) in columns.items()
    }
    assert cells(table) == [tuple(value for _, _, value in columns.values())]
    assert table.left_out.unreadable == {}
    assert table.rows.collect()[0]["_file"].endswith("/t.parquet")
    some = read(spark, tmp_path, tmp_path / "t.parquet", ignore=("half", "a.b", "nothing"))
    assert some.left_out.ignored == ("half", "a.b")
    assert not {"half", "a.b"} & {*some.rows.columns}


def test_files_with_different_schemas_are_one_table(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "days"
    write(
        folder / "1.parquet", id=["a"], plays=[1], key=["C"], when=[datetime.date(2026, 1, 1)], tags=[["x"]]
    )
    write(folder / "2.parquet", ID=["b"], plays=[1.5], key=[7.0], when=[MOMENT], extra=[True], tags=["x;y"])
    write(folder / "3.parquet", id=["c"], plays=pa.nulls(1), key=[2], half=np.array([0.5], np.float16))
    (folder / "4.parquet").touch()
    (folder / "_SUCCESS").touch()
    table = read(spark, tmp_path, folder)
    assert dict(table.rows.dtypes) | {"plays": "double", "key": "string", "when": "timestamp_ntz"} == dict(
        table.rows.dtypes
    )
    rows = {row["id"]: row for row in table.rows.collect()}
    assert [rows[name]["plays"] for name in "abc"] == [1.0, 1.5, None]
    assert [rows[name]["key"] for name in "abc"] == ["C", "7", "2"]
    assert [rows[name]["tags"] for name in "abc"] == ['["x"]', "x;y", None]
    assert [rows[name]["extra"] for name in "abc"] == [None, True, None]
    assert [rows[name]["half"] for name in "abc"] == [None, None, 0.5]
    assert [rows[name]["_file"].rpartition("/")[2] for name in "abc"] == [f"{n}.parquet" for n in (1, 2, 3)]


def test_folders_of_partitions_are_columns_of_text(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "dt=other"
    write(folder / "dt=20261127" / "market=a+b" / "1.parquet", id=["a"])
    write(folder / "dt=007" / "market=__HIVE_DEFAULT_PARTITION__" / "2.parquet", id=["b"])
    table = read(spark, tmp_path, folder)
    assert sorted(cells(table)) == [("a", "20261127", "a+b"), ("b", "007", None)]
    assert table.left_out.partitions == ("dt", "market")
    without = read(spark, tmp_path, folder, ignore=("dt",)).left_out
    assert (without.ignored, without.partitions) == (("dt",), ("market",))
    inner = folder / "dt=007" / "market=__HIVE_DEFAULT_PARTITION__"
    assert read(spark, tmp_path, inner).left_out.partitions == ()


def test_names_that_differ_in_case_are_refused_unless_one_is_ignored(
    spark: SparkSession, tmp_path: Path
) -> None:
    write(tmp_path / "t.parquet", id=["a"], tempo=[1], Tempo=[2])
    with pytest.raises(UsageError, match="more than one column is named 'tempo'"):
        read(spark, tmp_path, tmp_path / "t.parquet")
    assert cells(read(spark, tmp_path, tmp_path / "t.parquet", ignore=("Tempo",))) == [("a", 1)]
    equal = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], names=["id", "x", "x"])
    pq.write_table(equal, tmp_path / "equal.parquet")
    (tmp_path / "equal.xlsx").write_bytes(workbook(songs=[["id", "x", "x"], ["a", 1, 2]]))
    for name in ("equal.parquet", "equal.xlsx"):
        with pytest.raises(UsageError, match=f"{name}: more than one column is named 'x'"):
            read(spark, tmp_path, tmp_path / name)


def test_parquet_is_recognized_by_its_bytes(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "t.csv", id=["a"])
    assert cells(read(spark, tmp_path, tmp_path / "t.csv")) == [("a",)]
    whole = (tmp_path / "t.csv").read_bytes()
    (tmp_path / "t.gz").write_bytes(pa.compress(whole, "gzip", asbytes=True))
    packed = read(spark, tmp_path, tmp_path / "t.gz")
    assert cells(packed) == [("a",)]
    assert packed.rows.collect()[0]["_file"].endswith("/t.gz")
    for name in (".hidden.parquet", "_x.parquet"):
        (tmp_path / name).write_bytes(whole)
        assert cells(read(spark, tmp_path, tmp_path / name)) == [("a",)]
    (tmp_path / "t.parquet").write_bytes(whole[:-10])
    with pytest.raises(UsageError, match=r"t.parquet cannot be read as a Parquet table"):
        read(spark, tmp_path, tmp_path / "t.parquet")


def workbook(**sheets: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_excel_cells_are_read_as_excel_shows_them(spark: SparkSession, tmp_path: Path) -> None:
    day, time = datetime.datetime(2026, 11, 27), datetime.time(3, 45)
    rows: list[list[Any]] = [
        [],
        [None, " id ", "day", "live", "plays", "tempo", "length", "title"],
        [0, "007", day, True, 3.0, 120.5, time, "two\nlines"],
        [],
        [1, 8, MOMENT, False, 10**12, -7e-6, datetime.timedelta(seconds=225), '"C:\\", é'],
        [2, 9, None, None, None, None, None, "a", "note"],
    ]
    (tmp_path / "t.xlsx").write_bytes(workbook(empty=[[None]], songs=rows, other=[["x"]]))
    table = read(spark, tmp_path, tmp_path / "t.xlsx")
    assert table.rows.columns[:-4] == ["_c0", "id", "day", "live", "plays", "tempo", "length", "title"]
    good = [row for row, bad in zip(cells(table), table.rows.collect(), strict=True) if not bad["_malformed"]]
    assert good == [
        ("0", "007", "2026-11-27", "True", "3", "120.5", "3:45:00", "two\nlines"),
        ("1", "8", "2026-11-27 03:04:05", "False", "1000000000000", "-7e-06", "0:03:45", '"C:\\", é'),
    ]
    assert malformed(table) == ["2,9,,,,,,a,note"]
    assert "sheet 'songs'" in table.format.description
    assert {row["_file"].rpartition("/")[2] for row in table.rows.collect()} == {"t.xlsx"}


SONGS: list[list[Any]] = [["id", "title", "tempo"], [1, "a_x000D_\nb", 2], [2, "_x005F_x000D_", 3]]


@pytest.mark.parametrize(
    ("sheets", "description"),
    [
        ({"Data": SONGS}, "sheet 'Data'"),
        ({"Data": [["My songs"], [], *SONGS]}, "sheet 'Data', without 1 line above the header"),
        ({"Data": [[None, "Names"], [], ["by X"], *SONGS]}, "sheet 'Data', without 2 lines above the header"),
        ({"Readme": [["About"]] * 9, "Data": SONGS}, "sheet 'Data' (not read: 'Readme')"),
        (
            {"Summary": [["genre", "count"], ["pop", 2]], "empty": [], "Data": SONGS, "2": SONGS},
            "sheet 'Data' (not read: 'Summary', '2')",
        ),
    ],
)
def test_the_fullest_sheet_is_read_from_its_header_on(
    spark: SparkSession, tmp_path: Path, sheets: dict[str, list[list[Any]]], description: str
) -> None:
    (tmp_path / "t.xlsx").write_bytes(workbook(**sheets))
    table = read(spark, tmp_path, tmp_path / "t.xlsx")
    assert table.format.description == f"one Excel file, {description}"
    assert table.rows.columns[:-4] == ["id", "title", "tempo"]
    assert cells(table) == [("1", "a\r\nb", "2"), ("2", "_x000D_", "3")]


def with_chart_sheet() -> bytes:
    book = openpyxl.Workbook()
    book.create_chartsheet("Chart")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def damaged(pattern: str, text: str) -> bytes:
    """A workbook in whose XML some text is replaced."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(songs=SONGS))) as book, zipfile.ZipFile(out, "w") as changed:
        for name in book.namelist():
            changed.writestr(name, re.sub(pattern, text, book.read(name).decode()))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_chart_sheet(), "the Excel file is damaged"),
        (damaged('t="inlineStr"><is><t>id</t></is>', 't="s"><v>99</v>'), "the Excel file is damaged"),
        (damaged(' sheetId="1"', ""), "the Excel file is damaged"),
        (workbook(empty=[[None]]), "the Excel file has no cells"),
        (workbook(songs=[["id", "ID"], [1, 2]]), "more than one column is named 'id'"),
        (workbook(songs=[["id"], [1]])[:-300], "the zip archive is damaged"),
    ],
)
def test_wrong_excel_files_are_refused(
    spark: SparkSession, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "t.xlsx").write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read(spark, tmp_path, tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("dates.parquet", "release_date", datetime.datetime(2020, 1, 8)),
        ("dates.parquet", "added_at", datetime.datetime(2020, 1, 8)),
        ("days", "popularity", None),
        ("hive", "dt", "20261127"),
        ("api.parquet", "artists", None),
        ("float16.parquet", "valence", None),
    ],
)
def test_the_collected_cases(
    spark: SparkSession, tmp_path: Path, name: str, column: str, value: object
) -> None:
    table = read(spark, tmp_path, real_data(f"cases/tables/{name}"))
    rows = table.rows.collect()
    assert len(rows) == 60
    assert rows[7][column] == value if value else rows[7][column] is not None
    assert (
        column not in read(spark, tmp_path, real_data(f"cases/tables/{name}"), ignore=(column,)).rows.columns
    )


def test_an_excel_form_of_a_public_table_equals_its_csv_form(spark: SparkSession, tmp_path: Path) -> None:
    songs = read(spark, tmp_path, real_data("cases/public/Spotify-2000.csv"))
    rows = cells(songs)
    (tmp_path / "t.xlsx").write_bytes(workbook(songs=[list(row) for row in (songs.rows.columns[:-4], *rows)]))
    assert sorted(map(str, cells(read(spark, tmp_path, tmp_path / "t.xlsx")))) == sorted(map(str, rows))
