"""What the tests of the table reader share: they read a file and look at its cells."""

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.warehouse import Warehouse
from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.own_columns import OWN_COLUMNS
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.table_reader import SourceTable, read_table, reading
from genremill.jobs.command import Run


def read(
    spark: SparkSession, folder: Path, path: Path, ignore: tuple[str, ...] = (), **flags: Any
) -> SourceTable:
    """The table at a path; converted files go to a warehouse beside the folder."""
    work = Run(Warehouse.at(str(folder.parent / f"{folder.name}-warehouse")), "r1")
    options = Options(columns=Columns(ignore=ignore), **flags)
    return read_table(spark, work, CatalogSource(TABLE, storage.absolute_uri(str(path))), options)


def cells(table: SourceTable) -> list[tuple[Any, ...]]:
    """The rows without the columns of `ingest`, in the order of the files."""
    names = [name for name in table.rows.columns if name not in OWN_COLUMNS]
    with reading(table.source):
        rows = table.rows.collect()
    return [tuple(row[name] for name in names) for row in rows]


def malformed(table: SourceTable) -> list[str]:
    """What is wrong with each bad row."""
    return [row["_malformed"] for row in table.rows.collect() if row["_malformed"] is not None]
