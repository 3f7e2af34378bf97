"""The rows of a track table, checked: good rows become tracks, bad rows go to `rejects`."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.columns import Layout, resolve
from genremill.jobs.catalog.row_checks import INTERNAL_COLUMNS, INTERNAL_PREFIXES, checked_rows, rejected
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.table_reader import check_whole, read_table, reading
from genremill.jobs.contracts import REJECTS, TAGS, TRACKS
from genremill.jobs.snapshot_details import SYNTHETIC_COLUMN


@dataclass(frozen=True)
class SourceRows:
    """The checked rows of a track table."""

    source: str
    """URI of the table."""
    layout: Layout
    rows: DataFrame
    total: int
    is_synthetic: bool
    rejects: dict[str, int]
    """Number of bad rows by reason."""

    @property
    def rejected(self) -> int:
        """Number of bad rows."""
        return sum(self.rejects.values())

    def summary(self) -> dict[str, object]:
        """These rows in the JSON document of `ingest`."""
        return {
            "source_rows": self.total,
            "source_bytes": storage.inventory(self.source).size_bytes,
            "rejected": self.rejects,
            "features": [feature.name for feature in self.layout.features],
        }


def read(spark: SparkSession, work: command.Run, source: str, options: Options) -> SourceRows:
    """Reads and checks all rows, and writes bad ones to `rejects`; raises `UsageError` if no row is good."""
    read_from = read_table(spark, work, source, options)
    raw = read_from.rows.limit(options.limit) if options.limit else read_from.rows
    with reading(source):
        layout = resolve(raw, options.columns, f"--tracks {source}", read_from.ignored)
        _refuse_clashes(layout.keep)
        rows = snapshots.checkpoint(work, checked_rows(raw, layout), "rows")
    total = rows.count()
    if storage.is_s3(source):
        check_whole(read_from, total)
    rejects = _write_rejects(work, rows, read_from.positions_count_blocks)
    table = SourceRows(source, layout, rows, total, SYNTHETIC_COLUMN in raw.columns, rejects)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejects.items())
    LOGGER.info("%s", f"{total:,} rows read, {table.rejected:,} rejected" + (reasons and f": {reasons}"))
    if total == table.rejected:
        why = f"{total:,} of {total:,} rejected ({reasons})" if total else "it has a header and no rows"
        raise UsageError(f"--tracks {source}: no usable row, {why}; `tracks` is unchanged")
    return table


def _refuse_clashes(kept: Sequence[str]) -> None:
    """Raises if a kept column has the name of a column that `ingest` or `score` adds."""
    taken = {*TRACKS.schema.names, *TAGS.schema.names, *INTERNAL_COLUMNS}
    clashes = [name for name in kept if name.lower() in taken or name.lower().startswith(INTERNAL_PREFIXES)]
    if clashes:
        raise UsageError(
            f"--columns.keep {' '.join(clashes)}: genremill adds columns of that name; rename the table's"
        )


def _write_rejects(work: command.Run, rows: DataFrame, positions_count_blocks: bool) -> dict[str, int]:
    """Writes the bad rows, if there are any, and returns their number by reason."""
    bad = rows.where(F.col("problem").isNotNull()).groupBy("problem.reason").count().collect()
    counts = {row["reason"]: row["count"] for row in sorted(bad)}
    if counts and not work.dry_run:
        snapshots.append(work, REJECTS, rejected(rows, work.run_id, positions_count_blocks))
        written = snapshots.read_run(rows.sparkSession, work.warehouse, REJECTS, work.run_id)
        REJECTS.checked_rows(written, f"run {work.run_id}")
    return counts
