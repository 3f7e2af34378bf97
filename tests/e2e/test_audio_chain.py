"""A nightly run with audio: from clips on disk to tags."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from genremill.jobs import cli, demo
from tests.conftest import real_data

CHAIN = ["--train.model", "mlp4", "--train.inputs", "gtzan57", "--cluster.clusters", "6"]
CHAIN += ["--train.epochs", "40", "--train.batch", "32"]


def night(
    capsys: pytest.CaptureFixture[str], tracks: Path, audio: Path, folder: Path, *flags: str
) -> dict[str, Any]:
    capsys.readouterr()
    where = ["--warehouse", str(folder / "warehouse"), "--tracks", str(tracks), "--audio-root", str(audio)]
    assert cli.main(["nightly", *where, "--json", *flags]) == 0
    steps: dict[str, Any] = json.loads(capsys.readouterr().out)["steps"]
    return steps


def test_the_genres_of_synthesized_clips_are_predicted(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = tmp_path / "tracks.csv"
    assert demo.main(["--out", str(tracks), "--tracks", "240", "--clips", "240"]) == 0
    steps = night(capsys, tracks, tmp_path, tmp_path, *CHAIN)
    extracted = steps["extract"]["features"]["gtzan57"]
    assert extracted["decoded"] == 240
    assert set(extracted["rejected"]) == {"not_audio", "truncated"}
    metrics = steps["evaluate"]["metrics"]
    assert metrics["inputs"] == ["gtzan57"]
    assert metrics["any_label"]["value"] > 0.5  # of 30 genres, of artists that are not in the train split


def test_real_music_is_processed_from_clips_to_tags(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = real_data("audio/fma-clips/clips.csv")
    with clips.open() as source:
        rows = list(csv.DictReader(source))
    tracks = tmp_path / "tracks.csv"
    lines = ["track_id,track_genre,artists,audio_uri"]
    lines += [f"{row['file']},{row['genre']},artist {row['file']},{row['file']}" for row in rows]
    tracks.write_text("\n".join(lines) + "\n")
    where = ["--warehouse", str(tmp_path / "warehouse")]
    # There are only twelve clips: all are in the train split, and none is held out.
    flags = ["--split", "rows", "--fractions", "1", "0", "0"]
    assert cli.main(["ingest", *where, "--tracks", str(tracks), *flags]) == 0
    assert cli.main(["extract", *where, "--audio-root", str(clips.parent)]) == 0
    assert cli.main(["train", *where, "--model", "mlp4", "--epochs", "2"]) == 0
    capsys.readouterr()
    assert cli.main(["score", *where, "--json"]) == 0
    tags = spark.read.parquet(json.loads(capsys.readouterr().out)["path"])
    assert tags.where("status = 'tagged' AND inputs = array('gtzan57')").count() == len(rows)
