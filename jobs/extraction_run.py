"""One feature set brought up to date with the audio: what is lacking is copied or decoded, batch by batch."""

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass, field

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.log import LOGGER
from genremill.infra.progress import progress
from genremill.jobs import command, extraction_plan as plan, feature_cache
from genremill.jobs.contracts import FEATURES, REJECTS
from genremill.udfs import extraction

OBJECTS_A_TASK = 25
"""About a second of work: a killed task costs little, and none is left running long after the others."""
OBJECTS_A_CORE = 1_000
"""Objects of a batch, by core. A batch is written when it is done, so a killed job loses one at most."""


@dataclass(frozen=True)
class Counts:
    """What became of the tracks with audio, for one feature set."""

    fingerprint: str
    tracks: int
    """Tracks with an audio_uri."""
    decoded: int = 0
    """Objects decoded by this run, good or bad."""
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


@dataclass(frozen=True)
class SetRun:
    """One feature set in one run: the cache it fills, and what it reads."""

    spark: SparkSession
    work: command.Run
    fingerprint: str
    settings: extraction.Extractor
    tracks: DataFrame
    """track_id and audio_uri of the tracks with audio."""
    objects: DataFrame
    """Every distinct audio object: etag and size, or a reason."""

    @property
    def name(self) -> str:
        """The feature set's name."""
        return self.settings.features.name

    def up_to_date(self) -> Counts:
        """Does what is lacking, and counts."""
        lack = self._kept(self._lacking(), f"lacking-{self.name}")
        copies = self._kept(plan.copies(lack, self._rows()), f"copies-{self.name}")
        fresh = lack.join(copies.select("track_id").distinct(), "track_id", "left_anti")
        fresh = self._kept(fresh, f"fresh-{self.name}")
        copied = copies.select("track_id").distinct().count()
        decoded = fresh.select("source").distinct().count()
        done = Counts(self.fingerprint, self.tracks.count(), decoded, copied)
        if self.work.dry_run:
            return done
        if copied:
            self._append_features(copies)
        rejected = self._append_rejects(plan.unreadable(self.objects))
        rejected += self._decode(fresh, decoded)
        return dataclasses.replace(done, rejected=dict(sorted(rejected.items())), without=self._without())

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
        path = self.work.warehouse.tmp(self.work.run_id, name)
        df.write.parquet(path)
        return self.spark.read.parquet(path)

    def _decode(self, fresh: DataFrame, objects: int) -> Counter[str]:
        """Decodes in batches; each one's features and rejects are written before the next begins."""
        cores = self.spark.sparkContext.defaultParallelism
        batches = -(-objects // (OBJECTS_A_CORE * cores))
        sources = fresh.select(F.col("source").alias("audio_uri"), "etag", "size").distinct()
        batch = F.pmod(F.xxhash64("audio_uri"), F.lit(batches))
        rejected: Counter[str] = Counter()
        started, finished = time.monotonic(), 0
        for number in range(batches):
            part = sources.where(batch == number)
            tasks = max(cores, -(-objects // (batches * OBJECTS_A_TASK)))
            with progress(self.spark, f"extract {self.name}", objects // batches, "clips"):
                extracted = self._kept(
                    part.repartition(tasks).mapInPandas(
                        extraction.extractor(self.settings), extraction.WINDOW_SCHEMA
                    ),
                    f"extracted-{self.name}-{number}",
                )
            finished += extracted.select("audio_uri").distinct().count()
            self._append_features(plan.features_of(extracted, fresh))
            rejected += self._append_rejects(extracted, fresh)
            self._tell(finished, objects, time.monotonic() - started, rejected)
        return rejected

    def _append_features(self, rows: DataFrame) -> None:
        folder = feature_cache.folder_of(self.work.warehouse, self.fingerprint)
        cores = self.spark.sparkContext.defaultParallelism
        FEATURES.check_schema(rows)
        rows.coalesce(cores).write.mode("append").parquet(f"{folder}/run={self.work.run_id}")

    def _append_rejects(self, faulty: DataFrame, tracks: DataFrame | None = None) -> Counter[str]:
        """Writes what no earlier run has told of, where there is any; gives tracks by reason."""
        targets = (
            self.tracks if tracks is None else tracks.select("track_id", F.col("source").alias("audio_uri"))
        )
        found = plan.rejects_of(faulty, targets, self.fingerprint, self.work.run_id)
        new = plan.unknown(found, self._rejects())
        counts = Counter({row["reason"]: row["count"] for row in new.groupBy("reason").count().collect()})
        if counts:
            REJECTS.check_schema(new)
            path = self.work.warehouse.run_path("rejects", self.work.run_id)
            new.coalesce(1).write.mode("append").parquet(path)
        return counts

    def _without(self) -> int:
        readable = self.objects.where(F.col("reason").isNull()).select("audio_uri", "etag")
        have = self.tracks.join(readable, "audio_uri", "inner").join(
            self._rows(), ["track_id", "audio_uri", "etag"], "left_semi"
        )
        return self.tracks.count() - have.count()

    def _tell(self, finished: int, objects: int, seconds: float, rejected: Counter[str]) -> None:
        rate = finished / max(seconds, 1e-9)
        LOGGER.info(
            "extract %s: %s of %s clips, %.1f/s, rejected: %s, %.0f s left",
            *(self.name, f"{finished:,}", f"{objects:,}", rate, dict(rejected) or "none"),
            (objects - finished) / max(rate, 1e-9),
        )
