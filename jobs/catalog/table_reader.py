"""Reads a track table: all its columns, CSV columns as text, and the place where each row was read."""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Iterator

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession, functions as F, types as T

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.readers import file_reader, have_colons
from genremill.infra.session import is_permanent

MALFORMED = "_malformed"
FILE, BLOCK, POSITION = "_file", "_block", "_position"
"""The place of a row: file, start of its block in bytes, and a number that increases within the block."""
OWN_COLUMNS = (MALFORMED, FILE, BLOCK, POSITION)

_FILE_ERROR = re.compile(
    "FAILED_READ_FILE|header does not conform|COLUMN_ALREADY_EXISTS|CANNOT_MERGE_SCHEMAS"
)
"""Parts of Spark's messages about wrong files, for which a retry would fail again."""
_STORAGE_ERROR = re.compile(r"(org\.apache\.(hadoop\.fs\.s3a|http)|software\.amazon\.awssdk|java\.net)")
"""Beginnings of the causes in the message if the storage failed."""


def read_table(spark: SparkSession, uri: str, delimiter: str, multiline: bool) -> DataFrame:
    """All columns of a CSV or Parquet table, and the place of each row; CSV columns are text.

    A CSV row with more or fewer fields than the header has `_malformed` set to its raw text.
    """
    check_files(uri)
    with reading(uri):
        if storage.is_parquet(uri):
            merged = file_reader(spark, uri).option("mergeSchema", True).parquet(uri)
            df = _without_own_columns(merged, uri)
            df = df.withColumn(MALFORMED, F.lit(None).cast("string"))
            position = F.col("_metadata.row_index")
        else:
            df = _read_csv(spark, uri, delimiter, multiline)
            position = F.monotonically_increasing_id()
        file, block = F.col("_metadata.file_path"), F.col("_metadata.file_block_start")
        return df.select("*", file.alias(FILE), block.alias(BLOCK), position.alias(POSITION))


def check_files(uri: str) -> None:
    """Raises `UsageError` if the files cannot be a table; needs no Spark."""
    if storage.inventory(uri).size_bytes == 0:
        raise UsageError(f"--tracks {uri}: the file is empty; expected a CSV or Parquet table")
    if nested := [name for name in storage.folders(uri) if "=" not in name and name[0] not in "._"]:
        raise UsageError(f"--tracks {uri}: the folder contains the folder {nested[0]!r}; expected only files")
    if uri.endswith(".parquet") and not storage.is_parquet(uri):
        raise UsageError(f"--tracks {uri}: the file is not Parquet, although its name ends in .parquet")


def check_whole(spark: SparkSession, uri: str, rows: int) -> None:
    """Raises if a CSV table on S3 has more or fewer lines than the rows that were read.

    Spark's connector takes a truncated response without a length header for the whole file, so that rows
    would be lost without an error. Readers of Parquet notice it.
    """
    written = F.col("value").rlike(r"[^\x00-\x20]")  # Spark's CSV reader skips other lines
    lines = file_reader(spark, uri).text(uri).where(written).groupBy(F.input_file_name()).count()
    there = lines.agg(F.coalesce(F.sum(F.col("count") - 1), F.lit(0))).first()  # no headers
    if there and there[0] != rows:
        raise StorageError(f"--tracks {uri}: {rows:,} rows were read; a second read found {there[0]:,}")


@contextlib.contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turns Spark's errors about files that are not a table into a `UsageError`.

    If the storage failed, it raises a `StorageError`: Spark reports both in the same way. Other errors pass.
    """
    try:
        yield
    except (PySparkException, Py4JJavaError) as err:
        lines = [line.strip() for line in str(err).splitlines() if line.strip()]
        if isinstance(err, Py4JJavaError) and not _FILE_ERROR.search(str(err)):
            raise
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        if any(map(_STORAGE_ERROR.match, causes)) and not any(map(is_permanent, causes)):
            raise StorageError(f"cannot read --tracks {uri}: {causes[-1]}") from err
        cause = causes[-1] if causes else lines[0]
        raise UsageError(f"--tracks {uri} cannot be read as a table: {cause}") from err


def _read_csv(spark: SparkSession, uri: str, delimiter: str, multiline: bool) -> DataFrame:
    delimiter = "\t" if delimiter == r"\t" else delimiter
    if len(delimiter) != 1:
        raise UsageError(rf"--delimiter {delimiter!r}: expected one character, or \t")
    # Spark escapes quotes with a backslash by default; other programs double them.
    reader = file_reader(spark, uri).options(
        header=True, sep=delimiter, quote='"', escape='"', encoding="UTF-8"
    )
    _refuse_duplicate_names(spark, uri, delimiter)
    # With multiLine, Spark looks for the header by a pattern, in which a colon is an error.
    reader.option("multiLine", multiline and not have_colons(uri))
    names = _without_own_columns(reader.csv(uri), uri).columns
    # Spark names an unnamed column _c0, and then does not find that name in the header.
    written = ["" if name == f"_c{number}" else name for number, name in enumerate(names)]
    schema = T.StructType([T.StructField(name, T.StringType()) for name in (*written, MALFORMED)])
    # Without enforceSchema, files with different headers are an error, instead of shifted columns.
    strict = reader.options(columnNameOfCorruptRecord=MALFORMED, enforceSchema=False, columnPruning=False)
    df = strict.option("multiLine", multiline).schema(schema).csv(uri)
    # By name: Spark puts columns from folder names last.
    shown = dict(zip(written, names, strict=True))
    return df.toDF(*(shown.get(name, name) for name in df.columns))


def _refuse_duplicate_names(spark: SparkSession, uri: str, delimiter: str) -> None:
    """Raises if two column names differ at most in case: Spark would rename such columns."""
    first = file_reader(spark, uri).text(uri).first()
    try:
        header = next(csv.reader([first[0] if first else ""], delimiter=delimiter), [])
    except csv.Error as err:
        raise UsageError(f"--tracks {uri}: the first line is not a header: {err}") from err
    counts = Counter(name.strip().lower() for name in header if name.strip())
    if twice := [name for name, count in counts.items() if count > 1]:
        raise UsageError(f"--tracks {uri}: more than one column is named {', '.join(map(repr, twice[:5]))}")


def _without_own_columns(df: DataFrame, uri: str) -> DataFrame:
    if taken := [name for name in df.columns if name.lower() in OWN_COLUMNS]:
        message = f"ingest adds a column {taken[0]!r}; rename this column in the table"
        raise UsageError(f"--tracks {uri}: {message}")
    return df
