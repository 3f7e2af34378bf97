"""Reads a track table: all its columns, CSV columns as text, and the place where each row was read."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from urllib.parse import quote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, functions as F, types as T

from genremill.infra.errors import StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.readers import file_reader, path_groups
from genremill.infra.session import is_permanent
from genremill.jobs import command
from genremill.jobs.catalog.catalog_source import CatalogSource
from genremill.jobs.catalog.converted_files import ConvertedFiles
from genremill.jobs.catalog.csv_dialect import clean_name
from genremill.jobs.catalog.csv_files import CsvTable, csv_table
from genremill.jobs.catalog.excel_files import copy_excel
from genremill.jobs.catalog.file_format import FileFormat, Kind
from genremill.jobs.catalog.left_out import LeftOut
from genremill.jobs.catalog.own_columns import BLOCK, FILE, MALFORMED, POSITION, check_names
from genremill.jobs.catalog.parquet_files import parquet_files
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.source_files import SourceFile, source_files
from genremill.jobs.catalog.united_schemas import read_parquet
from genremill.jobs.contracts import quoted

DRY_RUN_LINES = 100_000
"""Lines of a converted file that a dry run reads; its sample needs fewer, unless records span many lines."""

_FILE_ERROR = re.compile(
    "FAILED_READ_FILE|header does not conform|COLUMN_ALREADY_EXISTS|CANNOT_MERGE_SCHEMAS"
)
"""Parts of Spark's messages about wrong files, for which a retry would fail again."""
_STORAGE_ERROR = re.compile(r"(org\.apache\.(hadoop\.fs\.s3a|http)|software\.amazon\.awssdk|java\.net)")
"""Beginnings of the causes in the message if the storage failed."""
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class SourceTable:
    """A track table as it was written."""

    source: CatalogSource
    rows: DataFrame
    """All columns but the ignored ones, and `OWN_COLUMNS`. CSV and Excel columns are text."""
    format: FileFormat
    left_out: LeftOut
    expected_rows: int | None = None
    """Number of rows by a count of all lines; None if lines are not rows or were not counted."""
    no_tracks: DataFrame | None = None
    """The audio files that are no tracks: track_id, audio_uri and `problem`."""
    keep: tuple[str, ...] = ()
    """Columns that are kept besides those that flags name."""

    @property
    def positions_count_blocks(self) -> bool:
        """Whether positions start again in each block (CSV), and not only in each file."""
        return self.format.kind is Kind.CSV


def read_table(
    spark: SparkSession, work: command.Run, source: CatalogSource, options: Options
) -> SourceTable:
    """All columns of a CSV, Excel or Parquet table, and the place of each row.

    A CSV row with more or fewer fields than the header has `_malformed` set to its raw text. Files that Spark
    cannot read are converted in the scratch folder of the run.
    """
    files = source_files(source.uri)
    converted = ConvertedFiles(work.warehouse.tmp(work.run_id), DRY_RUN_LINES if work.dry_run else None)
    with reading(source):
        if files[0].kind is Kind.CSV:
            table = _csv(spark, work, source, files, converted, options)
        else:
            table = _parquet(spark, source, files, converted, options.columns.ignore)
    LOGGER.info("%s", f"{source}: {table.format.description}")
    return table


def check_whole(table: SourceTable, rows: int) -> None:
    """Raises if a CSV table has more or fewer lines than the rows that were read.

    Spark's connector takes a truncated response of S3 without a length header for the whole file, so that
    rows would be lost without an error. Readers of Parquet notice it.
    """
    if table.expected_rows is not None and table.expected_rows != rows:
        message = f"{rows:,} rows were read; another read found {table.expected_rows:,}"
        raise StorageError(f"{table.source}: {message}")


@contextlib.contextmanager
def reading(source: object) -> Iterator[None]:
    """Turns Spark's errors about files that are not a table into a `UsageError`; it names the source.

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
            raise StorageError(f"cannot read {source}: {causes[-1]}") from err
        cause = causes[-1] if causes else lines[0]
        raise UsageError(f"{source} cannot be read as a table: {cause}") from err


def _csv(
    spark: SparkSession,
    work: command.Run,
    source: CatalogSource,
    files: Sequence[SourceFile],
    converted: ConvertedFiles,
    options: Options,
) -> SourceTable:
    found = csv_table(spark, converted, files, options, scan=not (work.dry_run or options.limit))
    kept = [name for name in found.names if name not in options.columns.ignore]
    check_names(kept, str(source))
    partitions = _partition_columns(files, found.names, options.columns.ignore)
    place = _place(F.monotonically_increasing_id(), converted)
    columns: list[Column | str] = [*map(quoted, (*kept, MALFORMED)), *place]
    parts = [
        _text_rows(spark, found, group, options.columns.ignore).select(*columns)
        for group in path_groups([text.place for text in found.texts])
    ]
    rows = _with_partitions(reduce(DataFrame.unionByName, parts), partitions)
    first = found.texts[0]
    shown = FileFormat(
        Kind.CSV,
        files=len(files),
        packing=first.file.packing,
        encoding=first.encoding,
        delimiter=found.dialect.delimiter,
        escape=found.dialect.escape,
        multiline=found.multiline,
        inside=first.file.member,
        lines_above=first.lines_above,
        undecodable_rows=found.undecodable,
    )
    ignored = _ignored(files, found.names, options.columns.ignore)
    return SourceTable(source, rows, shown, LeftOut(ignored, {}, partitions), found.rows)


def _text_rows(spark: SparkSession, table: CsvTable, places: list[str], ignore: Sequence[str]) -> DataFrame:
    """The fields of some files as text; `_malformed` has the raw text of a record that is not whole."""
    # A column to ignore may have the name of another column.
    names = [f"_ignored_{at}" if name in ignore else name for at, name in enumerate(table.names)]
    reader = file_reader(spark, *places).options(
        header=True,
        sep=table.dialect.delimiter,
        quote='"',
        escape=table.dialect.escape,
        encoding="UTF-8",
        multiLine=table.multiline,
        columnNameOfCorruptRecord=MALFORMED,
        enforceSchema=True,  # the names may be cleaned; `csv_table` has compared the headers of all files
        columnPruning=False,  # with it, rows with too few or too many fields are not found
    )
    if table.multiline:
        reader = reader.option("lineSep", "\n")
    schema = T.StructType([T.StructField(name, T.StringType()) for name in (*names, MALFORMED)])
    rows = reader.schema(schema).csv(places)
    if not table.undecodable:
        return rows
    cells = F.concat_ws(table.dialect.delimiter, *map(quoted, names))
    fault = F.concat(F.lit("the row has bytes that are not UTF-8: "), cells)
    return rows.withColumn(MALFORMED, F.coalesce(MALFORMED, F.when(cells.contains("\ufffd"), fault)))


def _parquet(
    spark: SparkSession,
    source: CatalogSource,
    files: Sequence[SourceFile],
    converted: ConvertedFiles,
    ignore: Sequence[str],
) -> SourceTable:
    """The rows of Parquet files, or of Excel files as Parquet files of text."""
    kind, sources = files[0].kind, list(files)
    shown = FileFormat(kind, files=len(files), packing=files[0].packing, inside=files[0].member)
    if kind is Kind.EXCEL:
        sources = [replace(file, copy=converted.add(file, "parquet")) for file in files]
        sheets = [copy_excel(file, MALFORMED, converted.lines) for file in sources]
        first = sheets[0]
        shown = replace(shown, inside=first.name, other_sheets=first.others, lines_above=first.lines_above)
    found = parquet_files(sources, ignore, converted)
    names = dict.fromkeys(clean_name(name) or "_c0" for file in found for name in file.names)
    partitions = _partition_columns(files, names, ignore)
    rows = read_parquet(spark, found, _place(F.col("_metadata.row_index"), converted))
    if kind is not Kind.EXCEL:
        rows = rows.withColumn(MALFORMED, F.lit(None).cast("string"))
    unreadable = {name: kind for file in found for name, kind in file.unreadable.items()}
    left_out = LeftOut(_ignored(files, names, ignore), unreadable, partitions)
    return SourceTable(source, _with_partitions(rows, partitions), shown, left_out)


def _place(position: Column, converted: ConvertedFiles) -> list[Column]:
    """The place of a row; a converted file has the name of the file that it was made from."""
    file = F.col("_metadata.file_path")
    if converted.origins:
        name = F.regexp_extract(file, f"{converted.folder.rpartition('/')[2]}/([^/]+)$", 1)
        pairs = [F.lit(text) for pair in converted.origins.items() for text in (pair[0], _encoded(pair[1]))]
        file = F.coalesce(F.element_at(F.create_map(*pairs), name), file)
    return [file.alias(FILE), F.col("_metadata.file_block_start").alias(BLOCK), position.alias(POSITION)]


def _encoded(uri: str) -> str:
    """A URI in the notation of Spark's metadata columns."""
    return quote(uri, safe="/:=@!$&'()*+,;~")


def _partition_columns(
    files: Sequence[SourceFile], names: Iterable[str], ignore: Sequence[str]
) -> tuple[str, ...]:
    """The columns in the names of the folders; a column of the same name in the files takes precedence."""
    taken = {name.lower() for name in (*names, *ignore)}
    found = dict.fromkeys(name for file in files for name in file.partitions)
    return tuple(name for name in found if name.lower() not in taken)


def _ignored(files: Sequence[SourceFile], names: Iterable[str], ignore: Sequence[str]) -> tuple[str, ...]:
    """The columns to ignore that exist, in the files or in the names of the folders."""
    folders = (name for file in files for name in file.partitions)
    return tuple(name for name in dict.fromkeys((*names, *folders)) if name in ignore)


def _with_partitions(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """Adds the columns from the names of the folders, as text."""
    return rows.withColumns({name: _partition_value(name) for name in names})


def url_decoded(value: Column) -> Column:
    """A path without percent codes; in a path, a plus is no blank. Text that has no valid codes stays."""
    return F.coalesce(F.try_url_decode(F.replace(value, F.lit("+"), F.lit("%2B"))), value)


def _partition_value(name: str) -> Column:
    value = F.regexp_extract(FILE, f".*/{re.escape(_encoded(name))}=([^/]*)/", 1)
    for _ in range(2):  # once for the URI, once for Hive, which encodes characters such as the colon
        value = url_decoded(value)
    return F.when(~value.isin("", _NO_PARTITION), value)
