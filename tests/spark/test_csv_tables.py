"""CSV tables as people write them: encodings, delimiters, quotes, line breaks, packed files."""

import bz2
import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.jobs.catalog import csv_files, source_files
from tests.conftest import real_data
from tests.spark.tables_as_written import cells, malformed, read

PLAIN = b"id,title\n1,a\n2,b\n"
ROWS = [("1", "a"), ("2", "b")]


def damaged_lzma() -> bytes:
    """A zip archive in which the content of the one member is damaged."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", PLAIN * 99)
    data = out.getvalue()
    at = data.index(b"a.csv") + 20
    return data[:at] + bytes(16) + data[at + 16 :]


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("t.csv"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "rows", "description"),
    [
        ("\ufeffid;tempo\n1;0,5\n2;-7,25\n".encode(), [("1", "0,5"), ("2", "-7,25")], "delimiter ';'"),
        (b'"Length (min, s)"|id\n3|1\n', [("3", "1")], "delimiter '|'"),
        ("id\ttitle\n1\ta, b\n".encode("utf-16"), [("1", "a, b")], "encoding utf-16,"),
        ("id,title\n1,Ünder\n".encode("utf-16-le"), [("1", "Ünder")], "encoding utf-16-le"),
        ("id,title\n1,Ünder\n".encode("utf-16-be"), [("1", "Ünder")], "encoding utf-16-be"),
        ("id,title\n1,Beyoncé “live” €\n".encode("cp1252"), [("1", "Beyoncé “live” €")], "encoding cp1252"),
        (b"id,title\n1,m\xfasica \x81\n", [("1", "música \x81")], "encoding cp1252"),
        ("id,title\n1,música\n".encode(), [("1", "música")], "encoding utf-8"),
        (b"id\n1\n2\n", [("1",), ("2",)], "delimiter ','"),
        (b"id,title\n1,a;b\n2,c;d\n", [("1", "a;b"), ("2", "c;d")], "delimiter ','"),
        (b"sep=;\r\nid;title\r\n1;a\r\n", [("1", "a")], "delimiter ';', without 1 line above the header"),
        (b'id,title\n1,"The \\"Best\\", live"\n', [("1", 'The "Best", live')], r"quotes escaped as \""),
        (
            b'id,title\n1,"The ""Best"", live"\n2,"C:\\"\n',
            [("1", 'The "Best", live'), ("2", "C:\\")],
            "utf-8",
        ),
        (b'id,title\n1,"two\nlines"\n2,b\n', [("1", "two\nlines"), ("2", "b")], "line breaks"),
        (b'title,id\n"two\r\nlines",1\r\nb,2\r\n', [("two\nlines", "1"), ("b", "2")], "line breaks"),
        (b'title,id\n"two\n,\nlines",1\r\nb,2\r\n', [("two\n,\nlines", "1"), ("b", "2")], "line breaks"),
        (b'"id\n",title\n1,a\n2,b\n', ROWS, "line breaks"),
        (b"id,title\n1,a\r\n2,b\r\n", ROWS, "utf-8"),
        (b"id,title\r1,a\r2,b\r", ROWS, "utf-8"),
        (b"\n \t\nid,title\n1,a\n\n2,b\n\n", ROWS, "utf-8"),
        (b"BZh,FEA1\n1,2\n", [("1", "2")], "utf-8"),
        (b'id,title\n1,12" mix\n2,b\n', [("1", '12" mix'), ("2", "b")], "utf-8"),
    ],
)
def test_text_is_read_as_it_was_written(
    spark: SparkSession, tmp_path: Path, data: bytes, rows: list[tuple[str]], description: str
) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    table = read(spark, tmp_path, tmp_path / "t.csv")
    assert cells(table) == rows
    assert malformed(table) == []
    assert description in table.format.description
    places = table.rows.select("_file").distinct().collect()
    assert [place[0].rpartition("/")[2] for place in places] == ["t.csv"]


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("t.csv.gz", gzip.compress(PLAIN), ROWS),
        ("t.csv.bz2", bz2.compress(PLAIN), ROWS),
        ("t.csv.zst", pa.compress(PLAIN, "zstd", asbytes=True), ROWS),
        ("t.csv", gzip.compress(PLAIN) + gzip.compress(b"3,c\n"), [*ROWS, ("3", "c")]),
        ("t.csv.gz", PLAIN, ROWS),
        ("t.gz", zipped(data_csv=PLAIN), ROWS),
        ("t.zip", zipped(data__a_csv=PLAIN, __MACOSX___a_csv=b"x", README_md=b"about"), ROWS),
        ("t.zip", zipped(a_dat=PLAIN, readme_txt=b"about"), ROWS),
        ("t.zip", zipped(a_csv=PLAIN, README_txt=b"about", notes_txt=b"more"), ROWS),
        ("t.zip", zipped(readme_txt=PLAIN), ROWS),
        ("README.txt", PLAIN, ROWS),
        (".hidden.csv", PLAIN, ROWS),
        ("_x.csv", PLAIN, ROWS),
        ("_x.csv.gz", gzip.compress(PLAIN), ROWS),
        ("t.zip", zipped(a_txt="id\ttitle\n1\té\n".encode("utf-16")), [("1", "é")]),
        ("t.xlsx", PLAIN, ROWS),
    ],
)
def test_packed_files_are_recognized_by_their_bytes(
    spark: SparkSession, tmp_path: Path, name: str, data: bytes, rows: list[tuple[str]]
) -> None:
    (tmp_path / name).write_bytes(data)
    table = read(spark, tmp_path, tmp_path / name)
    assert cells(table) == rows
    assert [row["_file"].rpartition("/")[2] for row in table.rows.collect()] == [name] * len(rows)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n<!DOCTYPE html><html>503</html>", "found a web page"),
        (b'[{"id": 1}]', "found a JSON file"),
        (b'{"id": 1}\n{"id": 2}\n', "found a JSON file"),
        (tarred(), "found a tar archive"),
        (gzip.compress(tarred()), "found a tar archive"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "an old Excel file (.xls) or one with a password",
        ),
        (b"7z\xbc\xaf\x27\x1c", "found a 7-Zip archive"),
        (b"\x80\x04\x95.", "found a pickle file"),
        (b"SQLite format 3\x00", "found an SQLite database"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a binary file of an unknown format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "`git lfs pull`"),
        (gzip.compress(b""), "the packed file is empty"),
        (gzip.compress(gzip.compress(PLAIN)), "packed more than once (gzip)"),
        (gzip.compress(PLAIN * 999)[:60], "it cannot be unpacked and may be damaged"),
        (zipped(a_csv=PLAIN, b_csv=PLAIN), "found 2 files: 'a.csv', 'b.csv'"),
        (zipped(a_csv=PLAIN, licenses_csv=PLAIN), "found 2 files: 'a.csv', 'licenses.csv'"),
        (zipped(a_xlsx=zipped(docProps__app_xml=b"x"), README_md=b"about"), "an Excel file in an archive"),
        (gzip.compress(zipped(xl__workbook_xml=b"x")), "an Excel file in an archive; unpack it first"),
        (zipped(a_zip=zipped(a_csv=PLAIN)), "packed more than once (zip)"),
        (zipped(a_csv=PLAIN)[:60], "the zip archive is damaged"),
        (zipped(a_csv=PLAIN * 9)[:40] + zipped(a_csv=PLAIN * 9)[50:], "the zip archive is damaged"),
        (damaged_lzma(), "it cannot be unpacked and may be damaged"),
        (zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet"), "found an OpenDocument table"),
        (b"id, ID \n1,2\n", "more than one column is named 'id'"),
        (b"id,_file\n1,2\n", "ingest adds a column '_file'"),
        (b"id,m\xfasica\n1,\xc3\xa9\xc3\xa9\n", "the header has bytes that are not UTF-8"),
        (b"id,title\n1,a,b\n2,c,d\n", "the rows have 3 fields, the header has 2"),
        (b"id,title,tempo\n1,a\n2,b\n", "the rows have 2 fields, the header has 3"),
        (b"id^title^tempo\n1^a^3\n2^b, c^4\n", "pass --delimiter '^'"),
        (b"id~title~tempo\n1~a~3\n", "found one column, 'id~title~tempo', with '~'"),
        (b'id title tempo\n1 "a b" 3\n2 c 4\n', "pass --delimiter ' '"),
        ("id,title\n1,a\n".encode("utf-16")[:-1], "the file is not text in the encoding utf-16"),
    ],
)
def test_other_files_are_refused_with_what_they_are(
    spark: SparkSession, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UsageError) as error:
        cells(read(spark, tmp_path, tmp_path / "t.csv"))
    assert message in str(error.value)
    assert "t.csv" in str(error.value)


def test_header_names_have_nothing_around_them(spark: SparkSession, tmp_path: Path) -> None:
    header = ' id ,\tTrack Name\u00a0,\u200b\'mode\',"\nkey ",,…1,…1 ,"a""b"\n'
    (tmp_path / "t.csv").write_text(header + "1,2,3,4,5,6,7,8\n", newline="")
    table = read(spark, tmp_path, tmp_path / "t.csv", ignore=("…1",))
    assert table.rows.columns[:-4] == ["id", "Track Name", "mode", "key", "_c4", 'a"b']
    assert cells(table) == [("1", "2", "3", "4", "5", "8")]
    assert table.left_out.ignored == ("…1",)


@pytest.mark.parametrize(
    ("data", "names", "rows", "above"),
    [
        ("My songs\n\nid,title,tempo\n1,a,3\n2,,4\n", "id title tempo", ["1 a 3", "2 None 4"], 2),
        ("# by X, 2024\r\n# y\r\nid;title;tempo\r\n1;a;3,5\r\n", "id title tempo", ["1 a 3,5"], 2),
        ('sep=;\n"two\nlines";;\nid;title;tempo\n1;a;3\n', "id title tempo", ["1 a 3"], 3),
        ("Songs,,,\n,Names,,Sound\nid,title,a,b\n1,c,2,3\n", "id title a b", ["1 c 2 3"], 2),
        ("Songs\r'id'\t'title'\r1\ta\r2\tb\r", "id title", ["1 a", "2 b"], 1),
        ("id,artists\n1,a;b;c\n2,d;e;f\n", "id artists", ["1 a;b;c", "2 d;e;f"], 0),
        ("id,,title\n1,2,a\n2,3,b\n", "id _c1 title", ["1 2 a", "2 3 b"], 0),
        ("id,title\n1,a\n2,b,c,d,e\n3,c\n", "id title", ["1 a", "2 b", "3 c"], 0),
        ("id,a,b,c\n1,,,\n2,,,3\n", "id a b c", ["1 None None None", "2 None None 3"], 0),
        ("my own song titles\none two\nthree\nfour five six\n", "my own song titles", 3, 0),
        ("id,title\n1,a,\n2,b,\n", "id title _c2", ["1 a None", "2 b None"], 0),
        ("id;title\r\n1;0,5;\r\n2;b;\r\n", "id title _c2", ["1 0,5 None", "2 b None"], 0),
        ("id|title|\n1|a\n2|b\n", "id title", ["1 a", "2 b"], 0),
        ("id,title,\n1,a,\n2,b,\n", "id title _c2", ["1 a None", "2 b None"], 0),
        ("id,title,tempo\n1,a\n2,b,3\n", "id title tempo", 2, 0),
        ("'id','title'\n'1','a, b'\n'2','O''Hara \"x\"'\n", "id title", ["1 a, b", '2 O\'Hara "x"'], 0),
        ("'id';'title'\r\n1;'Rock 'n' Roll'\r\n2;''\r\n", "id title", ["1 Rock 'n' Roll", "2 None"], 0),
        ("'id','title'\n'1','Don\\'t'\n'2','b\nc'\n", "id title", ["1 Don't", "2 b\nc"], 0),
        ("'id','title'\n1,'Til\n2,'Twas\n3,b\n", "id title", ["1 'Til", "2 'Twas", "3 b"], 0),
        ("'id',title\n'1',a\n", "id title", ["'1' a"], 0),
    ],
)
def test_the_header_and_quotes_are_found(
    spark: SparkSession, tmp_path: Path, data: str, names: str, rows: list[str] | int, above: int
) -> None:
    (tmp_path / "t.csv").write_bytes(data.encode())
    table = read(spark, tmp_path, tmp_path / "t.csv")
    found = [" ".join(map(str, row)) for row in cells(table)]
    assert found == rows if isinstance(rows, list) else len(found) == rows
    assert " ".join(table.rows.columns[:-4]) == names
    assert table.expected_rows in (len(found), None)
    assert table.format.lines_above == above
    assert ("above the header" in table.format.description) == bool(above)


def test_titles_and_single_quotes_of_large_files(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_files, "SAMPLE", 64)
    rows = [(str(number), f"Rock 'n' {number}") for number in range(40)]
    text = "Songs\nid,title\n" + "".join(",".join(row) + "\n" for row in rows)
    (tmp_path / "title.csv").write_text(text + 'z,"two\nlines"\n')
    (tmp_path / "quotes.csv").write_text("'id','title'\n" + "".join(f"'{id_}','{t}'\n" for id_, t in rows))
    (tmp_path / "latin1.csv").write_bytes((text + "z,é\n").encode("latin-1"))
    for name, last in (("title", [("z", "two\nlines")]), ("quotes", []), ("latin1", [("z", "é")])):
        table = read(spark, tmp_path, tmp_path / f"{name}.csv")
        assert cells(table) == [*rows, *last]
        assert table.rows.columns[:2] == ["id", "title"]
        assert malformed(table) == []


def test_damaged_rows_of_a_utf8_file_are_rejected(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("id,title\n1,é\n2,ü\n3,ñ\n".encode() + b"4,\xe9t\xe9\n5,b\n")
    table = read(spark, tmp_path, tmp_path / "t.csv")
    assert [text.partition(": ")[0] for text in malformed(table)] == ["the row has bytes that are not UTF-8"]
    assert "1 rows with bytes that are not utf-8" in table.format.description
    forced = read(spark, tmp_path, tmp_path / "t.csv", encoding="latin1")
    assert cells(forced)[3] == ("4", "été")
    assert malformed(forced) == []


def test_a_record_that_cannot_be_whole_is_rejected_once_with_advice(
    spark: SparkSession, tmp_path: Path
) -> None:
    text = 'id,title\n1,"two\n2,b\n3,"c ""x"""\n4,"d"\n5,"real\nbreak"\n6,"x" y\n'
    (tmp_path / "t.csv").write_text(text)
    table = read(spark, tmp_path, tmp_path / "t.csv")
    assert [cell for cell in cells(table) if not cell[0].startswith("a quoted")] == [
        ("2", "b"),
        ("3", 'c "x"'),
        ("4", "d"),
        ("6", '"x" y'),
    ]
    assert [text.partition("pass --multiline: ")[2][:14] for text in malformed(table)] == [
        "1,'two\",,",
        "5,'real break'",
    ]


@pytest.mark.parametrize(
    ("late", "row", "description"),
    [
        (b"z,\xe9t\xe9\n", ("z", "été"), "encoding cp1252"),
        (b'z,"two\nlines"\n', ("z", "two\nlines"), "line breaks in quoted fields"),
        (b'z,"a \\"b\\", c"\n', ("z", 'a "b", c'), r"quotes escaped as \""),
    ],
)
def test_what_comes_after_the_sample_is_found(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    late: bytes,
    row: tuple[str],
    description: str,
) -> None:
    monkeypatch.setattr(csv_files, "SAMPLE", 64)
    data = b"id,title\n" + b"".join(b"%d,a\n" % number for number in range(40))
    for name, packed in (("t.csv", data + late), ("t.csv.gz", gzip.compress(data + late))):
        (tmp_path / name).write_bytes(packed)
        table = read(spark, tmp_path, tmp_path / name)
        assert cells(table)[-1] == row
        assert len(cells(table)) == 41
        assert malformed(table) == []
        assert description in table.format.description
        assert table.expected_rows == (None if "line breaks" in description else 41)


def test_files_of_a_folder_may_differ_in_encoding_but_not_in_columns(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = tmp_path / "days"
    for day, data in (("a", "id,title\n1,é\n".encode()), ("b:1", "id,title\n2,ü\n".encode("cp1252"))):
        (folder / f"dt=2026-{day.replace(':', '%3A')}").mkdir(parents=True)
        (folder / f"dt=2026-{day.replace(':', '%3A')}" / "t.csv").write_bytes(data)
    (folder / "_SUCCESS").touch()
    (folder / ".t.csv.crc").write_bytes(b"crc")
    (folder / "empty.csv").touch()
    for name in ("README.md", "LICENSE", "readme_songs.txt"):
        (folder / name).write_text("# About\n")
    table = read(spark, tmp_path, folder)
    assert sorted(cells(table)) == [("1", "é", "2026-a"), ("2", "ü", "2026-b:1")]
    assert table.left_out.partitions == ("dt",)
    (folder / "other.csv").write_text("id;title\n3;x\n")
    with pytest.raises(UsageError, match=r"other.csv: expected the header of .*'id;title' instead of 'id'"):
        read(spark, tmp_path, folder)
    (folder / "other.csv").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"expected files of one kind"):
        read(spark, tmp_path, folder)


def test_a_packed_file_that_expands_without_end_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_files, "SMALL", 1 << 20)
    (tmp_path / "t.zip").write_bytes(zipped(a_csv=b"id,title\n" + b"0," * (1 << 22)))
    with pytest.raises(UsageError, match="expands to more than 200 times its size"):
        cells(read(spark, tmp_path, tmp_path / "t.zip"))


@pytest.mark.parametrize("flags", [{"encoding": "klingon"}, {"encoding": "base64"}, {"delimiter": "||"}])
def test_wrong_flags_are_refused(spark: SparkSession, tmp_path: Path, flags: dict[str, Any]) -> None:
    (tmp_path / "t.csv").write_bytes(PLAIN)
    with pytest.raises(UsageError, match=f"--{next(iter(flags))} .*expected"):
        read(spark, tmp_path, tmp_path / "t.csv", **flags)


@pytest.mark.parametrize(
    ("name", "column", "row", "value"),
    [
        ("latin1.csv", "track_genre", 7, "música"),
        ("european.csv", "danceability", 0, "0,255"),
        ("excel-unicode.txt", "track_genre", 7, "pop"),
        ("archive.zip", "track_genre", 7, "pop"),
        ("lastcol-newline.csv", "track_name", 5, "Part one\nPart two"),
        ("spark-written.csv", "track_name", 7, 'The "Best", live'),
        ("spark-written.csv", "track_name", 9, 'Say "Hi"'),
        ("mixed-eol.csv", "track_genre", 7, "pop"),
    ],
)
def test_the_collected_cases(
    spark: SparkSession, tmp_path: Path, name: str, column: str, row: int, value: str
) -> None:
    path = real_data(f"cases/tables/{name}")
    for multiline in (False, True):
        table = read(spark, tmp_path, path, multiline=multiline)
        rows = table.rows.collect()
        assert len(rows) == 60
        assert rows[row][column] == value
        assert malformed(table) == []


def test_the_collected_public_tables(spark: SparkSession, tmp_path: Path) -> None:
    songs = read(spark, tmp_path, real_data("cases/public/Spotify-2000.csv"))
    assert (songs.rows.count(), len(songs.rows.columns), malformed(songs)) == (1994, 18, [])
    playlists = read(spark, tmp_path, real_data("cases/public/playlists-pipe.csv"))
    assert (playlists.rows.count(), len(playlists.rows.columns), malformed(playlists)) == (3123, 28, [])
