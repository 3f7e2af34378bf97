"""Columns of text and of tags in `ingest`."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from tests.conftest import BASE_ROW, catalog
from tests.spark.ingested import Ingested

FLAGS = ("--columns.text", "lyrics", "--columns.tags", "artist.tags", "label")


def table(rows: int = 60) -> pd.DataFrame:
    """Tracks with lyrics and tags, of which every third lacks each."""
    frame = pd.DataFrame([BASE_ROW | row for row in catalog(rows)]).drop(columns="")
    number = range(len(frame))
    return frame.assign(
        **{
            "lyrics": [None if at % 3 == 0 else f"la\nla {at}" for at in number],
            "artist.tags": [[] if at % 3 == 1 else ["indie folk", "Oslo", "Oslo"] for at in number],
            "label": ["4AD" if at % 3 else "n/a" for at in number],
        }
    )


def test_texts_and_tags_are_maps_by_column(spark: SparkSession, tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "t.parquet")
    found = Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), *FLAGS)
    rows = found.rows()
    assert rows["t0"]["texts"] == {}
    assert rows["t0"]["tags"] == {"artist_tags": ["indie folk", "Oslo"]}
    assert rows["t1"]["texts"] == {"lyrics": "la la 1"}
    assert rows["t1"]["tags"] == {"label": ["4AD"]}
    assert rows["t2"]["tags"] == {"artist_tags": ["indie folk", "Oslo"], "label": ["4AD"]}
    assert found.current.snapshot.details["texts"] == ["text:lyrics", "tags:artist_tags", "tags:label"]
    uses = {name: use["uses"] for name, use in found.uses().items()}
    assert [uses[name] for name in ("lyrics", "artist.tags", "label")] == [["text"], ["tags"], ["tags"]]
    assert found.uses()["lyrics"]["missing"] == pytest.approx(1 / 3)


def test_changed_tags_change_a_track(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table()
    before.to_parquet(tmp_path / "t.parquet")
    Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), *FLAGS)
    before.loc[4, "label"] = "Warp"
    before.to_parquet(tmp_path / "t.parquet")
    capsys.readouterr()
    Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), *FLAGS)
    assert "0 new, 1 changed, 0 vanished tracks" in capsys.readouterr().err


def test_several_rows_of_a_track_are_one_track(spark: SparkSession, tmp_path: Path) -> None:
    twice = pd.concat([table(), table()[:2].assign(track_genre="pop", label="Warp")])
    twice.to_parquet(tmp_path / "t.parquet")
    rows = Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), *FLAGS).rows()
    assert rows["t1"]["genres"] == ["pop", "rock"]
    assert rows["t1"]["tags"] == {"label": ["Warp"]}
    assert len(rows) == 60


def test_tags_that_repeat_the_label_are_not_used(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table(120)
    genre = ["rock" if at % 2 else "jazz" for at in range(len(frame))]
    styles = [f"{name} music;new" for name in genre]
    frame.assign(track_genre=genre, styles=styles).to_parquet(tmp_path / "t.parquet")
    found = Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), "--columns.tags", "styles", "label")
    assert found.current.snapshot.details["texts"] == ["tags:label"]
    assert found.rows()["t1"]["tags"] == {"label": ["4AD"]}
    assert found.uses()["styles"]["uses"] == ["ignored"]
    assert "column 'styles' is not used as text or tags: it gives the label away" in capsys.readouterr().err


def test_a_missing_column_is_one_error(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table().to_parquet(tmp_path / "t.parquet")
    failed = Ingested(spark, tmp_path, str(tmp_path / "t.parquet"), "--columns.tags", "lastfm")
    assert failed.exit_code == ExitCode.USAGE
    assert "no column for --columns.tags lastfm" in capsys.readouterr().err
