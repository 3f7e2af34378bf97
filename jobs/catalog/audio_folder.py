"""A folder of audio files as a track table: one row for each file, from the metadata in the file.

What a file says about itself is kept in the table `file_metadata`, so that later runs only read new files.
"""

from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F
from pyspark.sql.pandas.types import to_arrow_schema

from genremill.infra import storage
from genremill.infra.audio.faults import PASSING, AudioReason, check_allowed
from genremill.infra.audio.store import AudioStore
from genremill.infra.log import LOGGER
from genremill.infra.new_files import write_parquet
from genremill.infra.progress import progress, reject_counts
from genremill.infra.readers import warehouse_reader
from genremill.infra.stores.objects import StoredObject
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.catalog_source import CatalogSource
from genremill.jobs.catalog.own_columns import BLOCK, FILE, MALFORMED, POSITION
from genremill.jobs.contracts import FILE_METADATA
from genremill.udfs import file_metadata
from genremill.udfs.decoding.metadata import REVISION, SEPARATOR
from genremill.udfs.decoding.settings import Barrier

KEPT = ("year", "isrc", "musicbrainz_id")
"""Columns that `tracks` and `tags` get besides those that flags name."""
FILES_A_TASK, FILES_A_BATCH = 500, 100_000
"""A task takes about a second. What a batch has read is kept if a later one fails."""
DRY_RUN_FILES = 200
"""Files that a dry run reads."""
_LISTING = pa.schema(
    [("name", pa.string()), ("audio_uri", pa.string()), ("etag", pa.string()), ("size", pa.int64())]
)
_ID_CHARACTERS = 20
"""Length of an id that is made from a path: with 10 million files, two are equal with a chance of 1e-10."""


def rows_of(
    spark: SparkSession, work: command.Run, source: CatalogSource, limit: int | None, barrier: Barrier
) -> tuple[DataFrame, DataFrame]:
    """The files as rows of a track table, and those that are no tracks: track_id, audio_uri and `problem`.

    A dry run reads a few files, and keeps nothing. Raises `UsageError` if there are no audio files, and
    `StorageError` if most of them may not be read.
    """
    files = _listing(spark, work, source, source.audio_files[: DRY_RUN_FILES if work.dry_run else limit])
    found = files.join(_metadata(spark, work, source, files, barrier), ["audio_uri", "etag"], "left")
    found = snapshots.checkpoint(work, found, "audio_files")
    is_bad = F.col("reason").isin(*file_metadata.NO_TRACK)
    problem = F.struct("reason", "detail").alias("problem")
    bad = found.where(is_bad).select(_id_of_path().alias("track_id"), "audio_uri", problem)
    good = found.where(~F.coalesce(is_bad, F.lit(False)))
    _warn_of_faults(good)
    return _rows(good), bad


def without_metadata(
    spark: SparkSession, work: command.Run, source: CatalogSource, tracks: DataFrame | None
) -> DataFrame:
    """(track_id, audio_uri) of all files, without reading them; `tracks` has the ids of those it knows."""
    files = _listing(spark, work, source, source.audio_files)
    if tracks is not None:
        files = files.join(tracks.select("audio_uri", "track_id"), "audio_uri", "left")
        return files.select(F.coalesce("track_id", _id_of_path()).alias("track_id"), "audio_uri")
    return files.select(_id_of_path().alias("track_id"), "audio_uri")


def _listing(
    spark: SparkSession, work: command.Run, source: CatalogSource, files: list[StoredObject]
) -> DataFrame:
    """(name, audio_uri, etag, size) of each file; names that are not UTF-8 are left out with a warning."""
    readable = [file for file in files if storage.is_text(file.name)]
    if left_out := [file.name for file in files if not storage.is_text(file.name)]:
        LOGGER.warning(
            "%d audio files are left out because their names are not valid UTF-8, such as %r",
            len(left_out),
            left_out[0],
        )
    root = _root(source)
    columns = [
        [file.name for file in readable],
        [f"{root}/{file.name}" for file in readable],
        [file.version for file in readable],
        [file.size for file in readable],
    ]
    table = pa.table(columns, schema=_LISTING)
    folder = work.warehouse.tmp(work.run_id, "listing")
    write_parquet(f"{folder}/files.parquet", _LISTING, table.to_batches(FILES_A_BATCH))
    return warehouse_reader(spark).parquet(folder)


def _root(source: CatalogSource) -> str:
    """The folder as a path, in which nothing is percent-encoded, or the prefix on S3."""
    return source.uri if storage.is_s3(source.uri) else str(storage.local_path(source.uri))


def _metadata(
    spark: SparkSession, work: command.Run, source: CatalogSource, files: DataFrame, barrier: Barrier
) -> DataFrame:
    """What the files say about themselves: rows of `file_metadata`, of which the new ones are read now."""
    schema, table = FILE_METADATA.schema, work.warehouse.path(FILE_METADATA.name)
    known = spark.createDataFrame([], schema)
    if storage.exists(table):
        rows = warehouse_reader(spark).schema(schema).parquet(table).where(F.col("revision") == REVISION)
        known = rows.select(*schema.names).dropDuplicates(["audio_uri", "etag"])
    new = files.join(known, ["audio_uri", "etag"], "left_anti")
    new = snapshots.checkpoint(work, new, "new_files")
    count = new.count()
    LOGGER.info("%s", f"{source}: {count:,} new or changed audio files")
    if not count:
        return known
    counted = reject_counts(spark)
    store = AudioStore([_root(source)])
    read = file_metadata.make_read(store, barrier, to_arrow_schema(schema), counted)
    batches = -(-count // FILES_A_BATCH)
    parts = []
    with progress(spark, "read the tags", count, "files", counted):
        for number in range(batches):
            part = new.where(F.pmod(F.xxhash64("audio_uri"), F.lit(batches)) == number)
            tasks = max(spark.sparkContext.defaultParallelism, -(-count // (batches * FILES_A_TASK)))
            rows = part.repartition(tasks).mapInArrow(read, schema)
            parts.append(snapshots.checkpoint(work, rows, f"metadata-{number}"))
            check_allowed(counted.value[AudioReason.DENIED], count)
            if not work.dry_run:
                passes = F.col("reason").isin(*PASSING, AudioReason.DECODE_CRASHED)
                lasting = parts[-1].where(~F.coalesce(passes, F.lit(False)))
                snapshots.append(work, FILE_METADATA, lasting)
    return reduce(DataFrame.unionByName, parts, known)


def _id_of_path() -> Column:
    return F.substring(F.sha2("name", 256), 1, _ID_CHARACTERS)


def _rows(files: DataFrame) -> DataFrame:
    """The rows of the track table. If several files have one ISRC or id, the first of them is that track."""
    own = F.coalesce("isrc", "musicbrainz_id")
    rank = F.row_number().over(Window.partitionBy(F.coalesce(own, "name")).orderBy("name"))
    ranked = files.withColumn("rank", rank)
    track_id = F.when(own.isNotNull() & (F.col("rank") == 1), own).otherwise(_id_of_path())
    return ranked.select(
        track_id.alias("track_id"),
        F.col("title").alias("track_name"),
        F.array_join("artists", SEPARATOR).alias("artists"),
        F.col("album").alias("album_name"),
        F.array_join("genres", SEPARATOR).alias("track_genre"),
        F.round(1000 * F.col("duration_s")).cast("long").alias("duration_ms"),
        *KEPT,
        "audio_uri",
        F.lit(None).cast("string").alias(MALFORMED),
        F.col("audio_uri").alias(FILE),
        F.lit(0).cast("long").alias(BLOCK),
        F.lit(0).cast("long").alias(POSITION),
    )


def _warn_of_faults(files: DataFrame) -> None:
    """Logs how many files have tags that cannot be read, and one of them; they are tracks without names."""
    row = files.where(F.col("fault").isNotNull()).agg(F.count("*"), F.min(F.struct("name", "fault"))).first()
    if row and row[0]:
        name, fault = row[1]
        LOGGER.warning("%s", f"tags that cannot be read: {row[0]:,} files, such as {name}: {fault}")
