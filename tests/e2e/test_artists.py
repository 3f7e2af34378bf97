"""The tracks of one artist help each other: from training to the tags of several nights."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from genremill.jobs.catalog.recordings import artist_key
from genremill.models.model_card import read_card
from tests.e2e.conftest import Catalog

ARTISTS, EACH, GENRES = 600, 4, ("drone", "polka", "trap")
SHARES = ("--fractions", "0.5", "0.25", "0.25")


def write(path: Path, *, more: int = 0) -> str:
    """Artists of one genre, whose numbers say little about it; `more` artists have a fifth track."""
    random = np.random.default_rng(5)
    values = random.normal(size=(ARTISTS, EACH + 1, 3))
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["track_id", "artists", "track_genre", "energy", "tempo", "loudness"])
        for artist in range(ARTISTS):
            genre = artist % len(GENRES)
            for track in range(EACH + (artist < more)):
                numbers = values[artist, track] + 1.2 * (np.arange(3) == genre)
                row = (f"t{artist:03d}-{track}", f"Artist {artist}", GENRES[genre], *numbers.round(4))
                writer.writerow(row)
    return str(path)


@pytest.fixture
def artists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    """A catalog whose artists have one genre each."""
    catalog = Catalog(tmp_path, capsys)
    write(tmp_path / "tracks.csv")
    return catalog


def test_the_tracks_of_an_artist_help_each_other(artists: Catalog, spark: SparkSession) -> None:
    artists.run("ingest", "--tracks", artists.tracks, *SHARES)
    flags = ("--model", "linear", "--inputs", "table", "--epochs", "20")
    version = artists.run("train", *flags)["model_version"]
    pooling = read_card(artists.warehouse.path("models", version)).artist_pooling
    assert pooling is not None
    metrics = artists.run("evaluate")["metrics"]
    assert metrics["top1"]["value"] > metrics["alone"]["top1"]["value"] + 0.07
    assert metrics["ece"]["value"] < 0.15

    alone = artists.run("train", *flags, "--no-pool-artists")["model_version"]
    assert read_card(artists.warehouse.path("models", alone)).artist_pooling is None
    assert artists.run("evaluate", "--model-version", alone)["metrics"]["alone"] is None
    expected = metrics["alone"]["top1"]["value"]
    measured = artists.run("evaluate", "--model-version", alone)["metrics"]["top1"]["value"]
    assert measured == pytest.approx(expected)

    def labels(*flags: str) -> dict[str, str]:
        scored = artists.run("score", *flags)
        artists.run("publish", "--max-churn-new", "1", "--max-churn", "1", "--max-loss", "1")
        return {row["track_id"]: row["label"] for row in spark.read.parquet(scored["path"]).collect()}

    together = labels("--model-version", version)
    by_artist: dict[str, set[str]] = {}
    for track_id, label in together.items():
        by_artist.setdefault(track_id[:4], set()).add(label)
    one_label = sum(len(each) == 1 for each in by_artist.values())
    apart: dict[str, set[str]] = {}
    for track_id, label in labels("--model-version", alone).items():
        apart.setdefault(track_id[:4], set()).add(label)
    assert one_label > sum(len(each) == 1 for each in apart.values()) + 50


def test_new_tracks_change_few_tags_of_the_other_tracks(artists: Catalog, spark: SparkSession) -> None:
    artists.run("ingest", "--tracks", artists.tracks, *SHARES)
    artists.run("train", "--model", "linear", "--inputs", "table", "--epochs", "20")

    def tags() -> dict[str, tuple[str, tuple[tuple[str, float], ...]]]:
        scored = artists.run("score")
        artists.run("publish")
        rows = spark.read.parquet(scored["path"]).collect()
        return {
            row["track_id"]: (
                row["label"],
                tuple((each["label"], each["probability"]) for each in row["top"]),
            )
            for row in rows
        }

    before = tags()
    assert tags() == before
    artists.run("ingest", "--tracks", write(Path(artists.tracks), more=ARTISTS // 2), *SHARES)
    after = tags()
    moved = [name for name, (_, top) in before.items() if after[name][1] != top]
    assert 0 < len(moved) <= EACH * ARTISTS // 2  # only the tracks of artists with a new track
    assert all(int(name[1:4]) < ARTISTS // 2 for name in moved)
    would = [name for name, (label, _) in before.items() if after[name][1][0][0] != label]
    changed = [name for name, (label, _) in before.items() if after[name][0] != label]
    assert set(changed) < set(would)
    for name in set(would) - set(changed):
        probability = dict(after[name][1])
        assert max(probability.values()) <= 1.1 * probability[before[name][0]] + 1e-6


def test_various_artists_are_not_one_artist(spark: SparkSession) -> None:
    rows = [
        ("a", ["Nina Simone", "X"]),
        ("b", [" nina simone"]),
        ("c", ["Various Artists"]),
        ("d", ["various artists"]),
        ("e", []),
        ("f", None),
        ("g", ["VA"]),
        ("h", ["Vampire"]),
    ]
    tracks = spark.createDataFrame(rows, "track_id string, artists array<string>")
    found = {
        row["track_id"]: row["key"] for row in tracks.select("track_id", artist_key().alias("key")).collect()
    }
    assert found["a"] == found["b"] == "artist nina simone"
    assert len({found[name] for name in "acdefgh"}) == 7
