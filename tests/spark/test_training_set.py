"""Training shards: which rows are in a file, and the error if there are too few rows."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.command import Run
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.training.dataset import write_training_set
from genremill.jobs.training.shards import hashed_to
from genremill.models.features import FOLD, FOLDS, TABLE, TEXT, FeatureSpec


@pytest.mark.parametrize("partitions", [1, 7, 60])
def test_rows_are_sent_to_the_partition_of_their_number(spark: SparkSession, partitions: int) -> None:
    wanted = (F.col("id") % partitions).cast("int")
    numbers = F.lit(hashed_to(spark, partitions))
    rows = spark.range(1000).repartition(partitions, F.element_at(numbers, wanted + 1))
    assert rows.where(wanted != F.spark_partition_id()).count() == 0


def test_too_few_rows_for_the_ranks_is_an_error_before_a_rank_starts(
    spark: SparkSession, tmp_path: Path
) -> None:
    work = Run(Warehouse.at(str(tmp_path)), "r1")
    inputs = ModelInputs((TABLE,), (FeatureSpec("tempo", False),), positions=(0,))
    rows = [(f"t{at}", f"t{at}", "rock" if at % 2 else "pop", "train", [float(at)]) for at in range(7)]
    schema = "track_id string, artist_id string, genre string, split string, table_features array<float>"
    pairs = spark.createDataFrame(rows, schema).withColumn("class", F.col("genre"))
    with pytest.raises(UsageError, match="--workers 4: there are 7 rows to train on; expected 8 or more"):
        write_training_set(spark, work, pairs, inputs, workers=4)
    assert list(tmp_path.iterdir()) == []
    assert write_training_set(spark, work, pairs, inputs, workers=3).windows["train"] == 7


def test_classes_that_tracks_have_together(spark: SparkSession, tmp_path: Path) -> None:
    """Three of the four dance tracks are also club; tracks of other splits are not counted."""
    work = Run(Warehouse.at(str(tmp_path)), "r1")
    inputs = ModelInputs((TABLE,), (FeatureSpec("tempo", False),), positions=(0,))
    genres = {"t1": "dance club", "t2": "dance club", "t3": "dance club", "t4": "dance", "t5": "rock"}
    rows = [(track, genre, "train") for track, names in genres.items() for genre in names.split()]
    rows += [("t6", genre, "test") for genre in ("rock", "dance")]
    pairs = spark.createDataFrame(rows, "track_id string, class string, split string").select(
        "*",
        F.col("track_id").alias("artist_id"),
        F.col("class").alias("genre"),
        F.array(F.lit(1.0).cast("float")).alias("table_features"),
    )
    training_set = write_training_set(spark, work, pairs, inputs, workers=1)
    assert training_set.together == {"club": {"dance": 1.0}, "dance": {"club": 0.75}}


def test_all_tracks_of_an_artist_are_in_one_fold(spark: SparkSession, tmp_path: Path) -> None:
    work = Run(Warehouse.at(str(tmp_path)), "r1")
    inputs = ModelInputs((TABLE, TEXT), (FeatureSpec("artist", False),), positions=(0,))
    rows = [
        (f"t{at}", f"a{at % 40}", f"title {at}", [f"a{at % 40}"], "train", [float(at % 40)])
        for at in range(400)
    ]
    schema = (
        "track_id string, artist_id string, title string, artists array<string>, split string, "
        "table_features array<float>"
    )
    pairs = spark.createDataFrame(rows, schema).select(
        "*",
        F.lit(None).cast("string").alias("album"),
        F.element_at(F.array(F.lit("rock"), F.lit("pop")), F.when(F.rand(0) < 0.5, 1).otherwise(2)).alias(
            "class"
        ),
    )
    training_set = write_training_set(
        spark, work, pairs.withColumn("genre", F.col("class")), inputs, workers=1
    )
    shards = spark.read.parquet(training_set.train)
    folds = shards.select(shards[TABLE][0].alias("artist"), shards[FOLD][0].alias("fold")).distinct()
    assert folds.count() == 40
    assert {row["fold"] for row in folds.collect()} == set(range(FOLDS))
