"""Commits tables to an Iceberg catalog; the metadata are in `_iceberg/` of the warehouse.

pyiceberg finds the catalog by its name in `~/.pyiceberg.yaml` or in environment variables.
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from genremill.infra import extras, storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Warehouse
from genremill.jobs.lakehouse.table_files import (
    PUBLISHED_BY,
    RUN_ID,
    TableFiles,
    check_place,
    native_uri,
)

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction

FOLDER = "_iceberg"
PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
KEPT_DAYS = 30
"""Older snapshots expire with the next commit; deltalake keeps the log of a table as long."""


class Iceberg:
    """The tables of a warehouse in a namespace of a catalog."""

    name = "iceberg"

    def __init__(self, warehouse: Warehouse, place: str) -> None:
        """`place` is CATALOG.namespace; raises `UsageError` if there is no such catalog, or no pyiceberg."""
        name, dot, namespace = place.partition(".")
        if not (name and dot and namespace and all(namespace.split("."))):
            raise UsageError(f"--iceberg {place}: expected CATALOG.namespace, such as prod.music")
        extras.require("--iceberg", "pyiceberg.io.pyarrow", "pyiceberg", "iceberg")
        from pyiceberg.catalog import load_catalog

        check_place("--iceberg", warehouse)
        try:
            self._catalog = load_catalog(name, **_file_settings(warehouse))
        except Exception as err:  # each kind of catalog has errors of its own
            raise UsageError(
                f"--iceberg {place}: pyiceberg cannot load the catalog {name!r}: {err}. Describe it in "
                f"~/.pyiceberg.yaml or with PYICEBERG_CATALOG__{name.upper()}__URI"
            ) from err
        self._warehouse, self._namespace = warehouse, namespace

    def published_by(self, table: str) -> str | None:
        """The run that made the last commit of a table; None if the catalog has no such table."""
        with self._faults(table):
            found = self._table(table)
        snapshot = found.current_snapshot() if found else None
        summary = snapshot.summary if snapshot else None
        return summary.additional_properties.get(PUBLISHED_BY, "") if summary else None

    def commit(self, table: TableFiles, published_by: str) -> int:
        """Replaces the files of a table in one commit; returns the id of the snapshot."""
        with self._faults(table.name):
            found = self._table(table.name) or self._create(table)
            with found.transaction() as transaction:
                self._change(found, transaction, table, published_by)
            before = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
            found.maintenance.expire_snapshots().older_than(before).commit()
            snapshot = found.current_snapshot()
        return snapshot.snapshot_id if snapshot else 0

    def _change(
        self, found: "Table", transaction: "Transaction", table: TableFiles, published_by: str
    ) -> None:
        from pyiceberg.io.pyarrow import parquet_files_to_data_files
        from pyiceberg.table import TableProperties

        properties = table.metadata(published_by)
        paths = [f"{native_uri(table.folder)}/{file.name}" for file in table.files]
        before = [task.file for task in found.scan().plan_files()]
        if {file.file_path for file in before} == {*paths}:  # a commit cannot replace a file by itself
            with transaction.update_snapshot(snapshot_properties=properties).fast_append():
                return
        _evolve(transaction, table.schema)
        if transaction.table_metadata.name_mapping() is None:
            mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
            transaction.set_properties({TableProperties.DEFAULT_NAME_MAPPING: mapping})
        files = parquet_files_to_data_files(found.io, transaction.table_metadata, iter(paths))
        with transaction.update_snapshot(snapshot_properties=properties).overwrite() as replaced:
            for file in before:
                replaced.delete_data_file(file)
            for file in files:
                replaced.append_data_file(file)

    def _table(self, name: str) -> "Table | None":
        identifier = f"{self._namespace}.{name}"
        return self._catalog.load_table(identifier) if self._catalog.table_exists(identifier) else None

    def _create(self, table: TableFiles) -> "Table":
        self._catalog.create_namespace_if_not_exists(self._namespace)
        folders = (self._catalog.name, *self._namespace.split("."), table.name)
        return self._catalog.create_table(
            f"{self._namespace}.{table.name}",
            schema=table.schema,
            location=native_uri(self._warehouse.path(FOLDER, *folders)),
            properties=PROPERTIES,
        )

    @contextlib.contextmanager
    def _faults(self, table: str) -> Iterator[None]:
        """Turns errors of the catalog and of the storage into `StorageError`."""
        try:
            yield
        except StorageError:
            raise
        except Exception as err:  # each kind of catalog has errors of its own
            where = f"{self._catalog.name}.{self._namespace}.{table}"
            raise StorageError(f"cannot commit to the Iceberg table {where}: {err}") from err


def _file_settings(warehouse: Warehouse) -> dict[str, str]:
    """The settings of pyiceberg for an endpoint of S3 that is not AWS's own; it finds AWS by itself."""
    if not storage.is_s3(warehouse.uri) or (endpoint := s3_client.custom_endpoint()) is None:
        return {}
    names = {
        "AWS_ACCESS_KEY_ID": "s3.access-key-id",
        "AWS_SECRET_ACCESS_KEY": "s3.secret-access-key",
        "AWS_SESSION_TOKEN": "s3.session-token",
    }
    keys = {names[name]: value for name, value in s3_client.credentials().items()}
    return {"s3.endpoint": endpoint, "s3.region": s3_client.region() or "us-east-1"} | keys


def _evolve(transaction: "Transaction", schema: pa.Schema) -> None:
    """Adds new columns; a column that has another type now is replaced by a new one of its name."""
    from pyiceberg.exceptions import ValidationError

    for field in schema:
        columns = pa.schema([field])
        try:
            with transaction.update_schema() as update:
                update.union_by_name(columns)
        except (ValidationError, ValueError):
            with transaction.update_schema(allow_incompatible_changes=True) as update:
                update.delete_column(field.name)
            with transaction.update_schema() as update:
                update.union_by_name(columns)


def retained(warehouse: Warehouse, table: str) -> set[str]:
    """The runs whose files the snapshots in the newest metadata of a table need; without pyiceberg."""
    newest: dict[str, str] = {}  # the names begin with increasing numbers
    for file in storage.objects(warehouse.path(FOLDER)):
        folder, _, name = file.name.rpartition("/")
        if folder.endswith(f"/{table}/metadata") and name.endswith(".metadata.json"):
            newest[folder] = max(newest.get(folder, ""), name)
    uris = (warehouse.path(FOLDER, folder, name) for folder, name in newest.items())
    documents: Iterator[dict[str, Any]] = (json.loads(storage.read_bytes(uri)) for uri in uris)
    snapshots = (snapshot for document in documents for snapshot in document.get("snapshots", ()))
    summaries = (snapshot.get("summary", {}) for snapshot in snapshots)
    return {str(summary[RUN_ID]) for summary in summaries if RUN_ID in summary}
