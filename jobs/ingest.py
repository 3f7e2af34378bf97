"""Reads and checks a track table, and writes one row per track with all its genres.

Reads a CSV or Parquet table. Writes `tracks`, which becomes current at the end, and `rejects`: the bad
rows, each with a reason.

    spark-submit jobs/ingest.py --warehouse file:///data/warehouse --tracks file:///data/tracks.csv
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from genremill.infra import storage
from genremill.infra.errors import AuditRefused, UsageError
from genremill.infra.flag_types import OptionalFile, Uri
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.catalog import changes, splits
from genremill.jobs.catalog.columns import Columns, Layout, resolve
from genremill.jobs.catalog.recordings import VECTOR_FEATURES, Groups, node, track_groups
from genremill.jobs.catalog.row_checks import checked_rows, rejected
from genremill.jobs.catalog.splits import DrawnSplit
from genremill.jobs.catalog.table_reader import OWN_COLUMNS, check_files, check_whole, read_table, reading
from genremill.jobs.contracts import REJECTS, TAGS, TRACKS, ContractError, quoted
from genremill.jobs.snapshot_details import SYNTHETIC_COLUMN, Fractions, SplitRule, TracksDetails
from genremill.models.evaluation.split import SplitBy

INTERNAL = ("problem", "known", *OWN_COLUMNS)
"""Columns that ingest adds on its way, and how the names of others begin."""
PREFIXES = ("text of ", "number of ")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the track table is read and split."""

    split: DrawnSplit = "artist"
    """What is never in two splits: an artist, a recording, or only a row (the protocol of the reports)."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """Shares of the train, validation and test splits."""
    split_seed: int = 0
    """Seed of the random split."""
    split_file: OptionalFile = None
    """CSV file with the columns id and split, instead of a random split; ids that it does not list are in
    no split."""
    columns: Columns = dataclasses.field(default_factory=Columns)
    delimiter: str = ","
    """Character that separates the fields of a CSV file."""
    multiline: bool = False
    """Allow line breaks in quoted CSV fields; one task then reads the whole file."""
    limit: int | None = None
    """Read only this many rows. [all]"""
    max_vanished: float = 0.2
    """Largest share of the current tracks that may be missing from the table; above it, ingest refuses the
    table."""


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """The track table, and how it is read and split."""

    tracks: Uri
    """Path or URI of the track table, CSV or Parquet."""


def transform(good: DataFrame, kept: Sequence[str]) -> DataFrame:
    """One row a track_id: all its genres, and of differing rows the one with the greatest values."""
    own = ("popularity", "duration_s", "table_features", "title", "album", "artists", "audio_uri")
    values = (*own, *map(quoted, kept))
    return (
        good.groupBy("track_id")
        .agg(
            F.max(F.struct(*values)).alias("row"),
            F.array_sort(F.array_distinct(F.flatten(F.collect_set("genres")))).alias("genres"),
            F.count("*").alias("source_rows"),
        )
        .select("track_id", "row.*", "genres", "source_rows")
    )


def with_group_ids(tracks: DataFrame, groups: Groups) -> DataFrame:
    """Adds recording_id and artist_id: the smallest track_id of a track's recording and of its artist."""
    ids = tracks.select("track_id", node(F.col("track_id")).alias("node"))
    for name, members in (("recording", groups.recordings), ("artist", groups.artists)):
        group = F.coalesce(name, "node")
        smallest = F.min("track_id").over(Window.partitionBy("group"))
        ids = ids.join(members, "node", "left").withColumn("group", group)
        ids = ids.withColumn(f"{name}_id", smallest).drop(name, "group")
    return tracks.join(ids.drop("node"), "track_id", "inner")


def inputs(cfg: Config) -> dict[str, str]:
    """What the result depends on: the table's files and the settings."""
    settings = dataclasses.asdict(cfg)
    del settings["max_vanished"]  # decides whether the result is taken, not what it is
    files = {"tracks": cfg.tracks} | ({"split_file": cfg.split_file} if cfg.split_file else {})
    digests = {name: _digest(name, location) for name, location in files.items()}
    return digests | {"settings": json.dumps(settings, sort_keys=True)}


def _digest(field: str, location: str) -> str:
    """The digest of the files that a flag names."""
    try:
        return storage.inventory(storage.absolute_uri(location)).digest
    except UsageError as err:
        raise UsageError(f"--{field.replace('_', '-')} {err}") from err


def check(cfg: Config) -> SplitRule:
    """The rule of the split; raises on settings that no table could make right."""
    if cfg.limit is not None and not 0 < cfg.limit < 1 << 31:
        raise UsageError(f"--limit {cfg.limit}: expected 1 to {(1 << 31) - 1}")
    if not 0 <= cfg.max_vanished <= 1:
        raise UsageError(f"--max-vanished {cfg.max_vanished:g}: expected a share from 0 to 1")
    splits.check_fractions(cfg.fractions)
    return _split_rule(cfg)


def ready(work: command.Run, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    check(cfg)
    inputs(cfg)
    check_files(storage.absolute_uri(cfg.tracks))
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Reads, checks, groups, splits and publishes."""
    rule = check(cfg)
    source = storage.absolute_uri(cfg.tracks)
    made_from = inputs(cfg)
    raw = read_table(spark, source, cfg.delimiter, cfg.multiline)
    raw = raw.limit(cfg.limit) if cfg.limit else raw
    with reading(source):
        layout = resolve(raw, cfg.columns, f"--tracks {source}")
        _refuse_clashes(layout)
        rows = snapshots.checkpoint(work, checked_rows(raw, layout), "rows")
    total = rows.count()
    if storage.is_s3(source) and not (cfg.limit or cfg.multiline or storage.is_parquet(source)):
        check_whole(spark, source, total)
    rejects = _write_rejects(spark, work, rows, positions_count_blocks=not storage.is_parquet(source))
    LOGGER.info("%d rows read, %d rejected: %s", total, sum(rejects.values()), rejects or "none")
    if total == sum(rejects.values()):
        why = f"all {total} rejected ({rejects})" if total else "it has a header and no rows"
        raise UsageError(f"--tracks {source}: no usable row, {why}; `tracks` stays as it was")
    unique = snapshots.checkpoint(
        work, transform(rows.where(F.col("problem").isNull()), layout.keep), "tracks"
    )
    grouped = _grouped(work, unique, layout)
    current = work.warehouse.current("tracks")
    tracks = _with_split(spark, work, grouped, rule, cfg, current).select(
        *TRACKS.columns(), *map(quoted, layout.keep)
    )
    summary = {
        "source_rows": total,
        "source_bytes": storage.inventory(source).size_bytes,
        "rejected": rejects,
        "features": [one.name for one in layout.features],
    }
    if work.dry_run:
        return command.Outcome(summary | {"tracks": tracks.count()}, "dry run: nothing written")
    details = TracksDetails(
        features=layout.features,
        split=rule,
        kept=layout.keep,
        with_audio=unique.where(F.col("audio_uri").isNotNull()).count() if layout.audio_uri else 0,
        synthetic=SYNTHETIC_COLUMN in raw.columns,
    )
    snapshot = snapshots.write(work, TRACKS, tracks, made_from, details)
    accounted = _sum(spark, snapshot, work.warehouse) + sum(rejects.values())
    if accounted != total:
        raise ContractError(f"{total} rows of {source} read, but {accounted} accounted for")
    since = changes.since(spark, work.warehouse, snapshot, current)
    if since is not None:
        LOGGER.info("since the current tracks: %s", since)
        summary["changes"] = dataclasses.asdict(since)
        if since.vanished_share > cfg.max_vanished:
            raise AuditRefused(
                f"--tracks {source}: {since.vanished:,} of {since.before:,} current tracks are not in it: "
                f"a share of {since.vanished_share:.3f}, over --max-vanished {cfg.max_vanished:g}; `tracks` "
                "stays as it was",
                summary,
            )
    work.warehouse.publish("tracks", snapshot, audited_against=current)
    counts = _counts(snapshots.read(spark, work.warehouse, snapshot))
    LOGGER.info(
        "%d tracks, %d recordings, splits %s", counts["tracks"], counts["recordings"], counts["splits"]
    )
    return command.Outcome(summary | counts, _text(snapshot, total, rejects, counts))


def _refuse_clashes(layout: Layout) -> None:
    taken = {*TRACKS.columns(), *TAGS.columns(), *INTERNAL}
    if clashes := [
        name for name in layout.keep if name.lower() in taken or name.lower().startswith(PREFIXES)
    ]:
        raise UsageError(f"--columns.keep {' '.join(clashes)}: the tables have columns of that name already")


def _write_rejects(
    spark: SparkSession, work: command.Run, rows: DataFrame, positions_count_blocks: bool
) -> dict[str, int]:
    """Writes the bad rows, where there are any, and gives their number by reason."""
    bad = rejected(rows, work.run_id, positions_count_blocks)
    found = rows.where(F.col("problem").isNotNull()).groupBy("problem.reason").count().collect()
    counts = {row["reason"]: row["count"] for row in sorted(found)}
    if counts and not work.dry_run:
        REJECTS.checked_rows(spark, snapshots.append(work, REJECTS, bad))
    return counts


def _grouped(work: command.Run, tracks: DataFrame, layout: Layout) -> DataFrame:
    groups = track_groups(tracks, _vector(layout), functools.partial(snapshots.checkpoint, work))
    return with_group_ids(tracks, groups)


def _vector(layout: Layout) -> Column | None:
    """What makes two feature vectors the same: all features but popularity, where there are enough."""
    positions = [at for at, one in enumerate(layout.features) if not one.is_popularity]
    if len(positions) < VECTOR_FEATURES:
        return None
    return F.array(*(F.get("table_features", F.lit(at)) for at in positions))


def _split_rule(cfg: Config) -> SplitRule:
    if cfg.split_file is None:
        return SplitRule(SplitBy(cfg.split), cfg.fractions, cfg.split_seed)
    digest = _digest("split_file", cfg.split_file)
    return SplitRule(SplitBy.FILE, cfg.fractions, cfg.split_seed, digest)


def _with_split(
    spark: SparkSession,
    work: command.Run,
    tracks: DataFrame,
    rule: SplitRule,
    cfg: Config,
    current: Current | None,
) -> DataFrame:
    if cfg.split_file is not None:
        listed = splits.read_split_file(spark, storage.absolute_uri(cfg.split_file), tracks)
        return splits.with_listed_split(tracks, listed)
    same_rule = current is not None and TracksDetails.of(current.snapshot).split == rule
    previous = None
    if current is not None and same_rule:
        path = work.warehouse.path(current.snapshot.path)
        if storage.exists(path):
            previous = snapshots.read(spark, work.warehouse, current.snapshot).select("track_id", "split")
        else:
            LOGGER.warning("%s is gone: all tracks are split anew", path)
    return splits.with_split(tracks, rule, previous)


def _sum(spark: SparkSession, snapshot: Snapshot, warehouse: Warehouse) -> int:
    row = snapshots.read(spark, warehouse, snapshot).agg(F.sum("source_rows")).first()
    return int(row[0]) if row else 0


def _counts(tracks: DataFrame) -> dict[str, object]:
    row = tracks.agg(
        F.count("*"),
        F.count_distinct("recording_id"),
        F.count_distinct("artist_id"),
        F.count_if(F.size("genres") > 0),
    ).first()
    names = ("tracks", "recordings", "artists", "labelled")
    counts: dict[str, object] = dict(zip(names, row, strict=True)) if row else {}
    parts = {found["split"]: found["count"] for found in tracks.groupBy("split").count().collect()}
    return counts | {"splits": dict(sorted(parts.items()))}


def _text(snapshot: Snapshot, total: int, rejects: dict[str, int], counts: dict[str, object]) -> str:
    return (
        f"tracks: {snapshot.rows:,} tracks from {total:,} rows ({sum(rejects.values()):,} rejected), "
        f"{counts['recordings']:,} recordings, splits {counts['splits']}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main(
        "ingest", __doc__, Config, command.with_spark("ingest", run), argv, ready, creates_warehouse=True
    )


if __name__ == "__main__":
    sys.exit(main())
