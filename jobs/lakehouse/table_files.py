"""The Parquet files of a table of a generation, as the formats of a lakehouse list them."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.stores.objects import StoredObject
from genremill.infra.warehouse import Snapshot, Warehouse

RUN_ID, PUBLISHED_BY = "genremill.run_id", "genremill.published_by"
"""Metadata of a commit: the run that wrote the rows, and the run that made the generation current."""


@dataclass(frozen=True)
class TableFiles:
    """The files of a snapshot; their names are relative to its folder, a URI."""

    name: str
    snapshot: Snapshot
    folder: str
    files: tuple[StoredObject, ...]
    rows: tuple[int, ...]
    """Number of rows of each file."""
    schema: pa.Schema

    @classmethod
    def of(cls, warehouse: Warehouse, name: str, snapshot: Snapshot) -> "TableFiles":
        """Reads the footers of the files; raises `StorageError` if one of them cannot be read."""
        folder = warehouse.path(snapshot.path)
        files = tuple(file for file in storage.data_files(folder) if file.name.endswith(".parquet"))
        rows, schemas = [], []
        for file in files:
            count, schema = _footer(f"{folder}/{file.name}")
            rows.append(count)
            schemas.append(schema)
        return cls(name, snapshot, folder, files, tuple(rows), schemas[0])

    def metadata(self, published_by: str) -> dict[str, str]:
        """The metadata of a commit of these files."""
        return {RUN_ID: self.snapshot.run_id, PUBLISHED_BY: published_by}


def _footer(uri: str) -> tuple[int, pa.Schema]:
    """Number of rows, and the schema without Spark's description of it."""
    store, path = storage.arrow(uri)
    try:
        with store.open_input_file(path) as source:
            file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us")
            return file.metadata.num_rows, file.schema_arrow.remove_metadata()
    except (OSError, pa.ArrowInvalid) as err:
        raise storage.arrow_error("read", uri, OSError(str(err))) from err


def native_uri(uri: str) -> str:
    """A URI as other tools write it.

    >>> native_uri("s3a://music/warehouse"), native_uri("file:///data/wh")
    ('s3://music/warehouse', 'file:///data/wh')
    """
    return "s3://" + uri.removeprefix("s3a://") if storage.is_s3(uri) else uri


def check_place(flag: str, warehouse: Warehouse) -> None:
    """Raises `UsageError` if the libraries of table formats would decode the path of a warehouse."""
    if odd := [sign for sign in "%#?" if sign in warehouse.uri]:
        raise UsageError(
            f"{flag}: expected a warehouse without {odd[0]!r} in its path, found {warehouse.uri}"
        )
