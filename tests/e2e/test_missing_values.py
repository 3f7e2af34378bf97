"""Missing values in all jobs: a missing value costs a value, and a missing column is refused by name."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from genremill.jobs import cli
from genremill.udfs.arrow_rows import lists
from tests.e2e.conftest import Catalog
from tests.e2e.test_nights import FLAGS, read, write

SHARE = 0.2
"""Share of the values that are removed."""


def _remove_values(tracks: Path) -> set[str]:
    """Sets values of the current tracks to null; returns the ids of the tracks that have no value left."""
    rng = np.random.default_rng(0)
    emptied: set[str] = set()
    for file in sorted(tracks.glob("*.parquet")):
        table = pq.read_table(file)
        column = table.column("table_features").combine_chunks()
        values = np.stack(column.to_pylist()).astype(np.float32)
        missing = rng.random(values.shape) < SHARE
        missing[::10] = True
        emptied |= set(np.array(table.column("track_id").to_pylist())[::10].tolist())
        flat = pa.array(values.ravel(), pa.float32(), mask=missing.ravel())
        index = table.schema.get_field_index("table_features")
        table = table.set_column(index, "table_features", lists(values, flat))
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
        pq.write_table(table, file)
    return emptied


def test_tracks_with_missing_values_are_tagged_from_what_they_have(
    spark: SparkSession, catalog: Catalog
) -> None:
    emptied = _remove_values(Path(catalog.uri, catalog.warehouse.require("tracks", "ingest").path))
    catalog.run("cluster", "--clusters", "6")
    catalog.run("train", "--epochs", "3", "--inputs", "table+text")
    scored = catalog.run("score")
    catalog.run("publish", "--max-churn-new", "1")
    tags = {row["track_id"]: row for row in spark.read.parquet(scored["path"]).collect()}
    assert len(tags) == scored["rows"]
    for track_id, row in tags.items():
        assert ("table" in row["inputs"]) == (track_id not in emptied)
        assert "text" in row["inputs"]
    tagged = sum(row["status"] == "tagged" for row in tags.values())
    assert tagged > 0.97 * len(tags)
    metrics = catalog.run("evaluate")["metrics"]
    assert metrics["top1"]["value"] > 3 / len(metrics["classes"])

    shown = catalog.run("show", next(iter(emptied)))["track"]
    assert shown["table_features"] == {}
    some = next(track_id for track_id in tags if track_id not in emptied)
    values = catalog.run("show", some)["track"]["table_features"]
    missing = sum(value is None for value in values.values())
    assert cli.main(["show", some, "--warehouse", catalog.uri]) == 0
    assert catalog.capsys.readouterr().out.count(" missing") == missing


def test_a_model_of_the_table_does_not_tag_tracks_without_any_number(
    spark: SparkSession, catalog: Catalog
) -> None:
    """The model was trained on complete rows."""
    emptied = _remove_values(Path(catalog.uri, catalog.warehouse.require("tracks", "ingest").path))
    tags = spark.read.parquet(catalog.run("score")["path"]).collect()
    assert {row["track_id"] for row in tags if row["status"] == "no_features"} == emptied
    assert all(row["confidence"] is not None for row in tags if row["track_id"] not in emptied)


def test_a_column_that_disappears_overnight_is_refused_by_name_and_nothing_is_trained(
    catalog: Catalog, tmp_path: Path
) -> None:
    table = tmp_path / "tracks.csv"
    rows, header = read(Path(catalog.tracks))
    write(table, header, rows)
    flags = ["--tracks", str(table), *FLAGS, "--train.when", "always"]
    catalog.run("nightly", *flags)
    before = catalog.run("tables")["tags"]["run_id"]
    write(table, header, [row | {"tempo": ""} for row in rows])
    night = ["nightly", "--warehouse", catalog.uri, *flags]
    assert cli.main(night) == 2
    errors = catalog.capsys.readouterr().err
    assert "'tempo' was a numeric feature: it has no values. The model in use, " in errors
    assert "running once with --ingest.max-lost-columns 1. If this is another catalog" in errors
    assert catalog.run("tables")["tags"]["run_id"] == before
    assert "&#39;tempo&#39; was a numeric feature" in _newest_page(Path(catalog.uri, "reports"), "night")
    accepts = ["--ingest.max-lost-columns", "1"]
    assert cli.main([*night, *accepts]) == 2
    errors = catalog.capsys.readouterr().err
    assert re.search(r"missing values 1 \(limit 0\.1\): tempo 0\.\d% → no longer used", errors), errors
    assert "train: skipped because values are missing: tempo" in errors
    assert catalog.run("tables")["tags"]["run_id"] == before
    page = _newest_page(Path(catalog.uri, "reports"), "audit")
    assert re.search(r"tempo 0\.\d% → no longer used", page)
    limits = ["missing-rise", "churn-new", "loss", "drift", "class-shift"]
    lenient = [word for limit in limits for word in (f"--publish.max-{limit}", "1")]
    accepted = catalog.run("nightly", *flags, *accepts, *lenient)
    assert accepted["steps"]["train"] != "skipped"
    assert catalog.run("tables")["tags"]["run_id"] != before


def _newest_page(reports: Path, name: str) -> str:
    return max(reports.glob(f"*/{name}.html"), key=lambda page: page.parent.name).read_text()
