"""Hostile track tables: a bad cell costs at most its value; it does not stop the job."""

import threading
from pathlib import Path

from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import ingest
from tests.conftest import catalog, write_csv

DEADLINE_S = 120.0
"""Much longer than the job needs: a job that hangs is canceled, and the test fails."""
MANY = 200_000


def test_very_long_cells_cost_at_most_their_value(spark: SparkSession, tmp_path: Path) -> None:
    rows = catalog(20)
    rows[1]["tempo"] = "1" * MANY + "x"
    rows[2]["tempo"] = "1." + "1" * MANY + "e"
    rows[3]["tempo"] = "1" * MANY
    rows[4]["artists"] = "a;" * MANY
    rows[5]["track_name"] = "\u202e" * MANY
    rows[6]["track_genre"] = "<" * MANY
    timer = threading.Timer(DEADLINE_S, spark.sparkContext.cancelAllJobs)
    timer.start()
    flags = ["--warehouse", str(tmp_path / "warehouse"), "--columns.features", "tempo", "energy"]
    flags += ["--tracks", write_csv(tmp_path / "t.csv", rows)]
    try:
        assert ingest.main(flags) == 0
    finally:
        timer.cancel()
    warehouse = Warehouse.at(str(tmp_path / "warehouse"))
    current = warehouse.current("tracks")
    assert current is not None
    assert current.snapshot.rows == 20
    found = spark.read.parquet(warehouse.path(current.snapshot.path)).collect()
    assert {row["track_id"] for row in found if row["table_features"][0] is None} == {"t1", "t2", "t3"}
