"""Missing values of table features in Spark: what the shards contain, and which tracks are used."""

import math

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.jobs.features.model_inputs import ModelInputs
from genremill.models.features import TABLE, TEXT, FeatureSpec
from genremill.udfs.arrow_rows import matrix

NAN = math.nan
TEMPO, KEY = FeatureSpec("tempo", False), FeatureSpec("key", True)
ROWS = [
    ("t1", "a1", "one", [100.0, 1.0, 7.0]),
    ("t2", "a1", "two", [None, 2.0, 8.0]),
    ("t3", "a1", "three", [140.0, None, None]),
    ("t4", "a2", "four", [None, None, 9.0]),
    ("t5", "a2", None, [None, None, None]),
    ("t6", "a3", "six", []),
]


@pytest.fixture
def tracks(spark: SparkSession) -> DataFrame:
    schema = "track_id string, artist_id string, title string, table_features array<float>"
    empty = {"album": F.lit(None).cast("string"), "artists": F.array().cast("array<string>")}
    return spark.createDataFrame(ROWS, schema).withColumns(empty)


def _values(rows: DataFrame, column: str) -> dict[str, list[float]]:
    table = rows.select("track_id", column).toArrow()
    values = matrix(table.column(column)).tolist()
    return dict(zip(table.column("track_id").to_pylist(), values, strict=True))


def test_a_missing_value_and_a_missing_column_are_nan_in_the_shards(tracks: DataFrame) -> None:
    inputs = ModelInputs((TABLE,), (KEY, FeatureSpec("energy", False), TEMPO), positions=(1, None, 0))
    rows = inputs.rows(tracks.where(inputs.usable()))
    found = _values(rows, TABLE)
    assert found.keys() == {"t1", "t2", "t3"}
    np.testing.assert_array_equal(found["t2"], [2, NAN, NAN])
    np.testing.assert_array_equal(found["t3"], [NAN, NAN, 140])
    assert rows.where(F.exists(TABLE, F.isnull)).count() == 0


def test_a_track_without_any_number_is_used_for_what_else_it_has(tracks: DataFrame) -> None:
    inputs = ModelInputs((TABLE, TEXT), (TEMPO, KEY), positions=(0, 1), partial=True)
    usable = tracks.where(inputs.usable())
    assert {row["track_id"] for row in usable.collect()} == {"t1", "t2", "t3", "t4", "t6"}
    found = _values(usable.select("track_id", inputs.vector().alias("values")), "values")
    np.testing.assert_array_equal(found["t6"], [NAN, NAN])
    np.testing.assert_array_equal(found["t2"], [NAN, 2])
