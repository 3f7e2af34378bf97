"""Training, evaluation and scoring on features of audio; in these catalogs only audio predicts the genre."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, score
from genremill.jobs.contracts import FEATURES
from genremill.jobs.genres import sources as genre_sources
from genremill.jobs.training import settings as training_settings, sources as training_sources
from tests.e2e.conftest import Catalog

GENRES = ("ambient", "metal", "techno", "waltz")
TRACKS = 240
SILENT = range(0, TRACKS, 12)
"""Tracks whose audio has no features."""
WINDOWS = 3
FAST = ["--model", "mlp4", "--epochs", "8", "--batch", "32"]


def _uri(track: int) -> str:
    return f"/clips/{track}.wav"


def write_features(
    spark: SparkSession,
    warehouse: str,
    name: str,
    fingerprint: str,
    run: str,
    rows: list[tuple[int, int, Any]],
) -> None:
    """Writes the rows (number of the track, window, values) of a feature set as one run."""
    folder = Path(warehouse) / "features" / f"fingerprint={fingerprint}"
    names = [f"{name}_{at}" for at in range(len(rows[0][2]))]
    record = {
        "name": name,
        "values": names,
        "created_at": "2026-01-01",
        "settings": {},
        "shape": [len(names)],
    }
    columns = [
        (f"t{track}", window, 0.0, _uri(track), "etag", 1, "hash", [float(x) for x in values], 1.0, 3.0)
        for track, window, values in rows
    ]
    df = spark.createDataFrame(columns, FEATURES.schema)
    df.coalesce(1).write.parquet(str(folder / f"run={run}"))
    (folder / "_feature_set.json").write_text(json.dumps(record))


def sounds(rng: np.random.Generator, track: int) -> Any:
    """Features of a window: noise around the center of the genre."""
    return rng.normal(scale=0.6, size=4) + 2 * np.eye(4)[track % 4]


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ingested catalogs of the same clips with cached windows; the table features of one are noise."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    header = ["track_id", "artists", "track_name", "track_genre", "audio_uri"]
    rows = [[f"t{at}", f"Artist {at // 2}", f"Title {at}", GENRES[at % 4], _uri(at)] for at in range(TRACKS)]
    noise = rng.normal(size=(TRACKS, 2))
    for name, table in (("bare", None), ("tabular", noise)):
        (folder / name).mkdir()
        with (folder / name / "tracks.csv").open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(header if table is None else [*header, "tempo", "energy"])
            writer.writerows(rows if table is None else [[*a, *b] for a, b in zip(rows, table, strict=True)])
        uri = str(folder / name / "warehouse")
        assert cli.main(["ingest", "--warehouse", uri, "--tracks", str(folder / name / "tracks.csv")]) == 0
    windows = [
        (track, window, sounds(rng, track))
        for track in range(TRACKS)
        for window in range(WINDOWS)
        if track not in SILENT
    ]
    write_features(spark, uri, "gtzan57", "aa", "r1", windows)
    shutil.copytree(f"{uri}/features", folder / "bare" / "warehouse" / "features")
    return folder


def _catalog(ingested: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    shutil.copytree(ingested / name, tmp_path / name)
    return Catalog(tmp_path / name, capsys)


def _tags(spark: SparkSession, staged: dict[str, Any]) -> dict[str, Any]:
    return {row["track_id"]: row for row in spark.read.parquet(staged["path"]).collect()}


def _resolved(warehouse: Warehouse) -> list[dict[str, str]]:
    """The records of the inputs of three jobs."""
    return [
        score.resolve(warehouse, score.Config()).made_from,
        training_sources.resolve(warehouse, training_settings.Config()).made_from,
        genre_sources.resolve(warehouse, genre_sources.Config()).made_from,
    ]


def _card(catalog: Catalog, version: str) -> Path:
    return Path(catalog.uri) / "models" / version / "model.json"


def test_a_catalog_without_a_table_is_clustered_trained_measured_and_tagged(
    spark: SparkSession, ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = _catalog(ingested, "bare", tmp_path, capsys)
    assert bare.run("cluster", "--clusters", "2")["genres"] == 4
    current = bare.warehouse.current("genre_profiles")
    assert current is not None
    assert current.snapshot.details["inputs"][:2] == ["rank of gtzan57_0", "rank of gtzan57_1"]
    trained = bare.run("train", *FAST)
    metrics = bare.run("evaluate")["metrics"]
    assert metrics["inputs"] == ["gtzan57"]
    assert metrics["top1"]["value"] > 0.8
    # Pairs are counted, not windows. A track without features is used neither to train nor to measure.
    assert metrics["rows"] == trained["rows"]["test"]
    assert sum(trained["rows"].values()) == TRACKS - len(SILENT)
    card = json.loads(_card(bare, trained["model_version"]).read_text())
    assert card["training"]["history"][0]["rows"] == WINDOWS * trained["rows"]["train"]
    assert card["fingerprints"] == {"gtzan57": "aa"}

    tags = _tags(spark, bare.run("score"))
    assert len(tags) == TRACKS
    for at in range(TRACKS):
        tag = tags[f"t{at}"]
        expected = ("no_features", []) if at in SILENT else ("tagged", ["gtzan57"])
        assert (tag["status"], tag["inputs"]) == expected
        assert (tag["label"] is None) == (at in SILENT)

    before = _resolved(bare.warehouse)
    write_features(spark, bare.uri, "gtzan57", "aa", "r2", [(0, 0, [2.0, 0, 0, 0])])
    assert all(one != two for one, two in zip(before, _resolved(bare.warehouse), strict=True))

    voting = tmp_path / "voting"
    shutil.copytree(_card(bare, trained["model_version"]).parent, voting)
    (voting / "model.json").write_text(json.dumps(card | {"pooling": "vote", "temperature": 1}))
    votes = _tags(spark, bare.run("score", "--model", str(voting)))
    shares = [row["confidence"] * WINDOWS for row in votes.values() if row["label"]]
    assert max(abs(share - round(share)) for share in shares) < 0.02
    assert votes["t0"]["label"] == GENRES[0]

    (Path(bare.uri) / "features" / "fingerprint=aa").rename(Path(bare.uri) / "features" / "fingerprint=bb")
    assert cli.main(["score", "--warehouse", bare.uri]) == 2
    assert "the model needs features of the set 'gtzan57' with fingerprint aa" in capsys.readouterr().err


def test_each_window_gets_the_table_features_and_the_values_of_sets_with_one_window(
    spark: SparkSession, ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tabular = _catalog(ingested, "tabular", tmp_path, capsys)
    once = [(track, 0, [float(track % 4 < 2)]) for track in range(1, TRACKS)]
    write_features(spark, tabular.uri, "multiwindow", "cc", "r1", once)
    version = tabular.run("train", *FAST, "--inputs", "auto", "--pooling", "vote")["model_version"]
    card = json.loads(_card(tabular, version).read_text())
    assert card["inputs"] == ["table", "gtzan57", "multiwindow"]
    assert (card["pooling"], len(card["features"])) == ("vote", 2 + 4 + 1)
    assert tabular.run("evaluate")["metrics"]["top1"]["value"] > 0.8
    tags = _tags(spark, tabular.run("score"))
    assert {row["status"] for row in tags.values() if row["inputs"] == card["inputs"]} == {"tagged"}
    assert [at for at in range(TRACKS) if tags[f"t{at}"]["status"] == "no_features"] == list(SILENT)

    two = [(track, window, [0.0]) for track in range(TRACKS) for window in range(2)]
    write_features(spark, tabular.uri, "fma518", "dd", "r1", two)
    assert cli.main(["train", "--warehouse", tabular.uri, *FAST, "--inputs", "gtzan57+fma518"]) == 2
    assert "3 of gtzan57, 2 of fma518 windows; expected equal numbers" in capsys.readouterr().err
