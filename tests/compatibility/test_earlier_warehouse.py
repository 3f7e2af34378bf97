"""A warehouse that version 0.1.0 wrote works with this version: its tables, tags, models and reports.

`warehouse-0.1.0.tar.xz` holds a demo catalog of 259 tracks, 24 of them with audio features, after one night
with the model `fusion`, a model `linear` whose tags an audit refused, and a second publication of `fusion`'s
tags. It was made by these commands:

    python -m genremill.jobs.demo --out tracks.csv --tracks 240 --clips 24
    genremill nightly --warehouse warehouse --tracks tracks.csv --audio-root . \\
        --cluster.clusters 6 --train.epochs 3
    genremill train --warehouse warehouse --model linear --inputs table --epochs 3
    genremill score --warehouse warehouse
    genremill publish --warehouse warehouse                                    # refused
    genremill score --warehouse warehouse --model-version fusion/<run>
    genremill publish --warehouse warehouse
"""

import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.e2e.conftest import Catalog

ARCHIVE = Path(__file__).parent / "warehouse-0.1.0.tar.xz"
TABLE_TIME_S = 1795824000  # 2026-11-28: ingest recognizes an unchanged table by its name, size and time
SETTINGS = ("--cluster.clusters", "6", "--train.epochs", "3")
FUSION = "fusion/20261128T221955-76f593"
FIRST_TAGS, SECOND_TAGS = "20261128T221955-76f593", "20261128T222710-32a079"


@pytest.fixture
def earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    """The stored warehouse, unpacked for one test. Its records name models where it was, in `/tmp/compat`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    os.utime(tmp_path / "tracks.csv", (TABLE_TIME_S, TABLE_TIME_S))
    return Catalog(tmp_path, capsys)


def _tags(spark: SparkSession, catalog: Catalog, run_id: str) -> DataFrame:
    return spark.read.parquet(catalog.warehouse.run_path("tags", run_id))


def test_tables_are_listed(earlier: Catalog, spark: SparkSession) -> None:
    tables = earlier.run("tables")
    rows = {name: table["rows"] for name, table in tables.items() if name != "run_id"}
    assert rows == {"tracks": 259, "genre_profiles": 30, "genre_map": 30, "tags": 259}
    assert tables["tags"]["run_id"] == SECOND_TAGS
    assert spark.read.parquet(tables["tags"]["path"]).count() == 259


def _without_refused_model(catalog: Catalog) -> None:
    """Leaves only `fusion`: the newest model, even a refused one, decides whether a night trains."""
    shutil.rmtree(Path(catalog.uri, "models", "linear"))


def test_the_table_is_read_again_once_and_no_model_is_trained(earlier: Catalog) -> None:
    _without_refused_model(earlier)
    steps = earlier.run("nightly", "--tracks", earlier.tracks, *SETTINGS)["steps"]
    assert {name for name, step in steps.items() if step != "skipped"} == {"ingest", "score", "publish"}
    assert steps["ingest"]["changes"] == {"before": 259, "new": 0, "changed": 0, "vanished": 0}
    assert steps["publish"]["churn"]["changed"] == 0
    again = earlier.run("nightly", "--tracks", earlier.tracks, *SETTINGS)["steps"]
    assert set(again.values()) == {"skipped"}


def test_new_tracks_are_tagged_by_the_earlier_model(earlier: Catalog, spark: SparkSession) -> None:
    _without_refused_model(earlier)
    table = Path(earlier.tracks)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([*lines, lines[1].replace("xU0fxNq24xKWFkNWvoyZ17", "a-new-track")]))
    steps = earlier.run("nightly", "--tracks", earlier.tracks, *SETTINGS)["steps"]
    ran = [name for name, step in steps.items() if step != "skipped"]
    assert ran == ["ingest", "score", "publish"]
    tags = spark.read.parquet(earlier.run("tables")["tags"]["path"])
    assert [row["model_version"] for row in tags.where("track_id = 'a-new-track'").collect()] == [FUSION]
    assert tags.count() == 260


def test_an_earlier_model_gives_the_same_predictions_as_before(earlier: Catalog, spark: SparkSession) -> None:
    staged = earlier.run("score", "--model-version", FUSION)["staged"]
    now, then = _tags(spark, earlier, staged), _tags(spark, earlier, SECOND_TAGS)
    both = now.alias("now").join(then.alias("then"), "track_id", "inner")
    assert both.count() == 259
    different = both.where(
        "NOT (now.label <=> then.label AND now.status = then.status AND now.blend <=> then.blend "
        "AND abs(coalesce(now.confidence, 0) - coalesce(then.confidence, 0)) < 1e-4)"
    )
    assert different.select("track_id", "now.label", "then.label").collect() == []
    assert earlier.run("publish")["published"] == staged


def test_tags_are_rolled_back_to_an_earlier_run(earlier: Catalog) -> None:
    assert earlier.run("publish", "--rollback")["published"] == FIRST_TAGS
    assert earlier.run("publish", "--run", SECOND_TAGS)["published"] == SECOND_TAGS


def test_an_earlier_model_has_the_same_metrics_as_before(earlier: Catalog) -> None:
    stored = json.loads(Path(earlier.uri, "reports", FIRST_TAGS, "metrics.json").read_text())
    metrics = earlier.run("evaluate", "--model-version", FUSION)["metrics"]
    assert metrics["model_version"] == stored["model_version"] == FUSION
    for figure in ("top1", "top5", "macro_f1"):
        assert metrics[figure]["value"] == pytest.approx(stored[figure]["value"], abs=1e-6)
    assert set(stored) <= set(metrics)


def test_training_uses_the_cached_features(earlier: Catalog) -> None:
    trained = earlier.run("train", "--model", "linear", "--inputs", "gtzan57", "--epochs", "1")
    assert sum(trained["rows"].values()) > 0


def test_a_refused_model_stays_refused(earlier: Catalog) -> None:
    assert earlier.run("score")["model_version"] == FUSION


def test_a_track_of_an_earlier_warehouse_is_shown(earlier: Catalog) -> None:
    shown = earlier.run("show", "xU0fxNq24xKWFkNWvoyZ17")
    assert shown["track"]["tag"]["model_version"] == FUSION


def test_vacuum_keeps_the_current_tables_of_an_earlier_version(earlier: Catalog) -> None:
    earlier.run("vacuum", "--keep-runs", "1", "--yes")
    tables = earlier.run("tables")
    assert tables["tags"]["run_id"] == SECOND_TAGS
    assert earlier.run("evaluate", "--model-version", FUSION)["metrics"]["rows"] > 0
