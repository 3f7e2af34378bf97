"""Writes the rows of a split as Parquet with equal row groups."""

from pyspark.sql import DataFrame, Observation, SparkSession, functions as F

from genremill.models.training import manifest

GROUPS_A_WORKER = 4
"""Smallest number of row groups per worker. All workers have the same number, so their shares are equal."""
ROWS_A_FILE, BYTES_A_FILE = 4_000_000, 2 << 30


def write_part(examples: DataFrame, folder: str, rows: int, workers: int, row_bytes: int) -> str:
    """Writes the shards of one split and their manifest; returns a digest of the rows."""
    groups = workers * max(-(-rows // (workers * manifest.group_rows(row_bytes))), GROUPS_A_WORKER)
    group = -(-rows // groups)
    files = -(-rows // min(ROWS_A_FILE, BYTES_A_FILE // row_bytes))
    file = F.floor(F.col("order") * files).cast("int")
    numbers = F.lit(hashed_to(examples.sparkSession, files))
    by_file = examples.repartition(files, F.element_at(numbers, file + 1))
    written = Observation()  # the examples are computed once, although the digest needs all of them
    total = F.sum(F.col("row_hash") % (1 << 31)).alias("total")
    ordered = by_file.sortWithinPartitions("order", "row_hash")
    shard_rows = ordered.observe(written, F.count("*").alias("rows"), total).drop("order", "row_hash")
    # Since Spark 4.1, an option limits the rows of a row group. In Spark 4.0, each row group is a file.
    counts_rows = tuple(map(int, examples.sparkSession.version.split(".")[:2])) >= (4, 1)
    limit = "parquet.block.row.count.limit" if counts_rows else "maxRecordsPerFile"
    shard_rows.write.option(limit, group).parquet(folder)
    digest = f"{written.get['rows']}-{written.get['total']}"
    manifest.write_manifest(folder, manifest.manifest_of(folder, digest))
    return digest


def hashed_to(spark: SparkSession, partitions: int) -> list[int]:
    """For each partition, a number that a repartition into this many partitions sends there.

    Spark 4.0 does not have `repartitionById`, which would make this unnecessary.
    """
    numbers = spark.range(partitions * (10 + partitions.bit_length()))
    partition = F.pmod(F.hash(F.col("id").cast("int")), F.lit(partitions)).alias("partition")
    rows = numbers.groupBy(partition).agg(F.min("id").alias("id")).orderBy("partition").collect()
    return [row["id"] for row in rows]
