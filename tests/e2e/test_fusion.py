"""The fusion model in all jobs: some tracks lack names, and one track has no input at all."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from genremill.jobs.features.input_selection import chosen
from genremill.models.features import ARTIST_FEATURES
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


@pytest.mark.parametrize("model", ["fusion", "joint_fusion"])
def test_tracks_are_tagged_from_the_inputs_that_they_have(
    spark: SparkSession, catalog: Catalog, tmp_path: Path, model: str
) -> None:
    nameless = _without_names(Path(catalog.tracks), tmp_path / "tracks.csv")
    catalog.run("ingest", "--tracks", str(tmp_path / "tracks.csv"), exit_code=0)
    chosen_model = [] if model == "fusion" else ["--model", model]  # fusion is the default
    trained = catalog.run("train", "--workers", "2", "--epochs", "3", *chosen_model)
    version = trained["model_version"]
    assert version.startswith(f"{model}/")
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


def test_a_model_can_be_trained_on_names_alone(spark: SparkSession, catalog: Catalog) -> None:
    catalog.run("train", "--inputs", "text", "--epochs", "1")
    scored = catalog.run("score")
    statuses = {
        (row["status"], *row["inputs"])
        for row in spark.read.parquet(scored["path"]).select("status", "inputs").distinct().collect()
    }
    assert statuses == {("tagged", "text")}


def test_an_artist_is_described_by_the_features_of_all_its_tracks(
    spark: SparkSession, catalog: Catalog
) -> None:
    catalog.run("train", "--inputs", "auto+artist", "--epochs", "1")
    scored = catalog.run("score")
    tags = spark.read.parquet(scored["path"])
    (inputs,) = tags.select("inputs").distinct().collect()
    assert inputs["inputs"] == ["table", "text", "artist"]
    catalog.run("publish", "--max-churn-new", "1")
    ((track_id,),) = tags.select("track_id").orderBy("track_id").limit(1).collect()
    assert set(catalog.run("show", track_id)["track"]["tag"]["by_input"]) == {"table", "text", "artist"}
    catalog.run("evaluate")

    warehouse = catalog.warehouse
    snapshot = warehouse.require("tracks", "")
    tracks = spark.read.parquet(warehouse.path(snapshot.path))
    artist_inputs = chosen(warehouse, snapshot, "artist", None, use_popularity=False)
    rows = (
        artist_inputs.with_inputs(spark, tracks)
        .select("artist_id", "table_features", ARTIST_FEATURES)
        .collect()
    )
    numbers = [index for index, feature in enumerate(snapshot.details["features"]) if _is_number(feature)]
    values = defaultdict(list)
    for row in rows:
        values[row["artist_id"]].append([row["table_features"][at] for at in numbers])
    assert max(map(len, values.values())) > 1
    for row in rows:
        own = np.array(values[row["artist_id"]], np.float64)  # a missing value is NaN
        expected = np.concatenate([np.nanmean(own, axis=0), np.nanstd(own, axis=0)])
        np.testing.assert_allclose(row[ARTIST_FEATURES], expected, rtol=1e-5, atol=1e-5)


def _is_number(feature: dict[str, object]) -> bool:
    return feature["kind"] == "numeric" and not feature["is_popularity"]
