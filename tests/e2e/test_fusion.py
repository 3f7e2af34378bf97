"""The fusion model in all jobs: some tracks lack names, and one track has no input at all."""

import csv
import random
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from genremill.jobs import cli
from tests.e2e.conftest import Catalog

EVERY = 7
"""One in this many tracks has no name."""


def _without_names(source: Path, out: Path) -> set[str]:
    """Writes the table without some names; returns the ids of these tracks."""
    with source.open(newline="") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
    nameless = set(sorted({row["track_id"] for row in rows})[::EVERY])
    with out.open("w", newline="") as found:
        writer = csv.DictWriter(found, reader.fieldnames or ())
        writer.writeheader()
        for row in rows:
            lacking = {"track_name": "", "album_name": "…", "artists": ""}
            writer.writerow(row | (lacking if row["track_id"] in nameless else {}))
    return nameless


def test_tracks_are_tagged_from_the_inputs_that_they_have(
    spark: SparkSession, catalog: Catalog, tmp_path: Path
) -> None:
    nameless = _without_names(Path(catalog.tracks), tmp_path / "tracks.csv")
    catalog.run("ingest", "--tracks", str(tmp_path / "tracks.csv"), exit_code=0)
    trained = catalog.run("train", "--workers", "2", "--epochs", "3")
    version = trained["model_version"]
    assert version.startswith("fusion/")
    scored = catalog.run("score")
    catalog.run("publish", "--max-churn-new", "1")
    tags = {row["track_id"]: row for row in spark.read.parquet(scored["path"]).collect()}
    assert len(tags) == scored["rows"]
    for track_id, row in tags.items():
        assert row["inputs"] == (["table"] if track_id in nameless else ["table", "text"])
        assert row["status"] in ("tagged", "outlier")
    metrics = catalog.run("evaluate")["metrics"]
    assert (metrics["model_version"], metrics["inputs"]) == (version, ["table", "text"])
    assert metrics["top1"]["value"] > 3 / len(metrics["classes"])

    named = next(track_id for track_id in tags if track_id not in nameless)
    assert set(catalog.run("show", named)["track"]["tag"]["by_input"]) == {"table", "text"}
    without = next(iter(nameless & tags.keys()))
    assert set(catalog.run("show", without)["track"]["tag"]["by_input"]) == {"table"}


LYRICS, SCENE = "text:lyrics", "tags:scene"


def _with_texts(source: Path, out: Path) -> dict[str, set[str]]:
    """Writes the table with a column of lyrics, and one of tags that hint at the genre; some have neither.

    Returns the ids of the tracks that have each input.
    """
    with source.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    genres = sorted({row["track_genre"] for row in rows} - {""})
    draw = random.Random(0)
    has: dict[str, set[str]] = {LYRICS: set(), SCENE: set()}
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        number = genres.index(row["track_genre"]) if row["track_genre"] else 0
        kind = number if draw.random() < 0.8 else draw.randrange(len(genres))
        words = " ".join(draw.choice((f"word{kind}", f"filler{draw.randrange(9)}")) for _ in range(40))
        tags = ";".join((f"scene {kind}", f"city {draw.randrange(9)}"))
        text = {"lyrics": f"[Verse: {row['artists']}] {words}", "scene": tags}
        text |= dict.fromkeys(draw.choice([["lyrics"], ["scene"], ["lyrics", "scene"], [], []]), "")
        texts.setdefault(row["track_id"], text)
    for track_id, text in texts.items():
        has[LYRICS] |= {track_id} if text["lyrics"] else set()
        has[SCENE] |= {track_id} if text["scene"] else set()
    with out.open("w", newline="") as found:
        writer = csv.DictWriter(found, [*rows[0], "lyrics", "scene", "repeated"])
        writer.writeheader()
        writer.writerows(row | texts[row["track_id"]] | {"repeated": row["track_genre"]} for row in rows)
    return has


def test_lyrics_and_tags_are_inputs_that_a_track_may_lack(
    spark: SparkSession, catalog: Catalog, tmp_path: Path
) -> None:
    has = _with_texts(Path(catalog.tracks), tmp_path / "texts.csv")
    flags = ["--columns.text", "lyrics", "--columns.tags", "scene", "repeated"]
    ingested = catalog.run("ingest", "--tracks", str(tmp_path / "texts.csv"), *flags)
    uses = {column["column"]: column for column in ingested["columns"]}
    assert [uses[name]["uses"] for name in ("lyrics", "scene")] == [["text"], ["tags"]]
    assert 0.2 < uses["scene"]["missing"] < 0.6
    assert uses["repeated"]["uses"] == ["ignored"]
    assert "gives the label away" in uses["repeated"]["reason"]

    without = catalog.run("train", "--epochs", "3", "--inputs", "table+text")["model_version"]
    top1_without = catalog.run("evaluate")["metrics"]["top1"]["value"]
    version = catalog.run("train", "--epochs", "3")["model_version"]
    scored = catalog.run("score")
    for row in spark.read.parquet(scored["path"]).collect():
        texts = [name for name in (LYRICS, SCENE) if row["track_id"] in has[name]]
        assert row["inputs"] == ["table", "text", *texts]
    metrics = catalog.run("evaluate")["metrics"]
    assert (metrics["model_version"], without != version) == (version, True)
    assert metrics["top1"]["value"] > top1_without + 0.1
    catalog.run("publish", "--max-churn-new", "1")
    track_id = min(has[LYRICS] & has[SCENE])
    by_input = catalog.run("show", track_id)["track"]["tag"]["by_input"]
    assert set(by_input) == {"table", "text", LYRICS, SCENE}
    tokens = catalog.run("show", track_id, "--explain")["track"]["tag"]["tokens"]
    assert next(iter(tokens[LYRICS])).startswith("word")
    assert next(iter(tokens[SCENE])).removeprefix("scene ").isdigit()
    catalog.run("train", "--epochs", "1", "--inputs", f"table+{SCENE}", "--workers", "2")
    assert catalog.run("score", "--dry-run")["tracks"] == scored["rows"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("table+text:lyrics", "have no text:lyrics; they have: none. Name the column with --columns.text"),
        ("auto+artist", "--inputs auto+artist: the input 'artist' was replaced by `train --pool-artists`"),
    ],
)
def test_an_input_that_does_not_exist_is_named(catalog: Catalog, inputs: str, message: str) -> None:
    catalog.capsys.readouterr()
    assert cli.main(["train", "--warehouse", catalog.uri, "--inputs", inputs]) == ExitCode.USAGE
    assert message in catalog.capsys.readouterr().err


def test_a_model_can_be_trained_on_names_alone(spark: SparkSession, catalog: Catalog) -> None:
    catalog.run("train", "--inputs", "text", "--epochs", "1")
    scored = catalog.run("score")
    statuses = {
        (row["status"], *row["inputs"])
        for row in spark.read.parquet(scored["path"]).select("status", "inputs").distinct().collect()
    }
    assert statuses == {("tagged", "text")}
