"""Training shards: which rows share a file, and what is too little to share out."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.command import Run
from genremill.jobs.model_inputs import ModelInputs
from genremill.jobs.training_set import hashed_to, write_training_set
from genremill.models.features import TABLE, FeatureSpec


@pytest.mark.parametrize("partitions", [1, 7, 60])
def test_rows_go_to_the_partition_that_they_name(spark: SparkSession, partitions: int) -> None:
    wanted = (F.col("id") % partitions).cast("int")
    numbers = F.lit(hashed_to(spark, partitions))
    rows = spark.range(1000).repartition(partitions, F.element_at(numbers, wanted + 1))
    assert rows.where(wanted != F.spark_partition_id()).count() == 0


def test_fewer_rows_than_ranks_is_an_error_before_one_starts(spark: SparkSession, tmp_path: Path) -> None:
    work = Run(Warehouse.at(str(tmp_path)), "r1")
    inputs = ModelInputs((TABLE,), (FeatureSpec("tempo", False),), positions=(0,))
    rows = [(f"t{at}", f"t{at}", "rock" if at % 2 else "pop", "train", [float(at)]) for at in range(7)]
    schema = "track_id string, artist_id string, genre string, split string, table_features array<float>"
    pairs = spark.createDataFrame(rows, schema).withColumn("class", F.col("genre"))
    with pytest.raises(UsageError, match="--workers 4: there are 7 rows to train on; expected 8 or more"):
        write_training_set(spark, work, pairs, inputs, workers=4)
    assert list(tmp_path.iterdir()) == []
    assert write_training_set(spark, work, pairs, inputs, workers=3).train_rows == 7
