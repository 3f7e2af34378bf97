"""The rows of a track table, checked: good rows become tracks, bad rows go to `rejects`."""

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs import command, snapshots
from genremill.jobs.catalog import audio_folder, column_table, vectors
from genremill.jobs.catalog.catalog_source import CatalogSource
from genremill.jobs.catalog.file_format import FileFormat, Kind
from genremill.jobs.catalog.labels import other_spellings, with_one_spelling
from genremill.jobs.catalog.left_out import LeftOut
from genremill.jobs.catalog.measurements import Chosen, choose_features, with_texts
from genremill.jobs.catalog.plausible_values import limited
from genremill.jobs.catalog.row_checks import INTERNAL_COLUMNS, as_rejects, rejected, typed_rows
from genremill.jobs.catalog.sample import Sample, take_sample
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.table_reader import SourceTable, check_whole, read_table, reading
from genremill.jobs.catalog.understanding import Understanding, understand
from genremill.jobs.contracts import REJECTS, TAGS, TRACKS
from genremill.jobs.snapshot_details import SYNTHETIC_COLUMN

SHOWN_SPELLINGS = 20
"""Largest number of spellings that are logged one by one."""


@dataclass(frozen=True)
class SourceRows:
    """The typed rows of a track table, and what was understood of its columns."""

    table: SourceTable
    """The table as it was written."""
    chosen: Chosen
    rows: DataFrame
    total: int
    is_synthetic: bool
    rejects: dict[str, int]
    """Number of bad rows by reason."""
    spellings: dict[str, str]
    """Spellings of genres, each with the most frequent one of its genre, which replaces it."""

    @property
    def source(self) -> CatalogSource:
        """Where the rows come from."""
        return self.table.source

    @property
    def rejected(self) -> int:
        """Number of bad rows."""
        return sum(self.rejects.values())

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns that are copied to `tracks`."""
        return self.chosen.understanding.columns.keep

    @property
    def bad_ids(self) -> DataFrame:
        """The track_id of the rows that were rejected."""
        bad = self.rows.where(F.col("problem").isNotNull()).select("track_id")
        files = self.table.no_tracks
        return bad if files is None else bad.unionByName(files.select("track_id"))

    def summary(self) -> dict[str, object]:
        """These rows in the JSON document of `ingest`."""
        counts = self.chosen.counts
        return {
            "source_rows": self.total,
            "source_bytes": self.source.inventory().size_bytes,
            "format": self.table.format.description,
            "rejected": self.rejects,
            "features": [feature.name for feature in self.chosen.features],
            "missing": {name: count for name, count in counts.missing.items() if count},
            "not_numbers": {name: count for name, count in counts.not_numbers.items() if count},
            "implausible": {name: count for name, count in counts.implausible.items() if count},
            "spellings": self.spellings,
            **vectors.numbers_of(self.chosen.vectors),
        } | columns_summary(self.chosen.understanding)


def columns_summary(understanding: Understanding) -> dict[str, object]:
    """The columns of a table in the JSON document of `ingest`."""
    return {"columns": [dataclasses.asdict(use) for use in understanding.uses]}


def open_table(
    spark: SparkSession, work: command.Run, source: CatalogSource, options: Options
) -> SourceTable:
    """The table as it was written, with at most `limit` rows; a folder of audio files becomes one."""
    if source.is_folder:
        files, no_tracks = audio_folder.rows_of(spark, work, source, options.limit, options.sandbox)
        shown = FileFormat(Kind.AUDIO, files=files.count() + no_tracks.count())
        ignored = tuple(name for name in options.columns.ignore if name in files.columns)
        keep = tuple(name for name in audio_folder.KEPT if name not in ignored)
        return SourceTable(
            source, files.drop(*ignored), shown, LeftOut(ignored), no_tracks=no_tracks, keep=keep
        )
    table = read_table(spark, work, source, options)
    return dataclasses.replace(table, rows=table.rows.limit(options.limit)) if options.limit else table


def understood(table: SourceTable, options: Options) -> Understanding:
    """What the columns of a table mean, from its first rows."""
    sample = first_rows(table)
    keep = tuple(dict.fromkeys((*table.keep, *options.columns.keep)))
    _refuse_clashes(keep)
    columns = dataclasses.replace(options.columns, keep=keep)
    return understand(sample, columns, str(table.source), options.markers, table.left_out)


def first_rows(table: SourceTable) -> Sample:
    """The rows from which the meaning of the columns is guessed."""
    with reading(table.source):
        return take_sample(table.rows)


def read(spark: SparkSession, work: command.Run, source: CatalogSource, options: Options) -> SourceRows:
    """Reads and checks all rows, and writes bad ones to `rejects`; raises `UsageError` if no row is good."""
    opened = open_table(spark, work, source, options)
    understanding = understood(opened, options)
    form = understanding.row_format
    with reading(source):
        rows = snapshots.checkpoint(work, typed_rows(opened.rows, form, understanding.columns.keep), "rows")
    total = rows.count() + (opened.no_tracks.count() if opened.no_tracks else 0)
    if storage.is_s3(source.uri):
        check_whole(opened, total)
    rejects = _write_rejects(work, rows, opened)
    rejected = sum(rejects.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejects.items())
    LOGGER.info("%s", f"{total:,} rows read, {rejected:,} rejected" + (reasons and f": {reasons}"))
    if total == rejected:
        why = f"{total:,} of {total:,} rejected ({reasons})" if total else "it has a header and no rows"
        raise UsageError(f"{source}: no usable row, {why}; `tracks` is unchanged")
    named = list(form.vectors)
    if options.vectors:
        rows, added = vectors.with_files(spark, work, rows, options.vectors, options.columns.id)
        named += added
    good = rows.where(F.col("problem").isNull())
    digest = source.inventory().digest
    chosen = choose_features(good, total, digest, understanding, options.max_missing)
    spellings = other_spellings(good)
    rows = limited(with_one_spelling(rows, spellings), chosen.ranges)
    if len(chosen.texts) < len(form.texts) + len(form.tags):  # some give the label away
        rows = with_texts(rows, chosen.texts)
    if named:
        found = vectors.measured(good, chosen.counts.good, named)
        chosen = dataclasses.replace(chosen, vectors=found)
        vectors.write_rejects(work, good, found)
        rows = vectors.valid(rows, found.columns)
    is_synthetic = SYNTHETIC_COLUMN in opened.rows.columns
    table = SourceRows(opened, chosen, rows, total, is_synthetic, rejects, spellings)
    _log(table)
    if options.split == "artist" and understanding.roles.artists is None:
        LOGGER.warning("the table has no artists: each recording counts as one artist when tracks are split")
    return table


def _log(table: SourceRows) -> None:
    """Logs what was understood of each column, and which values were changed."""
    uses = table.chosen.understanding.uses
    LOGGER.info("%s", "\n".join([f"{table.source} was understood as:", *column_table.lines(uses)]))
    counts = table.chosen.counts
    for what, by_column in (
        ("missing values", counts.missing),
        ("values that are not numbers", counts.not_numbers),
        ("implausible values", counts.implausible),
    ):
        if shown := ", ".join(f"{count:,} in {name}" for name, count in by_column.items() if count):
            LOGGER.info("%s: %s", what, shown)
    if found := str(table.chosen.vectors):
        LOGGER.info("vectors: %s", found)
    for name, by_reason in table.chosen.vectors.rejected.items():
        LOGGER.warning("%s", f"vectors {name!r}: {sum(by_reason.values()):,} rejected: {dict(by_reason)}")
    for spelling, best in itertools.islice(table.spellings.items(), SHOWN_SPELLINGS):
        LOGGER.info("genre %r is read as %r, its most frequent spelling", spelling, best)
    if (more := len(table.spellings) - SHOWN_SPELLINGS) > 0:
        LOGGER.info("%s more genres are read as their most frequent spelling", f"{more:,}")


def _refuse_clashes(kept: Sequence[str]) -> None:
    """Raises if a kept column has the name of a column that `ingest` or `score` adds."""
    taken = {*TRACKS.schema.names, *TAGS.schema.names, *INTERNAL_COLUMNS}
    clashes = [name for name in kept if name.lower() in taken]
    if clashes:
        raise UsageError(
            f"--columns.keep {' '.join(clashes)}: genremill adds columns of that name; rename the table's"
        )


def _write_rejects(work: command.Run, rows: DataFrame, table: SourceTable) -> dict[str, int]:
    """Writes the bad rows and files, if there are any, and returns their number by reason."""
    bad = rejected(rows, work.run_id, table.positions_count_blocks)
    if table.no_tracks is not None:
        bad = bad.unionByName(as_rejects(table.no_tracks, F.col("audio_uri"), work.run_id))
    counts = {row["reason"]: row["count"] for row in sorted(bad.groupBy("reason").count().collect())}
    if counts:
        snapshots.append(work, REJECTS, bad)
        written = snapshots.read_run(rows.sparkSession, work.warehouse, REJECTS, work.run_id)
        REJECTS.checked_rows(written, f"run {work.run_id}")
    return counts
