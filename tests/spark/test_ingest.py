"""`ingest`: which rows are accepted or rejected, and how tracks are grouped and split."""

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession, functions as F

from tests.conftest import BASE_ROW, catalog, real_data, write_csv
from tests.spark.ingested import Ingested


def test_a_track_under_two_genres_is_one_row(spark: SparkSession, tmp_path: Path) -> None:
    rows = [*catalog(3), catalog(1, track_genre="pop")[0], catalog(1, track_genre="pop")[0]]
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows)).rows()
    assert found["t0"]["genres"] == ["pop", "rock"]
    assert found["t0"]["source_rows"] == 3
    assert found["t1"]["genres"] == ["rock"]
    assert len(found) == 3


def test_names_keep_digits_and_are_trimmed(spark: SparkSession, tmp_path: Path) -> None:
    names = {"artists": " 070 Shake ; Sum 41;Galaxy 500;000", "track_genre": " 00s "}
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", [*catalog(2), {"track_id": "n"} | names]))
    row = found.rows()["n"]
    assert row["artists"] == ["070 Shake", "Sum 41", "Galaxy 500", "000"]
    assert row["genres"] == ["00s"]


def test_kept_columns_may_have_any_name(spark: SparkSession, tmp_path: Path) -> None:
    rows = catalog(3)
    table = pd.DataFrame([BASE_ROW | row for row in rows]).drop(columns="").assign(**{"is.rc `x`": "A1"})
    table.to_parquet(tmp_path / "t.parquet")
    flags = ["--columns.keep", "is.rc `x`", "track_genre"]
    found = Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), *flags).rows()["t0"]
    assert (found["is.rc `x`"], found["track_genre"], found["genres"]) == ("A1", "rock", ["rock"])


def test_rows_of_a_file_without_a_column_lack_its_value(spark: SparkSession, tmp_path: Path) -> None:
    table = pd.DataFrame([BASE_ROW | row for row in catalog(40)]).drop(columns="")
    (tmp_path / "in").mkdir()
    table[:1].drop(columns="tempo").to_parquet(tmp_path / "in" / "a.parquet")
    table[1:].to_parquet(tmp_path / "in" / "b.parquet")
    found = Ingested(spark, tmp_path, str(tmp_path / "in"))
    assert [name for name, value in found.values("tempo").items() if value is None] == ["t0"]


def test_partition_folders_become_columns(spark: SparkSession, tmp_path: Path) -> None:
    for at, market in enumerate(("no", "se")):
        (tmp_path / "in" / f"market={market}").mkdir(parents=True)
        write_csv(tmp_path / "in" / f"market={market}" / "t.csv", catalog(4)[2 * at : 2 * at + 2])
    found = Ingested(spark, tmp_path, str(tmp_path / "in"), "--columns.keep", "market")
    markets = {name: row["market"] for name, row in found.rows().items()}
    assert markets == {"t0": "no", "t1": "no", "t2": "se", "t3": "se"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"track_id": [0.5, 1.0]}, "--columns.id track_id: expected text or whole numbers, found double"),
        ({"_file": ["x", "y"]}, "ingest adds a column '_file'"),
    ],
)
def test_an_invalid_parquet_table_is_a_usage_error(
    spark: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, list[object]],
    message: str,
) -> None:
    table = pd.DataFrame([BASE_ROW | row for row in catalog(2)]).drop(columns="").assign(**change)
    table.to_parquet(tmp_path / "t.parquet")
    assert Ingested(spark, tmp_path, str(tmp_path / "t.parquet")).exit_code == 2
    assert message in capsys.readouterr().err


def test_a_damaged_file_is_a_usage_error(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = gzip.compress(Path(write_csv(tmp_path / "t.csv", catalog(500))).read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert Ingested(spark, tmp_path, str(tmp_path / "cut.csv.gz")).exit_code == 2
    assert "cut.csv.gz cannot be read as a table" in capsys.readouterr().err


def test_a_bad_value_costs_the_value_and_a_bad_row_the_row(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad: dict[str, dict[str, Any]] = {
        "missing": {"energy": ""},
        "not-a-number": {"valence": "NaN"},
        "inf": {"valence": "Infinity"},
        "huge": {"valence": "1e300"},
        "text": {"loudness": "loud"},
        "zero": {"duration_ms": 0},
    }
    spoiled = [{"track_id": name} | change for name, change in bad.items()]
    table = write_csv(tmp_path / "t.csv", [*catalog(200), *spoiled, {"track_id": "  "}])
    with Path(table).open("a") as out:
        out.write("999,short,row\n")
    found = Ingested(spark, tmp_path, table, "--json")
    assert found.exit_code == 0
    for name, change in bad.items():
        assert found.values(next(iter(change)))[name] is None
    summary = json.loads(capsys.readouterr().out)
    assert summary["missing"] == {"duration_ms": 1, "energy": 1, "valence": 1}
    assert summary["not_numbers"] == {"loudness": 1, "valence": 2}
    rejects = found.rejects()
    assert rejects["short"][0] == "malformed_row"
    assert [reason for key, (reason, _) in rejects.items() if key.endswith("t.csv:207")] == ["no_id"]
    assert len(rejects) == 2
    assert sum(row["source_rows"] for row in found.rows().values()) + len(rejects) == 208


def test_codes_for_unknown_values_are_kept_as_numbers(spark: SparkSession, tmp_path: Path) -> None:
    rows = [*catalog(5), {"track_id": "odd", "tempo": 0, "time_signature": 0, "key": -1}]
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows))
    names = [feature["name"] for feature in found.current.snapshot.details["features"]]
    values = dict(zip(names, found.rows()["odd"]["table_features"], strict=True))
    assert (values["tempo"], values["time_signature"], values["key"]) == (0, 0, -1)


def test_ids_are_text_and_the_row_index_is_not_a_feature(spark: SparkSession, tmp_path: Path) -> None:
    rows = [row | {"track_id": f"00{at}"} for at, row in enumerate(catalog(4))]
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows))
    assert set(found.rows()) == {"000", "001", "002", "003"}
    names = [feature["name"] for feature in found.current.snapshot.details["features"]]
    assert names[:2] == ["popularity", "duration_ms"]
    assert len(names) == 15
    assert "_c0" not in names


def test_quotes_in_a_quoted_field_do_not_shift_columns(spark: SparkSession, tmp_path: Path) -> None:
    title = 'The "Best", Of; All\\'
    rows = [*catalog(3), {"track_id": "q", "track_name": title}]
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows)).rows()["q"]
    assert found["title"] == title
    assert found["duration_s"] == 200.0


def test_multiline_reads_line_breaks_in_fields_as_blanks(spark: SparkSession, tmp_path: Path) -> None:
    rows = [*catalog(3), {"track_id": "q", "track_name": "two\nlines"}]
    found = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows), "--multiline").rows()
    assert found["q"]["title"] == "two lines"


def test_rereleases_are_one_recording_and_an_artist_is_in_one_split(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = catalog(60)
    rows[1] |= {"tempo": rows[0]["tempo"], "popularity": 3}  # same vector but popularity
    rows[2] |= {"track_name": " TITLE 1 ", "artists": "artist 1;Guest"}  # same title and first artist as 1
    rows[3] |= {"artists": "Artist 2"}
    rows[4] |= {"track_name": "", "artists": ""}
    rows[5] |= {"track_name": "", "artists": ""}
    found = Ingested(
        spark, tmp_path, write_csv(tmp_path / "t.csv", rows), "--fractions", ".5", ".25", ".25"
    ).rows()
    assert {found[f"t{at}"]["recording_id"] for at in (0, 1, 2)} == {"t0"}
    assert found["t3"]["recording_id"] == "t3"
    assert found["t4"]["recording_id"] != found["t5"]["recording_id"]
    splits: dict[str, set[str]] = {}
    for row in found.values():
        splits.setdefault(row["artist_id"], set()).add(row["split"])
    assert {len(parts) for parts in splits.values()} == {1}
    assert {row["split"] for row in found.values()} == {"train", "validation", "test"}


def test_splits_do_not_depend_on_order_or_partitions(spark: SparkSession, tmp_path: Path) -> None:
    rows = catalog(40)
    (tmp_path / "b").mkdir()
    from_csv = Ingested(spark, tmp_path, write_csv(tmp_path / "a.csv", rows)).rows()
    spark.read.options(header=True).csv(str(tmp_path / "a.csv")).repartition(5).write.parquet(
        str(tmp_path / "p")
    )
    from_parquet = Ingested(spark, tmp_path / "b", str(tmp_path / "p")).rows()
    assert {key: row["split"] for key, row in from_csv.items()} == {
        key: row["split"] for key, row in from_parquet.items()
    }
    assert {key: row["table_features"] for key, row in from_csv.items()} == {
        key: row["table_features"] for key, row in from_parquet.items()
    }


def test_a_known_track_keeps_its_split_and_new_tracks_of_its_group_get_the_same(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = catalog(30)
    before = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", rows)).rows()
    # "!" sorts before every other id, so the new track changes the hash of its group.
    new = [row | {"track_id": f"!{row['track_id']}", "track_name": "New", "valence": 0.9} for row in rows]
    after = Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", [*rows, *new])).rows()
    assert {key: row["split"] for key, row in before.items()} == {key: after[key]["split"] for key in before}
    assert all(after[f"!{key}"]["split"] == row["split"] for key, row in before.items())


def test_a_table_can_have_no_features_and_no_labels(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("track_id,audio_uri\na,file:///x.wav\nb,file:///y.wav\n")
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv")).rows()
    assert found["a"]["table_features"] == []
    assert found["a"]["genres"] == []
    assert found["b"]["audio_uri"] == "file:///y.wav"


def test_the_split_file_sets_the_splits(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,split\nt0,train\nt1,test\n")
    table = write_csv(tmp_path / "t.csv", catalog(3))
    found = Ingested(spark, tmp_path, table, "--split-file", str(tmp_path / "s.csv")).rows()
    assert {key: row["split"] for key, row in found.items()} == {
        "t0": "train",
        "t1": "test",
        "t2": "unlisted",
    }


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (
            "id,split\nt0.wav,train\n",
            "none of its ids is in the table; it has ids such as 't0.wav', the table has ids such as 't",
        ),
        ("id,split\nt0,valid\n", "expected train, validation or test; found 'valid'"),
        ("track,split\nt0,train\n", "expected the columns id, split; found track, split"),
        ("id,split\nt0,train\nt0,test\n", "'t0' is in more than one split"),
    ],
)
def test_an_invalid_split_file_is_a_usage_error(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], listed: str, message: str
) -> None:
    (tmp_path / "s.csv").write_text(listed)
    table = write_csv(tmp_path / "t.csv", catalog(3))
    found = Ingested(spark, tmp_path, table, "--split-file", str(tmp_path / "s.csv"))
    assert found.exit_code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("", [], "is empty; expected a CSV, Parquet or Excel table"),
        ("track_id,tempo\n", [], "it has a header and no rows"),
        ("track_id;tempo\na;1\n", ["--delimiter", ","], "Found 1 columns: 'track_id;tempo'"),
        ("track_id||tempo\na||1\n", ["--delimiter", "||"], "--delimiter '||': expected one character"),
        (f"{'a' * 140_000}\n", [], "the first line is not a header"),
        ("id,tempo\na,1\n", [], "no column 'track_id', but 'id' may be the id: add --columns.id id, or"),
        ("number,tempo\na,1\n", [], "no column for --columns.id track_id; add --columns.id COLUMN"),
        ("track_id,tempo\na,1\n", ["--columns.genre", "style"], "no column for --columns.genre style"),
        ("track_id,tempo\na,1\n", ["--columns.keep", "isrc"], "no column for --columns.keep isrc"),
        ("track_id,label\na,1\n", ["--columns.keep", "label"], "genremill adds columns of that name"),
        ("track_id,tempo\na,1\n", ["--fractions", ".5", ".1", ".1"], "add up to 1"),
        ("track_id,tempo\n,1\n", [], "no usable row, 1 of 1 rejected"),
        ("track_id,tempo,Tempo\na,1,2\n", [], "more than one column is named 'tempo'"),
        ("track_id,tempo\na,1\n", ["--fractions", "nan", ".5", ".5"], "add up to 1"),
        ("track_id,tempo\na,1\n", ["--columns.ignore", "track_id"], "it is the id"),
        ("track_id,tempo\na,1\n", ["--columns.features", "tempo", "tempo"], "names 'tempo' twice"),
        ("track_id,tempo\na,1\n", ["--max-missing", "2"], "--max-missing 2: expected a share from 0 to 1"),
        ("track_id,tempo\na,1\n", ["--limit", "0"], "--limit 0: expected 1 to"),
    ],
)
def test_an_invalid_table_is_a_usage_error(
    spark: SparkSession,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    flags: list[str],
    message: str,
) -> None:
    (tmp_path / "t.csv").write_text(text)
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), *flags)
    assert found.exit_code == 2
    assert message in capsys.readouterr().err
    assert found.warehouse.current("tracks") is None


def test_a_wrong_path_is_a_usage_error(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Ingested(spark, tmp_path, str(tmp_path / "nowhere.csv")).exit_code == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert Ingested(spark, tmp_path, str(tmp_path / "t*.csv")).exit_code == 2
    assert "* ? [ ] { } in a path stand for themselves, not for a pattern" in capsys.readouterr().err
    write_csv(tmp_path / "t.csv", catalog(2))
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    write_csv(tmp_path / "in" / "t.csv", catalog(2))
    assert Ingested(spark, tmp_path, str(tmp_path / "in")).exit_code == 2
    assert "contains the folder 'deeper'" in capsys.readouterr().err
    (tmp_path / "bare").mkdir()
    assert Ingested(spark, tmp_path, str(tmp_path / "bare")).exit_code == 2
    assert "or an empty folder" in capsys.readouterr().err
    (tmp_path / "t.parquet").write_text("<html>503 Slow Down</html>")
    assert Ingested(spark, tmp_path, str(tmp_path / "t.parquet")).exit_code == 2
    assert "t.parquet: expected a CSV, Parquet or Excel table; found a web page" in capsys.readouterr().err
    (tmp_path / "t.parquet").write_text("503 Slow Down")
    assert Ingested(spark, tmp_path, str(tmp_path / "t.parquet")).exit_code == 2
    assert "the file is not Parquet, although its name ends in .parquet" in capsys.readouterr().err


def test_json_is_one_document(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ingested(spark, tmp_path, write_csv(tmp_path / "t.csv", catalog(3)), "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["source_rows"] == 3
    assert document["tracks"] == 3


def test_flags_map_the_columns_of_another_schema(spark: SparkSession, tmp_path: Path) -> None:
    table = real_data("tidytuesday-spotify/spotify_songs.csv")
    flags = ["--columns.artists", "track_artist", "--columns.album", "track_album_name"]
    flags += ["--columns.genre", "playlist_subgenre", "--columns.popularity", "track_popularity"]
    found = Ingested(spark, tmp_path, str(table), *flags)
    names = [feature["name"] for feature in found.current.snapshot.details["features"]]
    assert names == [
        *(
            "track_popularity",
            "duration_ms",
            "danceability",
            "energy",
            "key",
            "loudness",
            "mode",
            "speechiness",
        ),
        *("acousticness", "instrumentalness", "liveness", "valence", "tempo"),
    ]
    assert found.current.snapshot.rows == 28_356
    assert sum(row["source_rows"] for row in found.rows().values()) == 32_833


def test_feature_tables_have_no_popularity_and_no_duration(spark: SparkSession, tmp_path: Path) -> None:
    table = real_data("gtzan-features/features_30_sec.csv")
    flags = ["--columns.id", "filename", "--columns.genre", "label", "--columns.ignore", "length"]
    found = Ingested(spark, tmp_path, str(table), *flags)
    assert len(found.current.snapshot.details["features"]) == 57
    assert found.current.snapshot.rows == 1000


def test_dates_that_python_does_not_have_are_dates(spark: SparkSession, tmp_path: Path) -> None:
    table = spark.createDataFrame(
        [(f"t{at}", 100.0 + at) for at in range(5)], "track_id string, tempo double"
    )
    released = F.expr("date_sub(date'0001-01-01', 60000000)")
    table.select("*", released.alias("out.on"), F.array(released).alias("all")).write.parquet(f"{tmp_path}/t")
    found = Ingested(spark, tmp_path, f"{tmp_path}/t")
    assert found.uses()["out.on"]["reason"] == "dates"
    assert found.uses()["out.on"]["examples"][0].startswith("-164")
    assert len(found.rows()) == 5
