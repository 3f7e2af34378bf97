"""Calibrated models on the demo catalog: abstentions, and outliers in a feed with other units."""

import csv
import json
from pathlib import Path

from pyspark.sql import SparkSession

from genremill.jobs import cli
from tests.e2e.conftest import FAST, Catalog


def _card(catalog: Catalog, version: str) -> dict[str, object]:
    card: dict[str, object] = json.loads((Path(catalog.uri) / "models" / version / "model.json").read_text())
    return card


def test_tracks_below_the_target_precision_get_no_tag(spark: SparkSession, catalog: Catalog) -> None:
    version = catalog.run("train", *FAST, "--target-precision", "0.75")["model_version"]
    card = _card(catalog, version)
    assert card["temperature"] != 1
    found = catalog.run("evaluate", "--model-version", version)["metrics"]
    kept, all_of_them = found["tags"], found["any_label"]["value"]
    assert 0.05 < kept["abstained"] < 0.95
    assert kept["precision"] > all_of_them + 0.05
    assert kept["outlier"] < 0.02
    page = next(Path(catalog.uri).glob("reports/*/report.html")).read_text()
    assert "Thresholds of confidence, chosen on validation tracks" in page

    staged = catalog.run("score", "--model-version", version)
    tags = spark.read.parquet(staged["path"])
    status = {row["status"]: row["count"] for row in tags.groupBy("status").count().collect()}
    assert status["abstained"] > 0
    assert tags.where("(status = 'tagged') != (label IS NOT NULL)").count() == 0
    assert (
        tags.where("size(top) != 5 OR confidence IS NULL OR blend IS NULL OR size(clusters) != 5").count()
        == 0
    )
    assert catalog.run("publish")["rows"] == staged["rows"]


def test_a_feed_in_other_units_has_mostly_outliers(spark: SparkSession, catalog: Catalog) -> None:
    model = next(Path(catalog.uri).glob("models/linear/*"))
    with (
        Path(catalog.tracks).open() as lines,
        (catalog.folder / "thousandths.csv").open("w", newline="") as out,
    ):
        reader = csv.DictReader(lines)
        writer = csv.DictWriter(out, reader.fieldnames or [])
        writer.writeheader()
        writer.writerows(row | {"tempo": f"{1000 * float(row['tempo'] or 1)}"} for row in reader)
    other = Catalog(catalog.folder / "other", catalog.capsys)
    other.run("ingest", "--tracks", str(catalog.folder / "thousandths.csv"))
    tags = spark.read.parquet(other.run("score", "--model", str(model))["path"])
    assert tags.where("status = 'outlier' AND label IS NULL AND size(top) = 5").count() > 0.95 * tags.count()


def test_a_target_precision_is_refused_for_the_rows_split(catalog: Catalog) -> None:
    assert cli.main(["train", "--warehouse", catalog.uri, *FAST, "--target-precision", "1.5"]) == 2
    catalog.run("ingest", "--tracks", catalog.tracks, "--split", "rows")
    assert cli.main(["train", "--warehouse", catalog.uri, *FAST, "--target-precision", "0.8"]) == 2
    assert "the split is by rows" in catalog.capsys.readouterr().err
    trained = catalog.run("train", "--model", "linear", "--epochs", "1")
    card = _card(catalog, trained["model_version"])
    assert (card["temperature"], card["thresholds"]) == (1.0, None)
