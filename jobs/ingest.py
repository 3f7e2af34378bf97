"""Reads and checks a track table, and writes one row per track with all its genres.

Reads a CSV, Excel or Parquet table, or the tags of the audio files in a folder. Prints what it understood of
each column. Writes `tracks`, which
becomes current at the end, or with the tags if tags are current; and `rejects`: the bad rows, each with a
reason.

    spark-submit jobs/ingest.py --warehouse file:///data/warehouse --tracks file:///data/tracks.csv
"""

import dataclasses
import json
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.catalog import column_table, lost_columns, source_rows
from genremill.jobs.catalog.catalog_source import Catalog, CatalogSource
from genremill.jobs.catalog.settings import Options, file_digest
from genremill.jobs.catalog.source_rows import SourceRows
from genremill.jobs.catalog.splits import split_tracks
from genremill.jobs.catalog.tracks import changes_since, counts, grouped, unique_tracks
from genremill.jobs.catalog.vectors import parquet_sources
from genremill.jobs.contracts import TRACKS, ContractError, quoted
from genremill.jobs.snapshot_details import TracksDetails
from genremill.udfs.decoding.metadata import REVISION


@dataclass(frozen=True, kw_only=True)
class Config(Options, Catalog):
    """The track table or the folder of audio, and how it is read and split."""


def inputs(cfg: Config) -> dict[str, str]:
    """What the result depends on: the files of the table and the settings."""
    settings = dataclasses.asdict(cfg)
    for name in ("max_vanished", "max_lost_columns", "sandbox"):  # they do not change the result
        del settings[name]
    if cfg.tracks_from_audio is None:
        del settings["tracks_from_audio"]
    source = cfg.source
    revision = f" metadata {REVISION}" if source.is_folder else ""
    digests = {"tracks": source.inventory().digest + revision}
    if cfg.split_file is not None:
        digests["split_file"] = file_digest("split_file", cfg.split_file)
    if cfg.vectors:
        digests["vectors"] = " ".join(file_digest("vectors", location) for location in cfg.vectors)
    return digests | {"settings": json.dumps(settings, sort_keys=True)}


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    cfg.check()
    inputs(cfg)
    cfg.source.check()
    for uri in cfg.vectors:
        parquet_sources(uri)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Reads, checks, groups, splits and publishes."""
    source = cfg.source
    if work.dry_run:
        return _dry_run(spark, work, source, cfg)
    made_from = inputs(cfg)
    table = source_rows.read(spark, work, source, cfg)
    current = work.warehouse.current("tracks")
    summary = table.summary()
    if current is not None:
        before = TracksDetails.of(current.snapshot)
        lost_columns.check(work.warehouse, source, before, table.chosen, cfg.max_lost_columns, summary)
    tracks, details = _tracks(spark, work, cfg, table, current)

    def check(written: Snapshot) -> None:
        _check_sum(spark, work.warehouse, written, table)
        since = changes_since(spark, work.warehouse, written, current, table.bad_ids)
        if since is not None:
            LOGGER.info("compared with the current tracks: %s", since)
            summary["changes"] = dataclasses.asdict(since)
            since.check(table.source, cfg.max_vanished, summary)

    snapshot = snapshots.write(work, TRACKS, tracks, made_from, details, check=check)
    is_current = work.warehouse.publish("tracks", snapshot, audited_against=current)
    summary["current"] = is_current
    summary |= (counted := counts(snapshots.read(spark, work.warehouse, snapshot)))
    splits = str(counted["splits"]).strip("{}").replace("'", "")
    text = (
        f"tracks: {snapshot.rows:,} tracks from {table.total:,} rows ({table.rejected:,} rejected), "
        f"{counted['recordings']:,} recordings, splits: {splits}"
    ) + ("" if is_current else f"; {snapshots.STAGED}")
    LOGGER.info("%s", text)
    return command.Outcome(summary, text)


def _tracks(
    spark: SparkSession, work: command.Run, cfg: Config, table: SourceRows, current: Current | None
) -> tuple[DataFrame, TracksDetails]:
    """The rows of `tracks`, and the details of their snapshot."""
    chosen, rule = table.chosen, cfg.split_rule
    unique = snapshots.checkpoint(work, unique_tracks(table.rows, chosen.positions, table.kept), "tracks")
    groups = grouped(work, unique, chosen.features)
    split = split_tracks(spark, work.warehouse, groups, rule, cfg.split_file, current)
    has_audio = chosen.understanding.roles.audio_uri is not None
    details = TracksDetails(
        chosen.features,
        rule,
        table.kept,
        with_audio=unique.where(F.col("audio_uri").isNotNull()).count() if has_audio else 0,
        synthetic=table.is_synthetic,
        columns=chosen.understanding.uses,
        texts=chosen.texts,
        vectors=chosen.vectors.columns,
    )
    return split.select(*TRACKS.schema.names, *map(quoted, table.kept)), details


def _dry_run(spark: SparkSession, work: command.Run, source: CatalogSource, cfg: Config) -> command.Outcome:
    """What `ingest` understands of the table, from its first rows; writes nothing."""
    table = source_rows.open_table(spark, work, source, cfg)
    understanding = source_rows.understood(table, cfg)
    lines = [
        f"{table.source.uri}: {table.format.description}",
        "",
        *column_table.lines(understanding.uses),
        "",
    ]
    text = "\n".join([*lines, "dry run: nothing was written. The figures are from the first rows only."])
    summary = {"format": table.format.description} | source_rows.columns_summary(understanding)
    return command.Outcome(summary, text)


def _check_sum(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot, table: SourceRows) -> None:
    """Raises if a row of the table is neither in a track nor rejected."""
    row = snapshots.read(spark, warehouse, snapshot).agg(F.sum("source_rows")).first()
    in_tracks = int(row[0]) if row else 0
    if in_tracks + table.rejected != table.total:
        raise ContractError(
            f"{table.source}: {table.total:,} rows were read, but {in_tracks:,} are in tracks and "
            f"{table.rejected:,} were rejected; expected the same sum"
        )


main = command.job("ingest", __doc__, Config, ready, command.with_spark("ingest", run), may_create=True)

if __name__ == "__main__":
    raise SystemExit(main())
