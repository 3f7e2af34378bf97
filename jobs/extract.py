"""Decodes audio files in a sandbox and adds their feature vectors to the cache.

Reads `tracks` and the audio under --audio-root. Writes `features`, and `rejects`: the bad files, each with
a reason.

    spark-submit jobs/extract.py --warehouse file:///data/warehouse --audio-root file:///data/audio
"""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.flag_types import OptionalFile, Uris
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.features import cache as feature_cache
from genremill.udfs.decoding.settings import DecodeSettings, Offset
from genremill.udfs.dsp.variant import FASTEST, REVISION, Variant
from genremill.udfs.feature_sets import base
from genremill.udfs.feature_sets.base import WHOLE

if TYPE_CHECKING:  # these import numba, and --help needs none
    from genremill.jobs.features.extraction import Counts
    from genremill.udfs.extraction import Extractor
    from genremill.udfs.feature_sets.base import FeatureSet


MOST_SECONDS = 1200
"""As much of 44.1 kHz stereo as the decoder's budget allows, with some to spare."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which features to extract, and from which part of the audio."""

    features: tuple[str, ...] = ("gtzan57",)
    """Feature sets to extract: gtzan57, multiwindow, fma518, windows57, segments, logmel, musicnn,
    musicnn_vgg, vggish, or spectrogram:KIND (KIND is db, power_db, phase, chroma, chroma_cqt, mfcc, mel,
    cqt, tempogram or tonnetz)."""
    seconds: float = 30.0
    """Seconds of audio to decode from each file."""
    offset: Offset = Offset.START
    """Part of the audio to decode: the start or the middle."""
    windows: str | None = None
    """`whole` for one row of features per track, or the length of a window in seconds for one row per
    window. [0.975 for logmel and vggish, whole for the other sets]"""
    vggish_weights: OptionalFile = None
    """File with the weights of the feature set vggish, .safetensors or .npz."""
    augment: tuple[Variant, ...] = ()
    """Also extract features of these variants of the training audio."""
    max_rejects: float = 0.05
    """Largest share of the tracks with audio that may be without features; above it, the exit code is 3."""


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Where the audio is, and which features to extract."""

    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read."""


def ready(work: command.Run, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    check(cfg)
    work.warehouse.require("tracks", "ingest --tracks …")
    AudioStore(cfg.audio_root)
    return cfg


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Extracts what is lacking of each feature set."""
    check(cfg)
    snapshot = work.warehouse.require("tracks", "ingest --tracks …")
    tracks = with_audio(spark, work.warehouse, snapshot)
    count = tracks.count()
    if not count:
        raise UsageError(
            f"no track of run {snapshot.run_id} has an audio_uri: "
            "ingest takes it from the column that --columns.audio-uri names"
        )
    return _outcome(up_to_date(spark, work, cfg, tracks, count), work.dry_run, cfg.max_rejects)


def with_audio(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot) -> DataFrame:
    """(track_id, audio_uri, split) of the tracks that have audio."""
    tracks = snapshots.read(spark, warehouse, snapshot).select("track_id", "audio_uri", "split")
    return tracks.where(F.col("audio_uri").isNotNull())


def up_to_date(
    spark: SparkSession, work: command.Run, cfg: Config, tracks: DataFrame, count: int
) -> "dict[str, Counts]":
    """Extracts what `count` tracks (track_id, audio_uri, split) lack, or counts it; by feature set."""
    from genremill.jobs.features.extraction import SetRun  # here: numba takes a while, and --help needs none
    from genremill.udfs import compiled

    if not compiled.is_warm() and not work.dry_run:
        LOGGER.info("compiling for this machine, once: `%s` does it beforehand", compiled.COMMAND)
        compiled.compile_missing()
    store = AudioStore(cfg.audio_root)
    objects = _objects(spark, work, tracks, store)
    learned, learned_count = _learned_from(tracks) if cfg.augment else (tracks, 0)
    found = {}
    for settings in _extractors(cfg, store):
        fingerprint = _registered(work, cfg, settings)
        of_set, of_set_count = (learned, learned_count) if settings.augmentation else (tracks, count)
        wanted = of_set.select("track_id", "audio_uri")
        one = SetRun(spark, work, fingerprint, settings, wanted, of_set_count, objects)
        found[one.name] = one.up_to_date()
    return found


def _learned_from(tracks: DataFrame) -> tuple[DataFrame, int]:
    """The tracks of the training split, and how many they are: no other may be changed and learned from."""
    learned = tracks.where(F.col("split") == Split.TRAIN)
    count = learned.count()
    if not count:
        raise UsageError(
            "--augment: no track with audio is in the training split; under --split rows none can be"
        )
    return learned, count


def check(cfg: Config) -> None:
    """Raises on settings that no audio could make right."""
    from genremill.udfs.feature_sets import registry  # here: numba takes a while, and --help needs none

    if not cfg.audio_root:
        raise UsageError("--audio-root is needed: the folders or prefixes that audio may be read from")
    if not cfg.features:
        raise UsageError(f"--features: expected one or more of {', '.join(registry.FEATURE_SETS)}")
    if not 0.1 <= cfg.seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds {cfg.seconds:g}: expected 0.1 to {MOST_SECONDS}")
    if not 0 <= cfg.max_rejects <= 1:
        raise UsageError(f"--max-rejects {cfg.max_rejects:g}: expected a share from 0 to 1")
    for name in cfg.features:
        window_seconds(cfg, registry.named(name, vggish_weights=cfg.vggish_weights))


def window_seconds(cfg: Config, features: "FeatureSet") -> float | None:
    """Seconds of a set's windows, or None where it takes audio whole."""
    windows = cfg.windows or features.default_windows
    seconds = None
    if windows != WHOLE:
        try:
            seconds = float(windows)
        except ValueError:
            seconds = math.nan
        if not 0.1 <= seconds <= cfg.seconds:
            raise UsageError(
                f"--windows {windows}: expected whole, or seconds from 0.1 to --seconds {cfg.seconds:g}"
            )
    features.check_windows(seconds)
    return seconds


def _extractors(cfg: Config, store: AudioStore) -> "list[Extractor]":
    from genremill.udfs.dsp.augmentation import Augmentation
    from genremill.udfs.extraction import Extractor
    from genremill.udfs.feature_sets import registry

    found = []
    for name in dict.fromkeys(cfg.features):
        one = registry.named(name, vggish_weights=cfg.vggish_weights)
        for changed in (None, *dict.fromkeys(cfg.augment)):
            seconds = cfg.seconds * (FASTEST if changed else 1)
            decode = DecodeSettings(sr=one.sr, seconds=seconds, offset=cfg.offset)
            change = Augmentation(changed, cfg.seconds) if changed else None
            found.append(Extractor(store, one, decode, window_seconds(cfg, one), change))
    return found


def _objects(spark: SparkSession, work: command.Run, tracks: DataFrame, store: AudioStore) -> DataFrame:
    """Every distinct audio object with etag and size, or why it cannot be read."""
    from genremill.udfs import extraction

    cores = spark.sparkContext.defaultParallelism
    uris = tracks.select("audio_uri").distinct()
    # By range: neighbours on S3 are listed together.
    uris = uris.repartitionByRange(4 * cores, "audio_uri")
    objects = uris.mapInPandas(extraction.make_stat(store), extraction.OBJECT_SCHEMA)
    return snapshots.checkpoint(work, objects, "objects")


def _registered(work: command.Run, cfg: Config, settings: "Extractor") -> str:
    """The fingerprint of a set with these settings, whose record says that it is the one in use."""
    windows = settings.window_s or WHOLE
    reading: dict[str, object] = {"seconds": cfg.seconds, "offset": cfg.offset.value, "windows": windows}
    if settings.augmentation:
        reading |= {"augment": settings.augmentation.variant.value, "augment_revision": REVISION}
    described = base.record(settings.features, reading) | {"name": settings.name}
    fingerprint = base.fingerprint(described)
    sets = [one for one in feature_cache.cached_sets(work.warehouse) if one.name == settings.name]
    if sets and sets[-1].fingerprint == fingerprint:
        return fingerprint
    if sets:
        changed = "; ".join(feature_cache.differences(sets[-1].described, described))
        LOGGER.info("%s: features of other settings than before: %s", settings.name, changed)
    if not work.dry_run:
        now = storage.utc_now()
        known = [one.described for one in sets if one.fingerprint == fingerprint]
        record = (known[0] if known else described | {"created_at": now}) | {"used_at": now}
        folder = feature_cache.folder_of(work.warehouse, fingerprint)
        storage.write_atomic(f"{folder}/{feature_cache.RECORD}", json.dumps(record, indent=1).encode())
    return fingerprint


def _outcome(found: "dict[str, Counts]", dry_run: bool, max_rejects: float) -> command.Outcome:
    over = [name for name, one in found.items() if one.rejects_share > max_rejects]
    for name in over:
        LOGGER.warning(
            "%s: %s of %s tracks with audio have no features, %.1f %%: more than --max-rejects %g",
            *(name, f"{found[name].without:,}", f"{found[name].tracks:,}"),
            *(100 * found[name].rejects_share, max_rejects),
        )
    lines = [
        f"{name}: {one.decoded:,} clips {'to decode' if dry_run else 'decoded'}, {one.copied:,} copied, "
        f"{one.tracks - one.without:,} of {one.tracks:,} tracks with audio have features"
        + (" now" if dry_run else f"; newly rejected: {one.rejected or 'none'}")
        for name, one in found.items()
    ]
    summary = {
        name: dataclasses.asdict(one) | {"rejects_share": one.rejects_share} for name, one in found.items()
    }
    code = ExitCode.REJECTS_OVER_LIMIT if over and not dry_run else ExitCode.DONE
    idle = not any(one.decoded or one.copied or one.rejected for one in found.values())
    return command.Outcome({"features": summary}, "\n".join(lines), code, nothing_new=idle)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("extract", __doc__, Config, command.with_spark("extract", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
