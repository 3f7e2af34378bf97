"""One feature set brought up to date with the audio: what is lacking is copied or decoded.

What tasks have extracted is kept from the moment each of them ends, in a folder that readers do not see; so
the next run takes up what a killed one had done.
"""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import lease, storage
from genremill.infra.lease import Lease
from genremill.infra.log import LOGGER
from genremill.infra.progress import progress, tally
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import FEATURES, REJECTS
from genremill.jobs.features import cache as feature_cache, missing as plan
from genremill.udfs import extraction

OBJECTS_A_TASK = 25
"""About a second of work: a killed task costs little, and none is left running long after the others."""
OBJECTS_A_CORE = 500
"""Objects of a batch, by core: features and rejects are written after each."""
BY_TASK = {
    "mapreduce.fileoutputcommitter.algorithm.version": "2",
    "mapreduce.outputcommitter.factory.scheme.s3a": (
        "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
    ),
}
"""Each task's file appears when the task ends, not when all have: S3A's own committers wait for all."""


@dataclass(frozen=True)
class Counts:
    """What became of the tracks with audio, for one feature set."""

    fingerprint: str
    tracks: int
    """Tracks with an audio_uri."""
    decoded: int = 0
    """Objects decoded by this run, good or bad."""
    size_bytes: int = 0
    """Bytes of those objects."""
    copied: int = 0
    """Tracks whose audio the cache knew under another track."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Tracks newly rejected, by reason."""
    without: int = 0
    """Tracks that are without features of their present audio."""

    @property
    def rejects_share(self) -> float:
        """Share of the tracks with audio that have no features of it."""
        return self.without / self.tracks if self.tracks else 0.0


def _size(fresh: DataFrame) -> tuple[int, int]:
    """Number and bytes of the objects to decode."""
    one_each = fresh.groupBy("source").agg(F.max("size").alias("size"))
    row = one_each.agg(F.count("*"), F.coalesce(F.sum("size"), F.lit(0))).first()
    return (row[0], row[1]) if row else (0, 0)


@dataclass(frozen=True)
class SetRun:
    """One feature set in one run: the cache it fills, and what it reads."""

    spark: SparkSession
    work: command.Run
    fingerprint: str
    settings: extraction.Extractor
    tracks: DataFrame
    """track_id and audio_uri of the tracks with audio."""
    track_count: int
    objects: DataFrame
    """Every distinct audio object: etag and size, or a reason."""

    @property
    def name(self) -> str:
        """The feature set's name, with the variant of augmented signals."""
        return self.settings.name

    def up_to_date(self) -> Counts:
        """Does what is lacking, and counts. Another run on the same set is waited for."""
        if self.work.dry_run:
            _, _, would = self._to_do(self._kept(self._lacking(), "lacking"))
            return dataclasses.replace(would, without=self._without())
        folder = feature_cache.folder_of(self.work.warehouse, self.fingerprint)
        with lease.held(f"{folder}/_extract.lease", self.work.run_id, wait=True) as held:
            return self._done(held)

    def _done(self, held: Lease) -> Counts:
        lack = self._kept(self._lacking(), "lacking")
        rejected = self._append_rejects(self.objects.join(self.tracks, "audio_uri", "inner"))
        if left := storage.folders(self._pending()):
            for run in left:
                LOGGER.info("extract %s: taking up what %s has left", self.name, run)
                rejected += self._settle(run, lack, held)
            lack = self._kept(self._lacking(), "still-lacking")
        copies, fresh, done = self._to_do(lack)
        if copies and done.copied:
            self._append_features(copies)
        if done.decoded:
            rejected += self._decode(fresh, done.decoded, held)
        return dataclasses.replace(done, rejected=dict(sorted(rejected.items())), without=self._without())

    def _to_do(self, lack: DataFrame) -> tuple[DataFrame | None, DataFrame, Counts]:
        """What is copied, None where the cache is empty, what is decoded, and how much that is."""
        copies, fresh = self._divided(lack)
        objects, size_bytes = _size(fresh)
        copied = copies.select("track_id").distinct().count() if copies else 0
        counts = Counts(
            self.fingerprint, tracks=self.track_count, decoded=objects, size_bytes=size_bytes, copied=copied
        )
        return copies, fresh, counts

    def _divided(self, lack: DataFrame) -> tuple[DataFrame | None, DataFrame]:
        """Copies of rows of the same audio, None where the cache is empty; and what is to be decoded."""
        if not feature_cache.runs_of(self.work.warehouse, self.fingerprint):
            return None, lack
        copies = self._kept(plan.copies(lack, self._rows()), "copies")
        fresh = lack.join(copies.select("track_id").distinct(), "track_id", "left_anti")
        return copies, self._kept(fresh, "fresh")

    def _rows(self) -> DataFrame:
        return feature_cache.rows_of(self.spark, self.work.warehouse, self.fingerprint)

    def _rejects(self) -> DataFrame:
        """Rejects of earlier runs under this fingerprint."""
        rejects = feature_cache.rejects(self.spark, self.work.warehouse)
        return rejects.where((F.col("stage") == plan.STAGE) & (F.col("fingerprint") == self.fingerprint))

    def _lacking(self) -> DataFrame:
        return plan.lacking(self.tracks, self.objects, self._rows(), self._rejects())

    def _kept(self, df: DataFrame, name: str) -> DataFrame:
        """A table on disk for the run's time: what it is made from changes while the run writes."""
        return snapshots.checkpoint(self.work, df, self.fingerprint, name)

    def _pending(self, *parts: str) -> str:
        return "/".join((feature_cache.folder_of(self.work.warehouse, self.fingerprint), "_pending", *parts))

    def _decode(self, fresh: DataFrame, objects: int, held: Lease) -> Counter[str]:
        """Decodes in batches; each one's features and rejects are written before the next begins."""
        cores = self.spark.sparkContext.defaultParallelism
        batches = -(-objects // (OBJECTS_A_CORE * cores))
        tasks = max(cores, -(-objects // max(batches * OBJECTS_A_TASK, 1)))
        sources = fresh.select(F.col("source").alias("audio_uri"), "etag", "size").distinct()
        counted = tally(self.spark)
        extract = extraction.make_extract(self.settings, counted)
        rejected = Counter[str]()
        with progress(self.spark, f"extract {self.name}", objects, "clips", counted):
            for number in range(batches):
                part = sources.where(F.pmod(F.xxhash64("audio_uri"), F.lit(batches)) == number)
                extracted = part.repartition(tasks).mapInPandas(extract, extraction.WINDOW_SCHEMA)
                extracted.write.mode("append").options(**BY_TASK).parquet(self._pending(self.work.run_id))
                rejected += self._settle(self.work.run_id, fresh, held)
        return rejected

    def _settle(self, run: str, lack: DataFrame, held: Lease) -> Counter[str]:
        """Turns what the tasks of a run have left into features and rejects of their tracks."""
        held.check()  # who has taken the lease over has taken up what lies there
        folder = self._pending(run)
        extracted = self.spark.read.schema(extraction.WINDOW_SCHEMA).parquet(folder)
        found = plan.of_tracks(extracted, lack)
        good = plan.features_of(found)
        if not good.isEmpty():  # an empty run would look like news to those who read the cache
            self._append_features(good)
        rejected = self._append_rejects(found)
        storage.remove(folder)
        return rejected

    def _append_features(self, rows: DataFrame) -> None:
        FEATURES.check_schema(rows)
        folder = feature_cache.folder_of(self.work.warehouse, self.fingerprint)
        cores = self.spark.sparkContext.defaultParallelism
        whole = rows.repartition(cores, "track_id")  # a track's windows in one file: all of them or none
        whole.write.mode("append").parquet(f"{folder}/run={self.work.run_id}")

    def _append_rejects(self, found: DataFrame) -> Counter[str]:
        """Writes what no earlier run has told of, where there is any; gives tracks by reason."""
        new = plan.rejects_of(plan.untold(found, self._rejects()), self.fingerprint, self.work.run_id)
        counts = Counter({row["reason"]: row["count"] for row in new.groupBy("reason").count().collect()})
        if counts:
            snapshots.append(self.work, REJECTS, new.coalesce(1))
        return counts

    def _without(self) -> int:
        readable = self.objects.where(F.col("reason").isNull()).select("audio_uri", "etag")
        have = self.tracks.join(readable, "audio_uri", "inner").join(
            plan.held(self._rows()), ["track_id", "audio_uri", "etag"], "left_semi"
        )
        return self.track_count - have.count()
