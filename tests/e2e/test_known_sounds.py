"""Models of sequences and images in all jobs, on synthetic clips and held-out artists."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pyspark.sql import SparkSession

from genremill.jobs import cli
from genremill.models.model_card import read_card
from tests.audio.known_sounds import SR, TIMBRES, Artist, Sound
from tests.e2e.conftest import Catalog

ARTISTS, CLIPS, SECONDS = 60, 5, 4.0
CHANCE = 1 / len(TIMBRES)


@pytest.fixture(scope="module")
def extracted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog whose genres are timbres, with extracted segments and mel spectrograms."""
    folder = tmp_path_factory.mktemp("known")
    rows = []
    for number in range(ARTISTS * CLIPS):
        rng = np.random.default_rng(number)
        sound, artist = Sound.drawn(rng), number // CLIPS
        sf.write(folder / f"{number}.wav", sound.clip(Artist.numbered(artist), rng, SECONDS), SR)
        rows.append([f"t{number}", f"Artist {artist}", f"Title {number}", sound.timbre, f"{number}.wav"])
    with (folder / "tracks.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["track_id", "artists", "track_name", "track_genre", "audio_uri"], *rows])
    where = ["--warehouse", str(folder / "warehouse")]
    assert cli.main(["ingest", *where, "--tracks", str(folder / "tracks.csv")]) == 0
    sets = ["--features", "segments", "spectrogram:mel"]
    assert cli.main(["extract", *where, "--audio-root", str(folder), *sets]) == 0
    return folder


@pytest.fixture
def catalog(extracted: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    return Catalog(extracted, capsys)


def held_out(catalog: Catalog, model: str, *flags: str) -> Any:
    """Top-1 accuracy on held-out artists."""
    version = catalog.run("train", "--model", model, *flags)["model_version"]
    return catalog.run("evaluate", "--model-version", version)["metrics"]["top1"]["value"]


def test_timbre_is_predicted_from_timbre_and_not_from_pitch_classes(catalog: Catalog) -> None:
    assert held_out(catalog, "timbre_cnn") > 0.8
    assert held_out(catalog, "pitch_cnn") < CHANCE + 0.2


def test_a_model_of_images_tags_every_track(catalog: Catalog, spark: SparkSession) -> None:
    inputs = ["--inputs", "spectrogram:mel"]
    assert held_out(catalog, "resnet", *inputs, "--epochs", "8") > CHANCE + 0.2
    staged = catalog.run("score")
    tags = spark.read.parquet(staged["path"]).collect()
    assert len(tags) == ARTISTS * CLIPS
    assert {row["status"] for row in tags} <= {"tagged", "outlier"}
    card = read_card(catalog.warehouse.path("models", staged["model_version"]))
    assert card.shapes == {"spectrogram:mel": (1, 64, 64)}
    assert catalog.run("publish")["published"] == staged["staged"]
