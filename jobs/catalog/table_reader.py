"""A track table as its owner keeps it, read whole: CSV columns as text, and where each row was read."""

import contextlib
import csv
from collections import Counter
from collections.abc import Iterator

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, functions as F, types as T

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError

MALFORMED = "_malformed"
FILE, BLOCK, POSITION = "_file", "_block", "_position"
"""Where a row was read: file, start of its block in bytes, and a number that rises within the block."""
OWN_COLUMNS = (MALFORMED, FILE, BLOCK, POSITION)

_OF_THE_FILES = (
    "FAILED_READ_FILE",
    "header does not conform",
    "COLUMN_ALREADY_EXISTS",
    "CANNOT_MERGE_SCHEMAS",
)
"""What Spark says where the files are at fault, and a retry would find the same."""
_OF_THE_STORAGE = (
    "org.apache.hadoop.fs.s3a.",
    "software.amazon.awssdk.",
    "org.apache.http.",
    "java.net.",
    "java.nio.file.AccessDeniedException",
)
"""What the causes are then called where it is the storage."""


def read_table(spark: SparkSession, uri: str, delimiter: str, multiline: bool) -> DataFrame:
    """All columns of a CSV or Parquet table, with where each row was read; CSV columns are all text.

    A CSV row with more or fewer fields than the header has `_malformed` set to its raw text.
    """
    check_files(uri)
    with reading(uri):
        if storage.is_parquet(uri):
            df = spark.read.option("mergeSchema", True).parquet(uri)
            df = _free_of(df, uri).withColumn(MALFORMED, F.lit(None).cast("string"))
            position = F.col("_metadata.row_index")
        else:
            df = _read_csv(spark, uri, delimiter, multiline)
            position = F.monotonically_increasing_id()
        where = F.col("_metadata.file_path"), F.col("_metadata.file_block_start")
        return df.select("*", where[0].alias(FILE), where[1].alias(BLOCK), position.alias(POSITION))


def check_files(uri: str) -> None:
    """Raises if the files cannot be a table; needs no Spark."""
    if storage.inventory(uri).size_bytes == 0:
        raise UsageError(f"--tracks {uri}: the file is empty; expected a CSV or Parquet table")
    if nested := [name for name in storage.folders(uri) if "=" not in name and name[0] not in "._"]:
        raise UsageError(f"--tracks {uri}: the folder contains the folder {nested[0]!r}; expected only files")
    if uri.endswith(".parquet") and not storage.is_parquet(uri):
        raise UsageError(f"--tracks {uri}: the file is not Parquet, although its name ends in .parquet")


def check_whole(spark: SparkSession, uri: str, rows: int) -> None:
    """Raises where a CSV table on S3 has other lines than the rows that were read of it.

    An answer that is cut, under headers that say nothing of it, ends a text for Spark's connector: what is
    lost is missed by nobody. Parquet misses it.
    """
    written = F.col("value").rlike(r"[^\x00-\x20]")  # the lines that Spark's CSV reader does not pass over
    lines = spark.read.text(uri).where(written).groupBy(F.input_file_name()).count()
    there = lines.agg(F.coalesce(F.sum(F.col("count") - 1), F.lit(0))).first()  # less each file's header
    if there and there[0] != rows:
        raise StorageError(f"--tracks {uri}: {rows:,} rows were read, and at another time {there[0]:,}")


@contextlib.contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turns what Spark says of files that are no table into a `UsageError`; other failures pass.

    Files that the storage does not give are a `StorageError`: Spark calls both by one name.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as err:
        lines = [line.strip() for line in str(err).splitlines() if line.strip()]
        if isinstance(err, Py4JJavaError) and not any(mark in str(err) for mark in _OF_THE_FILES):
            raise
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        if any(cause.startswith(_OF_THE_STORAGE) for cause in causes):
            raise StorageError(f"cannot read --tracks {uri}: {causes[-1]}") from err
        said = causes[-1] if causes else lines[0]
        raise UsageError(f"--tracks {uri} cannot be read as a table: {said}") from err


def _read_csv(spark: SparkSession, uri: str, delimiter: str, multiline: bool) -> DataFrame:
    delimiter = "\t" if delimiter == r"\t" else delimiter
    if len(delimiter) != 1:
        raise UsageError(rf"--delimiter {delimiter!r}: expected one character, or \t")
    # Spark's default escape is a backslash; CSV as everyone else writes it doubles the quote.
    reader = spark.read.options(
        header=True, sep=delimiter, quote='"', escape='"', multiLine=multiline, encoding="UTF-8"
    )
    _refuse_doubled_names(spark, uri, delimiter)
    names = _free_of(reader.csv(uri), uri).columns
    # Spark calls an unnamed column _c0, and then misses that name in the header.
    written = ["" if name == f"_c{at}" else name for at, name in enumerate(names)]
    schema = T.StructType([T.StructField(name, T.StringType()) for name in (*written, MALFORMED)])
    # enforceSchema off: files of a folder whose headers differ are an error, not shifted columns.
    strict = reader.options(columnNameOfCorruptRecord=MALFORMED, enforceSchema=False, columnPruning=False)
    df = strict.schema(schema).csv(uri)
    # By name: what the folders' names tell comes last, whatever the schema says.
    shown = dict(zip(written, names, strict=True))
    return df.toDF(*(shown.get(name, name) for name in df.columns))


def _refuse_doubled_names(spark: SparkSession, uri: str, delimiter: str) -> None:
    """Raises where two columns have one name, upper and lower case alike; Spark would rename them."""
    first = spark.read.text(uri).first()
    try:
        header = next(csv.reader([first[0] if first else ""], delimiter=delimiter), [])
    except csv.Error as err:
        raise UsageError(f"--tracks {uri}: its first line is no header of a table: {err}") from err
    counts = Counter(name.strip().lower() for name in header if name.strip())
    if doubled := [name for name, count in counts.items() if count > 1]:
        raise UsageError(f"--tracks {uri}: more than one column is named {', '.join(map(repr, doubled[:5]))}")


def _free_of(df: DataFrame, uri: str) -> DataFrame:
    if taken := [name for name in df.columns if name.lower() in OWN_COLUMNS]:
        raise UsageError(f"--tracks {uri}: ingest adds a column {taken[0]!r} of its own; rename the table's")
    return df
