"""Tables that people have published or complained about, each with the right answer."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession, functions as F

from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, evaluate, ingest, init, train
from genremill.jobs.catalog import table_reader
from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
from genremill.jobs.catalog.leaks import leaking
from genremill.jobs.catalog.settings import Options
from tests.conftest import real_data
from tests.spark.ingested import Ingested

CORE = {
    *("popularity", "duration_ms", "explicit", "danceability", "energy", "key", "loudness", "mode"),
    *("speechiness", "acousticness", "instrumentalness", "liveness", "valence", "tempo", "time_signature"),
}


def case(spark: SparkSession, folder: Path, name: str, *flags: str) -> Ingested:
    return Ingested(spark, folder, str(real_data(f"cases/tables/{name}")), *flags)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("filtered.parquet", "__index_level_0__"),
        ("readr.csv", "...1"),
        ("noise-with-index.parquet", "__index_level_0__"),
    ],
)
def test_a_row_index_is_no_feature(spark: SparkSession, tmp_path: Path, name: str, column: str) -> None:
    found = case(spark, tmp_path, name)
    assert column not in found.features
    use = found.uses()[column]
    assert (use["uses"], use["reason"]) == (
        ["ignored"],
        "row numbers: whole numbers in the order of the rows",
    )


def test_a_blank_cell_is_a_missing_value(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "holes.csv")
    assert found.current.snapshot.rows == 60
    assert sum(value is None for value in found.values("key").values()) == 12
    assert found.uses()["key"]["missing"] == pytest.approx(0.2)


def test_a_look_alike_of_a_missing_column_is_refused(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert case(spark, tmp_path, "spotify_data.csv", "--columns.genre", "genre").exit_code == 2
    assert "--columns.artists artist_name" in capsys.readouterr().err
    flags = ["--columns.genre", "genre", "--columns.artists", "artist_name"]
    assert (
        len({row["artist_id"] for row in case(spark, tmp_path, "spotify_data.csv", *flags).rows().values()})
        == 30
    )


def test_written_lists_are_lists(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "lists.csv").rows().values()
    artists = {tuple(row["artists"]) for row in rows}
    assert ("Guest Star",) in artists
    assert ("Solo 1", "Guest Star") in artists
    assert {len(row["genres"]) for row in rows} == {2}
    assert len({genre for row in rows for genre in row["genres"]}) == 4


def test_a_list_of_structs_is_read_by_name(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "api.parquet").rows()
    assert len({row["artists"][0] for row in rows.values()}) == 30
    assert sum("Guest" in row["artists"] for row in rows.values()) == 30
    assert len({row["artist_id"] for row in rows.values()}) == 30


def test_entities_are_decoded(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "entities.csv").rows().values()
    assert {len(row["artists"]) for row in rows} == {1}
    assert "Salt & Pepper 0" in {row["artists"][0] for row in rows}
    assert not any("&amp;" in row["artists"][0] for row in rows)
    genres = {genre for row in rows for genre in row["genres"]}
    assert "r&b" in genres
    assert "r&amp;b" not in genres


def test_one_genre_in_many_spellings_is_one_class(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "mess.csv").rows().values()
    assert {tuple(row["genres"]) for row in rows} == {("rock",), ()}


def test_one_name_in_two_unicode_forms_is_one_artist(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "nfd.csv").rows()
    assert rows["id00000"]["artist_id"] == rows["id00001"]["artist_id"]
    assert {row["artists"][0] for row in rows.values() if row["artists"][0].startswith("Sigur")} == {
        "Sigur Rós"
    }


def test_nul_characters_are_removed(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "nul.csv")
    rows = found.rows().values()
    assert not any(
        "\0" in text for row in rows for text in (row["track_id"], row["title"] or "", *row["genres"])
    )
    assert found.current.snapshot.rows == 60


def test_numbers_with_thousands_units_and_percent(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "units.csv")
    assert found.values("dance_%")["id00000"] == 25.0
    assert found.values("tempo")["id00000"] == pytest.approx(151.474, abs=1e-4)
    assert "streams" not in found.features
    assert "popularity" in found.uses()["streams"]["reason"]


def test_decimal_commas(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "european.csv")
    assert set(found.features) == CORE
    assert found.values("tempo")["id00000"] == pytest.approx(151.474, abs=1e-4)
    assert found.values("loudness")["id00000"] == pytest.approx(-8.592, abs=1e-4)


def test_minutes_and_seconds(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "mmss.csv", "--columns.duration", "length")
    assert found.rows()["id00000"]["duration_s"] == 269.0
    assert found.values("length")["id00000"] == 269_000.0


def test_seconds_in_a_column_of_milliseconds(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "seconds.csv")
    assert found.rows()["id00000"]["duration_s"] == pytest.approx(269.213)
    assert "read as seconds" in found.uses()["duration_ms"]["reason"]


def test_dates_and_other_types_of_pandas(spark: SparkSession, tmp_path: Path) -> None:
    assert set(case(spark, tmp_path, "float16.parquet").features) == CORE


def test_folder_names_are_no_features(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "hive")
    assert set(found.features) == CORE
    assert found.uses()["dt"]["uses"] == ["ignored"]


def test_a_code_of_the_genre_is_no_feature(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(real_data("cases/tables/plain.csv"))
    table["shelf"] = pd.factorize(table["track_genre"])[0] * 10 + 3
    table.to_csv(tmp_path / "t.csv", index=False)
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv"))
    assert set(found.features) == CORE
    assert "it gives the label away" in found.uses()["shelf"]["reason"]
    assert "column 'shelf' is not used as a feature" in capsys.readouterr().err
    named = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), "--columns.features", "shelf", "tempo")
    assert named.features == ["shelf", "tempo"]


def test_a_model_of_noise_is_no_better_than_chance(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("noise.parquet", "noise-with-index.parquet"):
        found = case(spark, tmp_path / name, name)
        flags = ["--warehouse", found.warehouse.uri, "--model", "fcnn", "--inputs", "table"]
        assert train.main([*flags, "--workers", "1"]) == 0
        assert evaluate.main(["--warehouse", found.warehouse.uri]) == 0
        (report,) = (tmp_path / name / "warehouse" / "reports").glob("*/metrics.json")
        assert json.loads(report.read_text())["top1"]["value"] < 0.25


def test_a_dry_run_prints_the_columns_and_writes_nothing(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(real_data("cases/tables/units.csv"))
    flags = ["--warehouse", str(tmp_path / "w"), "--tracks", table, "--dry-run"]
    assert ingest.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    (streams,) = (line for line in lines if line.startswith("streams"))
    assert "ignored" in streams
    assert not (tmp_path / "w").exists()
    assert ingest.main([*flags, "--json"]) == 0
    columns = json.loads(capsys.readouterr().out)["columns"]
    assert {use["column"]: use["uses"] for use in columns}["tempo"] == ["numeric feature"]


def test_a_dry_run_converts_only_the_first_lines_and_removes_them(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reader, "DRY_RUN_LINES", 30)
    table = pd.read_csv(real_data("cases/tables/plain.csv"), dtype=str)
    table["track_name"] = "Beyonc\xe9"
    table.to_csv(tmp_path / "t.csv", index=False, encoding="latin-1")
    table.to_excel(tmp_path / "t.xlsx", index=False)
    (tmp_path / "mine").mkdir()
    for name in ("t.csv", "t.xlsx"):
        work = command.Run(Warehouse.at(str(tmp_path / "scratch")), "r", dry_run=True)
        opened = table_reader.read_table(spark, work, CatalogSource(TABLE, str(tmp_path / name)), Options())
        assert opened.rows.count() == 29
        for warehouse in ("new", "mine"):
            flags = ["--warehouse", str(tmp_path / warehouse), "--tracks", str(tmp_path / name), "--dry-run"]
            assert ingest.main(flags) == 0
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "mine").iterdir())


def test_a_leak_among_few_labeled_rows_is_found(spark: SparkSession) -> None:
    label = F.when(F.col("id") < 200, F.col("id") % 4)
    rows = spark.range(100_000).select(
        F.col("id").cast("string").alias("track_id"),
        F.array(F.col("id") % 4, F.rand(1)).alias("numbers"),
        F.when(label.isNotNull(), F.array(label.cast("string"))).otherwise(F.array()).alias("genres"),
    )
    assert leaking(rows, 2, labeled_rows=200) == {0: 1.0}


def test_rows_without_ids(spark: SparkSession, tmp_path: Path) -> None:
    table = pd.read_csv(real_data("cases/tables/plain.csv"), dtype=str).drop(columns="track_id")
    again = table.head(10).assign(track_genre="ska")  # the same rows under another genre
    other = table.head(5).assign(tempo="1.5")  # other rows of the same songs
    table = pd.concat([table, again, other])
    table.to_csv(tmp_path / "t.csv", index=False)
    rows = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), "--columns.id", "none").rows()
    assert len(rows) == 65
    assert sum(row["genres"][-1:] == ["ska"] for row in rows.values()) == 10
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "s").mkdir()
    assert set(
        Ingested(spark, tmp_path / "s", str(tmp_path / "s.csv"), "--columns.id", "none").rows()
    ) == set(rows)


def test_mostly_missing_columns_are_dropped(spark: SparkSession, tmp_path: Path) -> None:
    table = pd.read_csv(real_data("cases/tables/plain.csv"), dtype=str)
    table.loc[table.index % 3 > 0, "energy"] = "?"
    table.loc[table.index % 3 == 0, "valence"] = "n.n."
    table.to_csv(tmp_path / "t.csv", index=False)
    flags = ["--missing", "n.n."]
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), *flags)
    assert set(found.features) == CORE - {"energy"}
    assert "66.7% of the rows have no value" in found.uses()["energy"]["reason"]
    assert found.uses()["valence"]["missing"] == pytest.approx(1 / 3)
    wide = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), *flags, "--max-missing", "0.7")
    assert set(wide.features) == CORE


def test_latin_1(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "latin1.csv").rows().values()
    assert {row["artists"][0] for row in rows} >= {"Beyoncé", "Beyoncè"}
    assert "música" in {genre for row in rows for genre in row["genres"]}
    assert not any(
        "\ufffd" in text for row in rows for text in (row["title"], *row["artists"], *row["genres"])
    )


def test_line_ends_of_two_kinds(spark: SparkSession, tmp_path: Path) -> None:
    rows = case(spark, tmp_path, "mixed-eol.csv", "--multiline").rows().values()
    assert {tuple(row["genres"]) for row in rows} == {("pop",), ("rock",), ("jazz",)}


def test_a_line_break_in_the_last_column(spark: SparkSession, tmp_path: Path) -> None:
    found = case(spark, tmp_path, "lastcol-newline.csv")
    assert found.current.snapshot.rows == 60
    assert found.rows()["id00005"]["title"] == "Part one Part two"


def test_quotes_as_spark_writes_them(spark: SparkSession, tmp_path: Path) -> None:
    titles = {row["title"] for row in case(spark, tmp_path, "spark-written.csv").rows().values()}
    assert {'The "Best", live', 'Say "Hi"'} <= titles


@pytest.mark.parametrize("name", ["archive.zip", "excel-unicode.txt", "dates.parquet", "days", "plain.csv"])
def test_a_table_is_read_whole(spark: SparkSession, tmp_path: Path, name: str) -> None:
    found = case(spark, tmp_path, name)
    assert found.current.snapshot.rows == 60
    assert set(found.features) == CORE
    assert not any(value is None for row in found.rows().values() for value in row["table_features"])


def test_colons_in_the_name_of_a_file(spark: SparkSession, tmp_path: Path) -> None:
    copy = tmp_path / "tracks_2026-11-28T02:15:00.csv"
    shutil.copy(real_data("cases/tables/plain.csv"), copy)
    assert Ingested(spark, tmp_path, str(copy)).current.snapshot.rows == 60


def test_an_excel_file_of_a_public_table(spark: SparkSession, tmp_path: Path) -> None:
    table = pd.read_csv(real_data("cases/public/Spotify-2000.csv"), sep=";", encoding="utf-8-sig")
    table.to_excel(tmp_path / "t.xlsx", index=False)
    assert init.main(["--tracks", str(tmp_path / "t.xlsx"), "--output", str(tmp_path / "c.yaml")]) == 0
    found = Ingested(spark, tmp_path, str(tmp_path / "t.xlsx"), "--config", str(tmp_path / "c.yaml"))
    assert found.current.snapshot.rows == 1994
    assert len(found.features) == 11
    durations = [row["duration_s"] for row in found.rows().values() if row["duration_s"]]
    assert max(durations) == 1412
    assert len(durations) == 1993
