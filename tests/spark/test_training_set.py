"""Training shards: which rows share a file."""

import pytest
from pyspark.sql import SparkSession, functions as F

from genremill.jobs.training_set import hashed_to


@pytest.mark.parametrize("partitions", [1, 7, 60])
def test_rows_go_to_the_partition_that_they_name(spark: SparkSession, partitions: int) -> None:
    wanted = (F.col("id") % partitions).cast("int")
    numbers = F.lit(hashed_to(spark, partitions))
    rows = spark.range(1000).repartition(partitions, F.element_at(numbers, wanted + 1))
    assert rows.where(wanted != F.spark_partition_id()).count() == 0
