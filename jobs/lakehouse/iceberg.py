"""Commits tables to an Iceberg catalog; the metadata are in `_iceberg/` of the warehouse.

pyiceberg finds the catalog by its name in `~/.pyiceberg.yaml` or in environment variables.
"""

import contextlib
import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Warehouse
from genremill.jobs.lakehouse.table_files import PUBLISHED_BY, RUN_ID, TableFiles, native_uri

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction

FOLDER = "_iceberg"
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
        try:
            importlib.import_module("pyiceberg.io.pyarrow")
        except ImportError as err:
            raise UsageError(
                "--iceberg needs the package pyiceberg: pip install 'genremill[iceberg]'"
            ) from err
        from pyiceberg.catalog import load_catalog

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

        current = found.current_snapshot()
        summary = current.summary.additional_properties if current and current.summary else {}
        properties = table.metadata(published_by)
        if summary.get(RUN_ID) == table.snapshot.run_id:
            with transaction.update_snapshot(snapshot_properties=properties).fast_append():
                return
        _evolve(transaction, table.schema)
        if transaction.table_metadata.name_mapping() is None:
            mapping = transaction.table_metadata.schema().name_mapping.model_dump_json()
            transaction.set_properties({TableProperties.DEFAULT_NAME_MAPPING: mapping})
        paths = [f"{native_uri(table.folder)}/{file.name}" for file in table.files]
        before = [task.file for task in found.scan().plan_files()]
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
        location = native_uri(self._warehouse.path(FOLDER, *self._namespace.split("."), table.name))
        return self._catalog.create_table(
            f"{self._namespace}.{table.name}", schema=table.schema, location=location
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

    names = {field.name for field in transaction.table_metadata.schema().fields}
    try:
        with transaction.update_schema() as update:
            update.union_by_name(schema)
    except (ValidationError, ValueError):
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in names & {*schema.names}:
                update.delete_column(name)
        with transaction.update_schema() as update:
            update.union_by_name(schema)


def retained(warehouse: Warehouse, table: str) -> set[str]:
    """The runs whose files the snapshots in the newest metadata of a table need; without pyiceberg."""
    newest: dict[str, Any] = {}
    for file in storage.objects(warehouse.path(FOLDER)):
        *_, name, kind, document = ("", "", *file.name.split("/"))
        if name != table or kind != "metadata" or not document.endswith(".metadata.json"):
            continue
        place = file.name.rpartition("/")[0]
        metadata = json.loads(storage.read_bytes(warehouse.path(FOLDER, file.name)))
        if metadata["last-updated-ms"] >= newest.get(place, {}).get("last-updated-ms", 0):
            newest[place] = metadata
    snapshots = (snapshot for metadata in newest.values() for snapshot in metadata.get("snapshots", ()))
    summaries = (snapshot.get("summary", {}) for snapshot in snapshots)
    return {str(summary[RUN_ID]) for summary in summaries if RUN_ID in summary}
