"""Commits tables to Delta logs: `<table>/_delta_log` in the warehouse, beside the files that it names."""

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from genremill.infra import extras, storage
from genremill.infra.errors import StorageError
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
    from deltalake import DeltaTable

CONFIGURATION = {"delta.logRetentionDuration": "interval 30 days", "delta.checkpointInterval": "10"}
LOG = "_delta_log"
"""The folder of a log."""


class Delta:
    """The Delta logs of a warehouse."""

    name = "delta"

    def __init__(self, warehouse: Warehouse) -> None:
        """Raises `UsageError` if deltalake is not installed, or cannot read the path of the warehouse."""
        extras.require("--delta", "deltalake", "deltalake", "delta")
        check_place("--delta", warehouse)
        self._warehouse = warehouse

    def published_by(self, table: str) -> str | None:
        """The run that made the last commit of a table; None if the table has no log."""
        from deltalake import DeltaTable

        uri = self._uri(table)
        with _faults(uri):
            options = _storage_options(uri)
            if not DeltaTable.is_deltatable(uri, options):
                return None
            return str(DeltaTable(uri, storage_options=options).history(1)[0].get(PUBLISHED_BY, ""))

    def commit(self, table: TableFiles, published_by: str) -> int:
        """Replaces the files of a table in one commit; returns the version."""
        from deltalake import CommitProperties, DeltaTable, Schema
        from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

        uri = self._uri(table.name)
        run = table.snapshot.path.partition("/")[2]
        properties = CommitProperties(custom_metadata=table.metadata(published_by))
        paths = [f"{run}/{file.name}" for file in table.files]
        added = [
            AddAction(
                path,
                file.size,
                {},
                int(file.modified_s * 1000),
                data_change=True,
                stats=json.dumps({"numRecords": rows}),
            )
            for path, file, rows in zip(paths, table.files, table.rows, strict=True)
        ]
        with _faults(uri):
            options, schema = _storage_options(uri), Schema.from_arrow(table.schema)
            if not DeltaTable.is_deltatable(uri, options):
                create_table_with_add_actions(
                    uri,
                    schema,
                    added,
                    configuration=CONFIGURATION,
                    storage_options=options,
                    commit_properties=properties,
                )
                return 0
            delta = DeltaTable(uri, storage_options=options)
            _add_features(delta, table.schema)
            actions: list[AddAction | RemoveAction] = [*added]
            # A commit cannot replace a file by itself.
            is_same = {*delta.get_add_actions(flatten=True).column("path").to_pylist()} == {*paths}
            mode = "append" if is_same else "overwrite"
            delta.create_write_transaction(
                [] if is_same else actions, mode, schema, [], commit_properties=properties
            )
            delta.update_incremental()
            return int(delta.version())

    def _uri(self, table: str) -> str:
        uri = self._warehouse.path(table)
        # A path, because deltalake would decode a URI.
        return native_uri(uri) if storage.is_s3(uri) else str(storage.local_path(uri))


def _add_features(delta: "DeltaTable", schema: pa.Schema) -> None:
    """Adds the feature of the protocol for timestamps without a time zone, if a new column needs it."""
    from deltalake import TableFeatures

    naive = any(pa.types.is_timestamp(field.type) and field.type.tz is None for field in schema)
    known = {str(field.type) for field in delta.schema().fields}
    if naive and not any("timestamp_ntz" in kind for kind in known):
        delta.alter.add_feature(TableFeatures.TimestampWithoutTimezone, allow_protocol_versions_increase=True)


def retained(warehouse: Warehouse, table: str) -> set[str]:
    """The runs whose files the commits of a log name, as far as the log goes back; without deltalake."""
    found = set()
    for file in storage.objects(warehouse.path(table, LOG)):
        if file.name.endswith(".json"):
            lines = storage.read_bytes(warehouse.path(table, LOG, file.name)).splitlines()
            commits = (json.loads(line).get("commitInfo") or {} for line in lines if line.strip())
            found |= {str(commit[RUN_ID]) for commit in commits if RUN_ID in commit}
    return found


def _storage_options(uri: str) -> dict[str, str] | None:
    """The settings of S3 that genremill itself uses; None for a folder."""
    if not uri.startswith("s3:"):
        return None
    options = {"AWS_REGION": s3_client.region() or "us-east-1", "conditional_put": "etag"}
    if endpoint := s3_client.custom_endpoint():
        options |= {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": str(endpoint.startswith("http:")).lower()}
    return options | s3_client.credentials()


@contextlib.contextmanager
def _faults(uri: str) -> Iterator[None]:
    """Turns errors of deltalake into `StorageError`."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as err:
        raise StorageError(f"cannot commit to the Delta table {uri}: {err}") from err
