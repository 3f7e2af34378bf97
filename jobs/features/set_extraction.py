"""Brings one feature set up to date with the audio: missing features are copied or extracted.

The result of each task is kept in a folder that readers do not see. If a run is killed, the next run uses
the results of the tasks that had ended.
"""

import dataclasses
import functools
from collections import Counter
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import lease, storage
from genremill.infra.audio.faults import OF_THE_STORAGE, AudioReason, check_allowed
from genremill.infra.errors import StorageError
from genremill.infra.lease import Lease
from genremill.infra.log import LOGGER
from genremill.infra.progress import progress, reject_counts
from genremill.infra.readers import warehouse_reader
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import FEATURES, REJECTS
from genremill.jobs.features import cache as feature_cache, missing
from genremill.jobs.features.set_record import folder_of
from genremill.udfs import extraction
from genremill.udfs.audio_windows import Extractor

OBJECTS_A_TASK = 25
"""About a second of work: a killed task loses little, and no task runs long after the others."""
OBJECTS_A_CORE = 500
"""Objects per core in a batch; features and rejects are written after each batch."""
_COMMITTER = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
BY_TASK = {
    "mapreduce.fileoutputcommitter.algorithm.version": "2",
    "mapreduce.outputcommitter.factory.scheme.s3a": _COMMITTER,
}
"""The file of a task appears when the task ends. The committers of S3A would wait until all tasks end."""


@dataclass(frozen=True)
class ExtractionCounts:
    """Counts of the tracks with audio, for one feature set."""

    fingerprint: str
    tracks: int
    """Number of tracks with an audio_uri."""
    decoded: int = 0
    """Number of objects that this run has decoded, including bad ones."""
    size_bytes: int = 0
    """Size of these objects in bytes."""
    copied: int = 0
    """Number of tracks whose features were copied from another track with the same audio."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Number of newly rejected tracks, by reason."""
    without: int = 0
    """Number of tracks without features of their current audio."""

    @property
    def rejects_share(self) -> float:
        """Share of the tracks with audio that have no features of it."""
        return self.without / self.tracks if self.tracks else 0.0


@dataclass(frozen=True)
class SetExtraction:
    """The extraction of one feature set: the cache that it fills, and what it reads."""

    spark: SparkSession
    work: command.Run
    fingerprint: str
    settings: Extractor
    tracks: DataFrame
    """(track_id, audio_uri) of the tracks with audio."""
    track_count: int
    objects: DataFrame
    """Every distinct audio object with its etag and size, or the reason why it cannot be read."""
    object_count: int

    @functools.cached_property
    def _folder(self) -> str:
        return folder_of(self.work.warehouse, self.fingerprint)

    def run(self) -> ExtractionCounts:
        """Extracts and counts the missing features, after waiting for other runs on the same set."""
        if self.work.dry_run:
            _, _, would = self._to_do(self._missing("missing"))
            return dataclasses.replace(would, without=self._without())
        with lease.held(f"{self._folder}/_extract.lease", self.work.run_id, wait=True) as held:
            return self._done(held)

    def _done(self, held: Lease) -> ExtractionCounts:
        missing_tracks = self._missing("missing")
        rejected = self._append_rejects(self.objects.join(self.tracks, "audio_uri", "inner"))
        if left := storage.folders(self._pending()):
            for run in left:
                LOGGER.info("extract %s: using the results that run %s has left", self.settings.name, run)
                rejected += self._write_results(run, missing_tracks, held)
            missing_tracks = self._missing("still-missing")
        copies, fresh, done = self._to_do(missing_tracks)
        if copies and done.copied:
            self._append_features(copies)
        if done.decoded:
            rejected += self._decode(fresh, done.decoded, held)
        return dataclasses.replace(done, rejected=dict(sorted(rejected.items())), without=self._without())

    def _to_do(self, missing_tracks: DataFrame) -> tuple[DataFrame | None, DataFrame, ExtractionCounts]:
        """The rows to copy (None if the cache is empty), the tracks to decode, and their counts."""
        copies, fresh, copied = None, missing_tracks, 0
        if feature_cache.runs_of(self.work.warehouse, self.fingerprint):
            copies = self._kept(missing.copies(missing_tracks, self._rows()), "copies")
            have_copies = copies.select("track_id").distinct()
            fresh = self._kept(missing_tracks.join(have_copies, "track_id", "left_anti"), "fresh")
            copied = have_copies.count()
        objects = fresh.groupBy("source").agg(F.max("size").alias("size"))
        row = objects.agg(F.count("*"), F.coalesce(F.sum("size"), F.lit(0))).first()
        decoded, size_bytes = row or (0, 0)
        counts = ExtractionCounts(self.fingerprint, self.track_count, decoded, size_bytes, copied)
        return copies, fresh, counts

    def _rows(self) -> DataFrame:
        return feature_cache.rows_of(self.spark, self.work.warehouse, self.fingerprint)

    def _rejects(self) -> DataFrame:
        """Rejects of earlier runs under this fingerprint, by the same decoders: others may read the file."""
        rejects = feature_cache.rejects(self.spark, self.work.warehouse)
        of_the_set = (F.col("stage") == missing.STAGE) & (F.col("fingerprint") == self.fingerprint)
        same_decoder = F.col("decoder") == self.settings.decode.decoder
        return rejects.where(of_the_set & (same_decoder | F.col("reason").isin(*OF_THE_STORAGE)))

    def _missing(self, name: str) -> DataFrame:
        found = missing.missing(self.tracks, self.objects, self._rows(), self._rejects())
        return self._kept(found, name)

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        """A copy on disk until the run ends: its sources change while the run writes."""
        return snapshots.checkpoint(self.work, df, self.fingerprint, name)

    def _pending(self, *parts: str) -> str:
        return "/".join((self._folder, "_pending", *parts))

    def _decode(self, fresh: DataFrame, objects: int, held: Lease) -> Counter[str]:
        """Decodes in batches; the results of a batch are written before the next batch starts."""
        cores = self.spark.sparkContext.defaultParallelism
        batches = -(-objects // (OBJECTS_A_CORE * cores))
        tasks = max(cores, -(-objects // (batches * OBJECTS_A_TASK)))
        sources = fresh.select(F.col("source").alias("audio_uri"), "etag", "size").distinct()
        counted = reject_counts(self.spark)
        extract = extraction.make_extract(self.settings, counted)
        rejected = Counter[str]()
        with progress(self.spark, f"extract {self.settings.name}", objects, "clips", counted):
            for number in range(batches):
                part = sources.where(F.pmod(F.xxhash64("audio_uri"), F.lit(batches)) == number)
                extracted = part.repartition(tasks).mapInPandas(extract, extraction.WINDOW_SCHEMA)
                extracted.write.mode("append").options(**BY_TASK).parquet(self._pending(self.work.run_id))
                self._check_allowed(counted.value, objects)
                rejected += self._write_results(self.work.run_id, fresh, held)
        return rejected

    def _check_allowed(self, counts: Counter[str], to_decode: int) -> None:
        """Raises `StorageError` if access to most objects so far is denied; none becomes a reject.

        The objects so far include those that need no decoding: every night tries a few denied objects again.
        """
        so_far = self.object_count - to_decode + counts.total()
        try:
            check_allowed(counts[AudioReason.DENIED], so_far)
        except StorageError:
            storage.remove(self._pending(self.work.run_id))
            raise

    def _write_results(self, run: str, missing_tracks: DataFrame, held: Lease) -> Counter[str]:
        """Writes the results of a run's tasks as features and rejects of their tracks."""
        held.check()  # a run that takes over the lease also takes over these results
        folder = self._pending(run)
        extracted = warehouse_reader(self.spark).schema(extraction.WINDOW_SCHEMA).parquet(folder)
        results = missing.of_tracks(extracted, missing_tracks)
        good = results.where(F.col("reason").isNull()).select(*FEATURES.schema.names)
        if not good.isEmpty():  # readers would take an empty run for new features
            self._append_features(good)
        rejected = self._append_rejects(results)
        storage.remove(folder)
        return rejected

    def _append_features(self, rows: DataFrame) -> None:
        FEATURES.check_schema(rows)
        # The windows of a track are in one file, so that readers see all of them or none.
        whole = rows.repartition(self.spark.sparkContext.defaultParallelism, "track_id")
        whole.write.mode("append").parquet(f"{self._folder}/run={self.work.run_id}")

    def _append_rejects(self, results: DataFrame) -> Counter[str]:
        """Writes the rejects that no earlier run has written; returns the number of tracks by reason."""
        rejected = missing.new_rejects(results, self._rejects())
        decoder = self.settings.decode.decoder
        new = missing.rejects_of(rejected, self.fingerprint, decoder, self.work.run_id)
        counts = Counter({row["reason"]: row["count"] for row in new.groupBy("reason").count().collect()})
        if counts:
            snapshots.append(self.work, REJECTS, new.coalesce(1))
        return counts

    def _without(self) -> int:
        readable = self.objects.where(F.col("reason").isNull()).select("audio_uri", "etag")
        with_audio = self.tracks.join(readable, "audio_uri", "inner")
        have = with_audio.join(missing.held(self._rows()), ["track_id", "audio_uri", "etag"], "left_semi")
        return self.track_count - have.count()
