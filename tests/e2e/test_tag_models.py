"""`tag --model`: a trained model predicts for files what `score` predicts for their tracks."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pyspark.sql import SparkSession

from genremill.jobs import cli
from genremill.jobs.synthetic.clips import SR, clip, style_of
from tests.e2e.conftest import Catalog

GENRES, CLIPS = 4, 48
EXTRACTED = ["--seconds", "4", "--offset", "middle"]
FAST = ["--epochs", "8", "--batch", "16", "--no-pool-artists"]


@pytest.fixture(scope="module")
def extracted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of clips whose table features are noise, with features of unusual settings."""
    folder = tmp_path_factory.mktemp("songs")
    rng, rows = np.random.default_rng(0), []
    for number in range(CLIPS):
        genre = number % GENRES
        sf.write(folder / f"{number}.wav", clip(style_of(genre, GENRES), rng), SR)
        rows.append(
            [f"t{number}", f"Artist {number}", f"Song {number}", f"g{genre}", rng.normal(), f"{number}.wav"]
        )
    header = ["track_id", "artists", "track_name", "track_genre", "tempo", "audio_uri"]
    with (folder / "tracks.csv").open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    where = ["--warehouse", str(folder / "warehouse")]
    assert cli.main(["ingest", *where, "--tracks", str(folder / "tracks.csv")]) == 0
    assert cli.main(["extract", *where, "--audio-root", str(folder), *EXTRACTED]) == 0
    return folder


@pytest.fixture
def songs(extracted: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    return Catalog(extracted, capsys)


def tagged(songs: Catalog, model: str, *files: str) -> dict[str, Any]:
    """The files in the JSON document by track id."""
    songs.capsys.readouterr()
    assert cli.main(["tag", "--json", "--model", model, *(files or [str(songs.folder)])]) == 0
    found = json.loads(songs.capsys.readouterr().out)["files"]
    return {f"t{Path(file['path']).stem}": file for file in found}


def test_files_get_the_labels_that_score_gives_their_tracks(songs: Catalog, spark: SparkSession) -> None:
    version = songs.run("train", "--model", "mlp4", "--inputs", "gtzan57", *FAST)["model_version"]
    staged = songs.run("score", "--model-version", version)["path"]
    tags = {row["track_id"]: row for row in spark.read.parquet(staged).collect()}
    found = tagged(songs, songs.uri)
    assert found.keys() == tags.keys()
    for track, row in tags.items():
        expected = {each["label"]: each["probability"] for each in row["top"] if each["probability"] >= 0.01}
        labels = {each["label"]: each["probability"] for each in found[track]["labels"]}
        assert labels == pytest.approx(expected, abs=1e-5)
        assert (found[track]["status"], found[track]["reason"]) == (row["status"], None)


def test_limits_and_thresholds_of_a_model_decide_the_status(songs: Catalog) -> None:
    version = songs.run("train", "--model", "mlp4", "--inputs", "gtzan57", *FAST)["model_version"]
    folder = Path(songs.uri) / "models" / version
    card = json.loads((folder / "model.json").read_text())
    song = str(songs.folder / "0.wav")
    thresholds = {"precision": 0.9, "overall": 1.0, "by_cluster": {}}
    changes = {
        "abstained": {"thresholds": thresholds},
        "outlier": {"outlier_limits": dict.fromkeys(card["outlier_limits"], 0.0)},
    }
    for status, change in changes.items():
        other = folder.parent / f"{folder.name}-{status}"
        shutil.copytree(folder, other)
        (other / "model.json").write_text(json.dumps(card | change))
        file = tagged(songs, str(other), song)["t0"]
        shutil.rmtree(other)
        assert file["status"] == status
        assert file["labels"]


def test_a_model_that_accepts_missing_inputs_needs_no_table(songs: Catalog) -> None:
    version = songs.run("train", "--model", "fusion", "--inputs", "table+text+gtzan57", *FAST)[
        "model_version"
    ]
    found = tagged(songs, f"{songs.uri}/models/{version}")
    assert len(found) == CLIPS
    assert {file["status"] for file in found.values()} <= {"tagged", "outlier"}


def test_a_model_that_files_cannot_serve_is_one_error(songs: Catalog, tmp_path: Path) -> None:
    def error(model: str) -> str:
        songs.capsys.readouterr()
        assert cli.main(["tag", "--json", "--model", model, str(songs.folder / "0.wav")]) == 2
        shown = songs.capsys.readouterr()
        assert shown.out == ""
        return shown.err

    on_table = songs.run("train", "--model", "linear", "--inputs", "table", *FAST)["model_version"]
    assert "no features of audio" in error(f"{songs.uri}/models/{on_table}")
    on_both = songs.run("train", "--model", "linear", "--inputs", "table+gtzan57", *FAST)["model_version"]
    assert "table, which a file does not have" in error(f"{songs.uri}/models/{on_both}")
    assert "expected a folder with model.json" in error(str(tmp_path))

    of_audio = songs.run("train", "--model", "linear", "--inputs", "gtzan57", *FAST)["model_version"]
    alone = tmp_path / "model"
    shutil.copytree(f"{songs.uri}/models/{of_audio}", alone)
    assert "Name the warehouse of the model" in error(str(alone))  # 4 seconds are not a usual setting

    (record,) = Path(songs.uri).glob("features/*/_feature_set.json")
    text = record.read_text()
    changed = json.loads(text)
    changed["versions"]["numpy"] = "0.1"
    card = json.loads((alone / "model.json").read_text())
    card["fingerprints"] = {"gtzan57": "0" * 16}
    home = tmp_path / "wh" / "models" / "linear" / "v1"
    shutil.copytree(alone, home)
    (home / "model.json").write_text(json.dumps(card))
    other = tmp_path / "wh" / "features" / f"fingerprint={'0' * 16}"
    other.mkdir(parents=True)
    (other / "_feature_set.json").write_text(json.dumps(changed))
    assert "numpy: 0.1 → " in error(str(home))
