"""Files with any name are read: what Spark, Hadoop or a URI gives a meaning is an ordinary character."""

from pathlib import Path
from urllib.parse import quote

import pytest
from pyspark.sql import Row, SparkSession

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, command
from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.source_files import source_files
from genremill.jobs.catalog.table_reader import read_table

NAMES = [
    "a b.csv",
    " a.csv ",
    "a#b.csv",
    "100%.csv",
    "a%20b.csv",
    "a+b.csv",
    "a?b.csv",
    "a*b.csv",
    "[ab].csv",
    "{a,b}.csv",
    "a\\b.csv",
    "a'\"b.csv",
    "a\nb.csv",
    "Beyoncé 音楽.csv",
    "tracks_2026-11-28T02:15:00.csv",
    "a:b:c.csv",
    "s3a:x.csv",
]
DECOYS = ["axb.csv", "ab.csv", "a.csv", "b.csv", "a b x.csv"]
"""Files that some of the names would match as a pattern."""


def rows_of(spark: SparkSession, scratch: Path, uri: str, *, multiline: bool = False) -> list[Row]:
    """The rows of a table."""
    work = command.Run(Warehouse.at(str(scratch / "w")), "run")
    return read_table(spark, work, CatalogSource(TABLE, uri), Options(multiline=multiline)).rows.collect()


def read(spark: SparkSession, scratch: Path, location: str) -> list[str]:
    """The ids of a table, after the check without Spark."""
    uri = storage.absolute_uri(location)
    source_files(uri)
    return sorted(row["id"] for row in rows_of(spark, scratch, uri))


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in DECOYS:
        (tmp_path / name).write_text("id,genre\nwrong,rock\n")
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_only_the_named_file_is_read(
    spark: SparkSession, folder: Path, scratch: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / name).write_text("id,genre\nright,rock\n")
    monkeypatch.chdir(folder)
    for location in (f"{folder}/{name}", f"file://{quote(str(folder / name))}", f"./{name}"):
        assert read(spark, scratch, location) == ["right"]


@pytest.mark.parametrize("name", NAMES)
def test_line_breaks_are_read_in_a_file_of_any_name(
    spark: SparkSession, folder: Path, scratch: Path, name: str
) -> None:
    (folder / name).write_text('id,genre\nright,"ro\nck"\n')
    rows = rows_of(spark, scratch, f"file://{folder}/{name}", multiline=True)
    assert [(row["id"], row["genre"]) for row in rows] == [("right", "ro\nck")]


@pytest.mark.parametrize("name", ["a b#%?*é", "[x]{y}", "2026-11-28T02:15:00", "dt=a:b"])
def test_a_folder_of_any_name_with_files_of_any_name_is_read(
    spark: SparkSession, tmp_path: Path, scratch: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    for number, file in enumerate(NAMES):
        (tmp_path / name / file).write_text(f"id,genre\n{number},rock\n")
    assert read(spark, scratch, f"{tmp_path}/{name}") == sorted(map(str, range(len(NAMES))))


@pytest.mark.parametrize("name", ["t[0].parquet", "t_02:15:00.parquet", "a?b%20 é.parquet"])
def test_a_parquet_file_of_any_name_is_read(
    spark: SparkSession, folder: Path, scratch: Path, name: str
) -> None:
    frame = spark.createDataFrame([("right", "rock")], "id string, genre string")
    frame.coalesce(1).write.parquet(f"file://{folder}/written")
    next((folder / "written").glob("*.parquet")).rename(folder / name)
    assert read(spark, scratch, f"{folder}/{name}") == ["right"]


def test_a_reject_names_the_file_as_it_is_written(spark: SparkSession, folder: Path) -> None:
    table = folder / "a b+c%20é.csv"
    table.write_text("track_id,track_genre\nt0,rock\n,rock\n")
    assert cli.main(["ingest", "--warehouse", f"{folder}/wh", "--tracks", str(table)]) == 0
    (key,) = (row["key"] for row in spark.read.parquet(f"{folder}/wh/rejects").collect())
    assert key.endswith("/a b+c%20é.csv:2")


def test_a_literal_percent_code_in_a_plain_path_is_not_decoded(
    spark: SparkSession, folder: Path, scratch: Path
) -> None:
    (folder / "a%20b.csv").write_text("id,genre\nencoded,rock\n")
    (folder / "a b.csv").write_text("id,genre\nblank,rock\n")
    assert read(spark, scratch, f"{folder}/a%20b.csv") == ["encoded"]
    assert read(spark, scratch, f"file://{folder}/a%20b.csv") == ["blank"]
    assert read(spark, scratch, f"file://{folder}/a%2520b.csv") == ["encoded"]


def test_a_folder_before_two_dots_may_be_a_link(spark: SparkSession, tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "t.csv").write_text("id,genre\nright,rock\n")
    (tmp_path / "t.csv").write_text("id,genre\nwrong,rock\n")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    assert read(spark, scratch, f"{tmp_path}/link/../t.csv") == ["right"]


def test_a_name_that_is_no_text_is_a_permanent_error(tmp_path: Path) -> None:
    (tmp_path / "caf\udce9.csv").write_text("id,genre\nt0,rock\n")
    for location in (str(tmp_path), f"{tmp_path}/caf\udce9.csv", f"file://{tmp_path}/caf%E9.csv"):
        with pytest.raises(UsageError, match="not valid UTF-8; rename the file"):
            source_files(storage.absolute_uri(location))
        assert cli.main(["ingest", "--warehouse", f"{tmp_path}/wh", "--tracks", location]) == 2
