"""Lists the current snapshot of each table: path, rows, time and run; or with --history all generations.

Reads the pointer files and the records of the runs of a warehouse. Starts no Spark.

    genremill tables --warehouse build/warehouse
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.command import Common
from genremill.jobs.generations import history
from genremill.jobs.generations.history import Entry
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES


@dataclass(frozen=True)
class Config:
    """What is listed."""

    history: bool = False
    """List the current, the staged and the past generations: which runs belong together, when, and why."""


def run(common: Common, cfg: Config) -> command.Outcome:
    """The current snapshot of every table that has one, or the history of all tables."""
    warehouse = Warehouse.at(common.warehouse)
    command.require_warehouse(warehouse)
    outcome = _history(warehouse) if cfg.history else _current(warehouse)
    return outcome if outcome.text else command.Outcome(outcome.summary, f"{warehouse.uri} has no tables yet")


def _current(warehouse: Warehouse) -> command.Outcome:
    tables = {
        table: {
            "run_id": current.snapshot.run_id,
            "path": warehouse.path(current.snapshot.path),
            "rows": current.snapshot.rows,
            "published_at": current.published_at,
        }
        for table, current in warehouse.all_current(*SNAPSHOT_TABLES).items()
    }
    lines = [
        f"{table:<16}{record['rows']:>12,} rows  {record['published_at']}  {record['path']}"
        for table, record in tables.items()
    ]
    return command.Outcome(tables, "\n".join(lines))


def _history(warehouse: Warehouse) -> command.Outcome:
    entries = history.entries(warehouse)
    lines = [line for entry in entries for line in _lines(entry)]
    return command.Outcome({"generations": [_as_json(entry) for entry in entries]}, "\n".join(lines))


def _as_json(entry: Entry) -> dict[str, Any]:
    tables = {name: {"run_id": run.run_id, "rows": run.rows} for name, run in entry.tables.items()}
    record = {"state": entry.state.value, "why": entry.why.value, "time": entry.time, "tables": tables}
    return record | ({"reason": entry.reason} if entry.reason else {})


def _lines(entry: Entry) -> Iterator[str]:
    """An entry as text: a line with its state, and a line for each table."""
    yield f"{entry.state:<9}{entry.why:<12}{entry.time}" + (f"  {entry.reason}" if entry.reason else "")
    for name, run in entry.tables.items():
        yield f"  {name:<16}{run.rows:>12,} rows  run {run.run_id}"


main = command.Command("tables", __doc__, Config, run, Common)

if __name__ == "__main__":
    raise SystemExit(main())
