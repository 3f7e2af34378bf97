"""Lists the current snapshot of each table: path, rows, time and run.

Reads the pointer files of a warehouse. Starts no Spark.

    genremill tables --warehouse build/warehouse
"""

from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.command import Common
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES

Config = command.NoFlags


def run(common: Common, cfg: Config) -> command.Outcome:
    """The current snapshot of every table that has one."""
    warehouse = Warehouse.at(common.warehouse)
    command.require_warehouse(warehouse)
    tables = {
        table: {
            "run_id": current.snapshot.run_id,
            "path": warehouse.path(current.snapshot.path),
            "rows": current.snapshot.rows,
            "published_at": current.published_at,
        }
        for table in SNAPSHOT_TABLES
        if (current := warehouse.current(table))
    }
    lines = [
        f"{table:<16}{record['rows']:>12,} rows  {record['published_at']}  {record['path']}"
        for table, record in tables.items()
    ]
    return command.Outcome(tables, "\n".join(lines) or f"{warehouse.uri} has no tables yet")


main = command.Command("tables", __doc__, Config, run, Common)

if __name__ == "__main__":
    raise SystemExit(main())
