"""A job reads and records the inputs that it resolved at its start, even if new data arrives meanwhile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, cluster, command, score
from genremill.jobs.genres import sources as genre_sources
from genremill.jobs.genres.sources import ClusterInputs, Config as ClusterConfig
from genremill.jobs.score import ScoreInputs
from genremill.jobs.training import sources as training_sources
from genremill.jobs.training.ranks import sample
from genremill.jobs.training.settings import Config as TrainConfig
from genremill.jobs.training.sources import TrainingInputs
from genremill.models.features import WINDOWS
from tests.e2e.test_audio_training import write_features

TRACKS, FEWER = 60, 40
GENRES = ("rock", "jazz", "folk", "punk")
OLD, NEW = 0.0, 100.0
INPUTS = "table+gtzan57"


@dataclass(frozen=True)
class Resolved:
    """Inputs of three jobs, resolved before the warehouse changed."""

    warehouse: Warehouse
    tracks_run: str
    training: TrainingInputs
    cluster: ClusterInputs
    score: ScoreInputs


@pytest.fixture(scope="module")
def resolved(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    """After the inputs were resolved, `ingest` publishes fewer tracks, and a run adds features."""
    folder = tmp_path_factory.mktemp("inputs")
    uri = str(folder / "warehouse")
    warehouse = Warehouse.at(uri)
    _ingest(folder, uri, TRACKS, GENRES)
    _add_features(spark, uri, "r1", OLD)
    flags = ["--model", "linear", "--inputs", INPUTS, "--epochs", "1"]
    assert cli.main(["train", "--warehouse", uri, *flags]) == 0
    tracks = warehouse.require("tracks", "ingest")
    inputs = Resolved(
        warehouse,
        tracks.run_id,
        training_sources.resolve(warehouse, TrainConfig(model="linear", inputs=INPUTS)),
        genre_sources.resolve(warehouse, ClusterConfig(inputs=INPUTS, clusters=2)),
        score.resolve(warehouse, score.Config()),
    )
    _ingest(folder, uri, FEWER, GENRES[:2])
    _add_features(spark, uri, "r2", NEW)
    return inputs


def _ingest(folder: Path, uri: str, count: int, genres: tuple[str, ...]) -> None:
    lines = ["track_id,artists,track_name,tempo,track_genre,audio_uri"]
    lines += [
        f"t{i},Artist {i},Title {i},{i}.5,{genres[i % len(genres)]},/clips/{i}.wav" for i in range(count)
    ]
    (folder / "tracks.csv").write_text("\n".join(lines))
    flags = ["--tracks", str(folder / "tracks.csv"), "--max-vanished", "1"]
    assert cli.main(["ingest", "--warehouse", uri, *flags]) == 0


def _add_features(spark: SparkSession, uri: str, run: str, level: float) -> None:
    windows: list[tuple[int, int, Any]] = [
        (number, 0, [level + number % 4, number / TRACKS]) for number in range(TRACKS)
    ]
    write_features(spark, uri, "gtzan57", "aa", run, windows)


def _check_record(resolved: Resolved, record: dict[str, str]) -> None:
    assert record["tracks"] == resolved.tracks_run
    assert record["gtzan57"] == "aa: 1 runs to r1"


def test_the_warehouse_has_changed_since(resolved: Resolved) -> None:
    now = score.resolve(resolved.warehouse, score.Config()).made_from
    assert now["tracks"] > resolved.tracks_run
    assert now["gtzan57"] == "aa: 2 runs to r2"


def test_a_training_reads_the_tracks_and_features_that_it_records(
    spark: SparkSession, resolved: Resolved
) -> None:
    work = command.Run(resolved.warehouse, "training")
    data, prepared = training_sources.prepared(spark, work, resolved.training)
    _check_record(resolved, prepared.inputs.made_from)
    assert sum(data.rows.values()) == TRACKS
    assert prepared.genres == sorted(GENRES)
    assert sample(data)["gtzan57"].max() < NEW


def test_a_clustering_reads_the_tracks_and_features_that_it_records(
    spark: SparkSession, resolved: Resolved
) -> None:
    cluster.run(spark, command.Run(resolved.warehouse, "clustering"), resolved.cluster)
    snapshot = resolved.warehouse.require("genre_profiles", "cluster")
    _check_record(resolved, snapshot.inputs)
    profiles = spark.read.parquet(resolved.warehouse.path(snapshot.path)).collect()
    assert {row["genre"] for row in profiles} == set(GENRES)


def test_a_scoring_reads_the_tracks_and_features_that_it_records(
    spark: SparkSession, resolved: Resolved
) -> None:
    score.run(spark, command.Run(resolved.warehouse, "scoring"), resolved.score)
    snapshot = resolved.warehouse.finished("tags", "scoring")
    assert snapshot is not None
    _check_record(resolved, snapshot.inputs)
    assert snapshot.details["tracks_run"] == resolved.tracks_run
    assert snapshot.rows == TRACKS
    given = resolved.score.features.with_inputs(spark, resolved.score.read_tracks(spark)).collect()
    assert max(row[WINDOWS][0]["gtzan57"][0] for row in given) < NEW
