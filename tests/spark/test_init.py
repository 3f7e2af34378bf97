"""`init`: the file that it writes, and what the jobs read from it."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from pyspark.sql import SparkSession

from genremill.jobs import init
from tests.conftest import BASE_ROW, catalog, real_data, write_csv
from tests.spark.ingested import Ingested


def proposed(folder: Path, table: str, *flags: str) -> str:
    """The text of the file that `init` writes."""
    output = folder / "genremill.yaml"
    assert init.main(["--tracks", table, "--output", str(output), *flags]) == 0
    return output.read_text()


def columns_of(text: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load(text)["ingest"]["columns"]
    return found


def test_the_default_columns_are_certain(spark: SparkSession, tmp_path: Path) -> None:
    text = proposed(tmp_path, write_csv(tmp_path / "t.csv", catalog(20)), "--audio-root", str(tmp_path))
    assert "# check" not in text
    assert yaml.safe_load(text)["audio-root"] == [str(tmp_path)]
    assert columns_of(text) == {
        "id": "track_id",
        "title": "track_name",
        "album": "album_name",
        "artists": "artists",
        "genre": "track_genre",
        "popularity": "popularity",
        "duration": "duration_ms",
        "audio-uri": "none",
    }


def test_a_file_is_kept_unless_it_is_forced(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_csv(tmp_path / "t.csv", catalog(20))
    (tmp_path / "genremill.yaml").write_text("mine")
    assert init.main(["--tracks", table, "--output", str(tmp_path / "genremill.yaml")]) == 2
    assert "the file exists" in capsys.readouterr().err
    assert (tmp_path / "genremill.yaml").read_text() == "mine"
    assert columns_of(proposed(tmp_path, table, "--force"))["id"] == "track_id"


def test_ingest_reads_its_section_and_flags_take_precedence(spark: SparkSession, tmp_path: Path) -> None:
    table = pd.DataFrame([BASE_ROW | row for row in catalog(30)]).drop(columns="")
    table = table.rename(columns={"artists": "Interpret", "track_genre": "Top Genre", "track_id": "ISRC"})
    table.to_csv(tmp_path / "t.csv", index=False)
    text = proposed(tmp_path, str(tmp_path / "t.csv"))
    assert columns_of(text) | {"artists": "Interpret", "genre": "Top Genre", "id": "ISRC"} == columns_of(text)
    (tmp_path / "genremill.yaml").write_text(text + "\ncluster:\n  clusters: 3\n")
    config = ["--config", str(tmp_path / "genremill.yaml")]
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv"), *config).rows()["t3"]
    assert (found["artists"], found["genres"]) == (["Artist 3"], ["rock"])
    flags = [*config, "--columns.genre", "none"]
    assert Ingested(spark, tmp_path, str(tmp_path / "t.csv"), *flags).rows()["t3"]["genres"] == []


def test_lines_that_are_not_certain_are_marked(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = proposed(tmp_path, str(real_data("tidytuesday-spotify/spotify_songs.csv")))
    (line,) = [line for line in text.splitlines() if "# check" in line]
    assert line.strip().startswith("genre: playlist_genre  # check")
    assert "playlist_subgenre" in line
    assert "genre: playlist_genre" in capsys.readouterr().out
    expected = {"artists": "track_artist", "popularity": "track_popularity", "album": "track_album_name"}
    assert columns_of(text) | expected == columns_of(text)


def test_roles_that_no_column_has_are_marked_and_names_stay_on_one_line(
    spark: SparkSession, tmp_path: Path
) -> None:
    table = pd.DataFrame({"who\nis it": ["Ada", "Bo"] * 10, "kind": ["x", "y"] * 10, "tempo": range(90, 110)})
    table.to_excel(tmp_path / "t.xlsx", index=False)
    text = proposed(tmp_path, str(tmp_path / "t.xlsx"))
    marked = [line.split(":")[0].strip() for line in text.splitlines() if "# check" in line]
    assert marked == ["title", "artists", "genre"]
    assert yaml.safe_load(text).keys() >= {"tracks", "ingest"}
    assert yaml.safe_load(text)["ingest"] == {"columns": columns_of(text)}


def test_a_terminal_that_is_closed_takes_the_proposal(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", closed)
    text = proposed(tmp_path, str(real_data("tidytuesday-spotify/spotify_songs.csv")))
    assert columns_of(text)["genre"] == "playlist_genre"


def test_a_terminal_is_asked(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["no such column", "playlist_subgenre"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    text = proposed(tmp_path, str(real_data("tidytuesday-spotify/spotify_songs.csv")))
    assert columns_of(text)["genre"] == "playlist_subgenre"
    assert "# check" not in text


def test_public_tables(spark: SparkSession, tmp_path: Path) -> None:
    text = proposed(tmp_path, str(real_data("cases/public/playlists-pipe.csv")))
    found = columns_of(text)
    assert (found["id"], found["artists"], found["genre"]) == ("track_id", "track_artists", "artist_genres")
    (tmp_path / "genremill.yaml").unlink()
    found = columns_of(proposed(tmp_path, str(real_data("cases/public/Spotify-2000.csv"))))
    assert found == {
        "id": "none",
        "title": "Title",
        "album": "none",
        "artists": "Artist",
        "genre": "Top Genre",
        "popularity": "Popularity",
        "duration": "Length (Duration)",
        "audio-uri": "none",
    }


def test_a_column_without_values_in_the_first_rows_is_a_feature_of_the_whole_table(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genremill.jobs.catalog.sample.SAMPLE_ROWS", 10)
    rows = [{"late": f"{number * 7 % 5}.5" if number >= 10 else "", "never": ""} for number in range(30)]
    table = pd.DataFrame([BASE_ROW | row | more for row, more in zip(catalog(30), rows, strict=True)]).drop(
        columns=""
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    text = proposed(tmp_path, str(tmp_path / "t.csv"))
    for name in ("late", "never"):
        assert f"{name}: ignored (no values in the first rows)" in text
    found = Ingested(spark, tmp_path, str(tmp_path / "t.csv"))
    uses = {name: (use["uses"], use["parsed"]) for name, use in found.uses().items()}
    assert "late" in found.features
    assert (uses["late"], uses["never"]) == ((["numeric feature"], 1), (["ignored"], None))
