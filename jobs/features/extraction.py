"""Brings the feature sets up to date with the audio of the tracks."""

import dataclasses

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import records, storage
from genremill.infra.audio.faults import AudioReason, check_allowed
from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.features import cache as feature_cache, set_record
from genremill.jobs.features.extraction_settings import Config, window_seconds
from genremill.jobs.features.set_extraction import ExtractionCounts, SetExtraction
from genremill.jobs.features.set_record import FeatureSetRecord
from genremill.udfs import compiled, extraction
from genremill.udfs.audio_windows import Extractor
from genremill.udfs.decoding.settings import DecodeSettings
from genremill.udfs.dsp.augmentation import FASTEST, REVISION, Augmentation
from genremill.udfs.feature_sets import base, registry
from genremill.udfs.feature_sets.base import WHOLE

SAMPLE = 16
"""Tracks whose objects on S3 are requested before all others."""


def with_audio(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot) -> DataFrame:
    """(track_id, audio_uri, split) of the tracks that have audio."""
    tracks = snapshots.read(spark, warehouse, snapshot).select("track_id", "audio_uri", "split")
    return tracks.where(F.col("audio_uri").isNotNull())


def up_to_date(
    spark: SparkSession, work: command.Run, cfg: Config, tracks: DataFrame, count: int
) -> dict[str, ExtractionCounts]:
    """Extracts the missing features of `count` tracks, by feature set; a dry run only counts them.

    The columns of `tracks` are track_id, audio_uri and split.
    """
    if not work.dry_run:
        compiled.make_warm()
    store = AudioStore(cfg.audio_root)
    objects, object_count = _objects(work, tracks, store)
    in_train, train_count = _in_train(tracks) if cfg.augment else (tracks, 0)
    counts = {}
    for extractor in _extractors(cfg, store):
        of_set, of_set_count = (in_train, train_count) if extractor.augmentation else (tracks, count)
        with_uri, fingerprint = of_set.select("track_id", "audio_uri"), _register(work, cfg, extractor)
        filled = SetExtraction(
            spark, work, fingerprint, extractor, with_uri, of_set_count, objects, object_count
        )
        counts[extractor.name] = filled.run()
    return counts


def _in_train(tracks: DataFrame) -> tuple[DataFrame, int]:
    """The tracks of the train split, and their number: only their audio is augmented."""
    in_train = tracks.where(F.col("split") == Split.TRAIN)
    count = in_train.count()
    if not count:
        raise UsageError(
            "--augment: no track with audio is in the train split. If the split is by rows, no track can be"
        )
    return in_train, count


def _extractors(cfg: Config, store: AudioStore) -> list[Extractor]:
    extractors = []
    for name in dict.fromkeys(cfg.features):
        features = registry.named(name, vggish_weights=cfg.vggish_weights)
        for variant in (None, *dict.fromkeys(cfg.augment)):
            seconds = cfg.seconds * (FASTEST if variant else 1)
            decode = DecodeSettings(sr=features.sr, seconds=seconds, offset=cfg.offset, ffmpeg=cfg.ffmpeg)
            augmentation = Augmentation(variant, cfg.seconds) if variant else None
            windows = window_seconds(cfg, features)
            extractors.append(Extractor(store, features, decode, windows, augmentation, cfg.sandbox))
    return extractors


def _objects(work: command.Run, tracks: DataFrame, store: AudioStore) -> tuple[DataFrame, int]:
    """The distinct audio objects, with etag and size or why they cannot be read, and their number."""
    cores = tracks.sparkSession.sparkContext.defaultParallelism
    if any(root.bucket for root in store.roots):
        # Without access to anything, the requests for all objects would take long.
        sample = (
            tracks.orderBy(F.xxhash64("track_id")).limit(SAMPLE).select("audio_uri").distinct().coalesce(1)
        )
        _number_if_allowed(_states(sample, store), all_of_them=True)
    # Partitions are ranges of URIs, because neighbors on S3 are listed together.
    uris = tracks.select("audio_uri").distinct().repartitionByRange(4 * cores, "audio_uri")
    objects = snapshots.checkpoint(work, _states(uris, store), "objects")
    return objects, _number_if_allowed(objects)


def _states(uris: DataFrame, store: AudioStore) -> DataFrame:
    return uris.mapInPandas(extraction.make_stat(store), extraction.OBJECT_SCHEMA)


def _number_if_allowed(objects: DataFrame, *, all_of_them: bool = False) -> int:
    """The number of objects; raises `StorageError` if access to most (or all) of them is denied."""
    is_denied = F.col("reason").eqNullSafe(AudioReason.DENIED.value)
    details = F.max(F.when(is_denied, F.col("detail")))
    row = objects.agg(F.count_if(is_denied), F.count("*"), details).first()
    denied, count, detail = row or (0, 0, "")
    if denied == count or not all_of_them:
        check_allowed(denied, count, detail)
    return count


def _register(work: command.Run, cfg: Config, extractor: Extractor) -> str:
    """Records that these settings of a feature set are in use now; returns their fingerprint."""
    windows = extractor.window_s or WHOLE
    reading: dict[str, object] = {"seconds": cfg.seconds, "offset": cfg.offset.value, "windows": windows}
    if extractor.augmentation:
        reading |= {"augment": extractor.augmentation.variant.value, "augment_revision": REVISION}
    described = base.record(extractor.features, reading) | {"name": extractor.name}
    fingerprint, now = base.fingerprint(described), storage.utc_now()
    dated = described | {"created_at": now, "used_at": now, "used_by": work.run_id}
    record = records.from_json(records.to_json(dated), FeatureSetRecord, extractor.name)
    sets = [cached for cached in feature_cache.cached_sets(work.warehouse) if cached.name == extractor.name]
    if sets and sets[-1].fingerprint == fingerprint:
        return fingerprint
    if sets:
        changed = "; ".join(set_record.differences(sets[-1], record))
        LOGGER.info("%s: the settings have changed: %s", extractor.name, changed)
    if not work.dry_run:
        created_at = next((cached.created_at for cached in sets if cached.fingerprint == fingerprint), now)
        folder = set_record.folder_of(work.warehouse, fingerprint)
        content = records.to_json(dataclasses.replace(record, created_at=created_at))
        storage.write_atomic(f"{folder}/{set_record.RECORD}", content)
    return fingerprint
