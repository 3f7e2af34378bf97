"""Reads, writes and checkpoints tables. No other module touches the Parquet files of a snapshot."""

from collections.abc import Callable, Mapping
from hashlib import sha256

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import records, storage
from genremill.infra.readers import warehouse_reader
from genremill.infra.version import code_version
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.command import Run
from genremill.jobs.contracts import TABLES, ContractError, Table, types_of
from genremill.jobs.snapshot_details import SnapshotDetails

STAGED = "staged, becomes current with the tags"
"""What a job says about a run that does not become current at once."""


def read(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot) -> DataFrame:
    """The rows of a snapshot; a column that an earlier version did not write is null."""
    rows = warehouse_reader(spark).parquet(warehouse.path(snapshot.path))
    table = TABLES.get(snapshot.path.partition("/")[0])
    fields = table.schema if table else ()
    lacking = {field.name: field.dataType for field in fields if field.name not in rows.columns}
    return rows.withColumns({name: F.lit(None).cast(kind) for name, kind in lacking.items()})


def read_run(spark: SparkSession, warehouse: Warehouse, table: Table, run_id: str) -> DataFrame:
    """The rows that one run wrote to a table."""
    return warehouse_reader(spark).parquet(warehouse.run_path(table.name, run_id))


def write(
    run: Run,
    table: Table,
    df: DataFrame,
    inputs: Mapping[str, str],
    details: SnapshotDetails,
    expected_rows: int | None = None,
    check: Callable[[Snapshot], None] = lambda snapshot: None,
) -> Snapshot:
    """Writes a snapshot, checks what was written, and records it; `Warehouse.publish` makes it current.

    Raises `ContractError` if a check fails; `check` can raise other errors. The run then has no record,
    `_run.json`, and is never published.
    """
    path = run.warehouse.run_path(table.name, run.run_id)
    df.write.parquet(path)
    written = warehouse_reader(df.sparkSession).parquet(path)
    snapshot = Snapshot(
        run_id=run.run_id,
        path=f"{table.name}/run={run.run_id}",
        rows=table.checked_rows(written, path),
        schema_hash=sha256(repr([*types_of(df.schema).items()]).encode()).hexdigest()[:12],
        inputs=dict(inputs),
        code_version=code_version(),
        written_at=storage.utc_now(),
        details=records.to_builtins(details),
        checked=True,
    )
    if expected_rows is not None and snapshot.rows != expected_rows:
        raise ContractError(
            f"table {table.name} at {path}: expected {expected_rows:,} rows, found {snapshot.rows:,}"
        )
    check(snapshot)
    run.warehouse.finish(table.name, snapshot)
    return snapshot


def append(run: Run, table: Table, df: DataFrame) -> None:
    """Adds rows to this run's folder of a table without snapshots, such as `rejects`."""
    table.check_schema(df)
    df.write.mode("append").parquet(run.warehouse.run_path(table.name, run.run_id))


def checkpoint(run: Run, df: DataFrame, *name: str) -> DataFrame:
    """The same rows, read back from the run's scratch space, so that Spark computes them only once."""
    return warehouse_reader(df.sparkSession).parquet(write_scratch(run, df, *name))


def write_scratch(run: Run, df: DataFrame, *name: str) -> str:
    """Writes rows to the run's scratch space, which is removed when the run ends; returns their folder."""
    path = run.warehouse.tmp(run.run_id, *name)
    df.write.mode("overwrite").parquet(path)
    return path
