"""The model that takes whatever a track has, through the jobs: some tracks have no name, one has nothing."""

import csv
from pathlib import Path

from pyspark.sql import SparkSession

from tests.e2e.conftest import Catalog

EVERY = 7
"""One track of so many has no name."""


def _without_names(source: Path, out: Path) -> set[str]:
    """Writes the table with some names left out; gives the ids of their tracks."""
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


def test_tracks_are_tagged_by_what_they_have(spark: SparkSession, catalog: Catalog, tmp_path: Path) -> None:
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


def test_a_training_by_names_alone(spark: SparkSession, catalog: Catalog) -> None:
    catalog.run("train", "--inputs", "text", "--epochs", "1")
    scored = catalog.run("score")
    statuses = {
        (row["status"], *row["inputs"])
        for row in spark.read.parquet(scored["path"]).select("status", "inputs").distinct().collect()
    }
    assert statuses == {("tagged", "text")}
