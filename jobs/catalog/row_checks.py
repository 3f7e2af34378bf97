"""The rows of a track table as typed rows: a good row is a track, a bad row has a reason."""

from pyspark.sql import Column, DataFrame, Window, functions as F, types as T

from genremill.jobs.catalog.own_columns import BLOCK, FILE, OWN_COLUMNS, POSITION
from genremill.jobs.catalog.table_reader import url_decoded
from genremill.jobs.contracts import quoted
from genremill.udfs.cells.rows import SCHEMA, RowFormat, columns_read, make_read_rows

OF_FILE = "_of_file"
"""The vectors of a file that --vectors names."""
INTERNAL_COLUMNS = ("problem", "known", "numbers", "not_numbers", "row_digest", OF_FILE, *OWN_COLUMNS)
"""Columns that `ingest` adds while it works."""


def typed_rows(raw: DataFrame, form: RowFormat, kept: tuple[str, ...]) -> DataFrame:
    """Every row of the table, parsed, with an id; `problem` (reason, detail) is null if the row is good."""
    carried = (*kept, FILE, BLOCK, POSITION)
    names = list(dict.fromkeys((*columns_read(form), *carried)))
    # `mapInArrow` takes a dot in the name of a column for a part of a struct, so the names are numbers.
    numbered = {name: f"column_{number}" for number, name in enumerate(names)}
    read = raw.select(*(F.col(quoted(name)).alias(number) for name, number in numbered.items()))
    own = raw.sparkSession.createDataFrame([], SCHEMA).schema
    schema = T.StructType([*own.fields, *(read.schema[numbered[name]] for name in carried)])
    rows = read.mapInArrow(make_read_rows(form, names, [numbered[name] for name in carried]), schema)
    rows = rows.select(*own.names, *(F.col(numbered[name]).alias(name) for name in carried))
    return _with_numbered_ids(rows) if form.id is None else rows


def _with_numbered_ids(rows: DataFrame) -> DataFrame:
    """Rows whose ids were made, with a number after the id if rows with the same id differ."""
    rank = F.dense_rank().over(Window.partitionBy("track_id").orderBy("row_digest"))
    numbered = F.when(F.col("rank") > 1, F.concat_ws("-", "track_id", "rank")).otherwise(F.col("track_id"))
    return rows.withColumn("rank", rank).withColumn("track_id", numbered).drop("rank")


def rejected(rows: DataFrame, run_id: str, positions_count_blocks: bool) -> DataFrame:
    """The bad rows as rows of `rejects`; the key of a row without an id is its file and row number.

    `positions_count_blocks`: positions start again in each block (CSV), and not only in each file (Parquet).
    """
    bad = rows.where(F.col("problem").isNotNull())
    if positions_count_blocks:
        bad = bad.join(F.broadcast(_block_starts(rows)), [FILE, BLOCK], "left")
        row_number = F.col(POSITION) - F.col("first") + F.col("before") + 1
    else:
        row_number = F.col(POSITION) + 1
    place = F.concat_ws(":", url_decoded(F.col(FILE)), row_number.cast("string"))
    return as_rejects(bad, F.coalesce("track_id", place), run_id)


def as_rejects(bad: DataFrame, key: Column, run_id: str) -> DataFrame:
    """Rows with a `problem` as rows of `rejects`."""
    return bad.select(
        F.lit("ingest").alias("stage"),
        key.alias("key"),
        F.col("problem.reason").alias("reason"),
        F.col("problem.detail").alias("detail"),
        F.lit(None).cast("string").alias("etag"),
        F.lit(None).cast("string").alias("fingerprint"),
        F.lit(run_id).alias("run_id"),
        F.lit(None).cast("string").alias("decoder"),
    )


def _block_starts(rows: DataFrame) -> DataFrame:
    """The first position in each block of each file, and the number of rows of the file before it."""
    blocks = rows.groupBy(FILE, BLOCK).agg(F.min(POSITION).alias("first"), F.count("*").alias("count"))
    earlier = Window.partitionBy(FILE).orderBy(BLOCK).rowsBetween(Window.unboundedPreceding, -1)
    before = F.coalesce(F.sum("count").over(earlier), F.lit(0))
    return blocks.select(FILE, BLOCK, "first", before.alias("before"))
