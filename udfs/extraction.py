"""Features of audio objects: each object is opened, decoded in a sandbox, and cut into windows.

A bad object becomes a row with a reason; it does not end the job.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.infra.progress import DONE, RejectCounts
from genremill.udfs import compiled
from genremill.udfs.decoding import ffmpeg, spotify_analysis
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier, DecodeSettings
from genremill.udfs.dsp.augmentation import Augmentation
from genremill.udfs.feature_sets.base import FeatureSet, Window

OBJECT_SCHEMA = "audio_uri string, etag string, size long, file string, reason string, detail string"
WINDOW_SCHEMA = (
    "audio_uri string, etag string, size long, content_hash string, window int, window_start_s double, "
    "values array<float>, coverage float, seconds_decoded double, reason string, detail string"
)
BatchFunction = Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Extractor:
    """Everything needed to turn an audio object into features, except the child process that decodes."""

    store: AudioStore
    features: FeatureSet
    decode: DecodeSettings
    window_s: float | None
    """Seconds of a window; None for one window over all of the decoded audio."""
    augmentation: Augmentation | None = None
    """How signals are changed; None for no change."""
    barrier: Barrier = Barrier.AUTO

    @property
    def name(self) -> str:
        """The name of the set, with the variant if signals are changed: `gtzan57~noise`."""
        return self.features.name + (f"~{self.augmentation.variant}" if self.augmentation else "")


def make_stat(store: AudioStore) -> BatchFunction:
    """A `mapInPandas` function from (audio_uri) to `OBJECT_SCHEMA`: the object, or a reason."""

    def stat(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            uris = list(frame["audio_uri"])
            rows = [_object_row(uri, result) for uri, result in zip(uris, store.stats(uris), strict=True)]
            yield _frame(rows, OBJECT_SCHEMA)

    return stat


def make_extract(settings: Extractor, reject_counts: RejectCounts) -> BatchFunction:
    """A `mapInPandas` function from (audio_uri, etag, size) to `WINDOW_SCHEMA`, which counts objects.

    It returns one row per window of an object, or one row with a reason. Raises `UsageError` if the kernels
    are not compiled for this machine, or if the kernel lacks a part of a sandbox that is required.
    """

    def extract(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        _make_ready(settings.features)
        if settings.decode.ffmpeg:
            ffmpeg.require()
        sandbox = _sandbox(settings.barrier)
        for frame in frames:
            objects = [_window_rows(settings, sandbox, row) for row in frame.to_dict("records")]
            reject_counts.add(Counter(rows[0].get("reason", DONE) for rows in objects))
            yield _frame([row for rows in objects for row in rows], WINDOW_SCHEMA)

    return extract


@functools.cache
def _sandbox(barrier: Barrier) -> Sandbox:
    """The sandbox of this worker process; its tasks share it. Unlike `cache(Sandbox)`, it can be pickled."""
    return Sandbox(barrier=barrier)


@functools.cache
def _make_ready(features: FeatureSet) -> None:
    """Loads everything that the set needs, once per worker process."""
    compiled.require_warm()
    features.warm()


def _object_row(uri: str, result: AudioObject | AudioRejected) -> Row:
    if isinstance(result, AudioRejected):
        return {"audio_uri": uri, "reason": result.reason.value, "detail": result.detail}
    return {"audio_uri": uri, "etag": result.etag, "size": result.size, "file": result.file}


def _window_rows(settings: Extractor, sandbox: Sandbox, row: Row) -> list[Row]:
    try:
        return [row | window for window in _windows(settings, sandbox, row)]
    except AudioRejected as err:
        return [row | {"reason": err.reason.value, "detail": err.detail}]


def _windows(settings: Extractor, sandbox: Sandbox, row: Row) -> list[Row]:
    features, change = settings.features, settings.augmentation
    with settings.store.open(AudioObject(row["audio_uri"], row["etag"], row["size"])) as audio:
        if features.reads_analyses and not change and spotify_analysis.is_analysis(audio.fd):
            decoded = sandbox.read_analysis(audio.fd, features.shape[0])
            rows = [Window(0.0, features.padded(decoded.y))]
        else:
            decoded = sandbox.decode(audio.fd, settings.decode)
            y = change.applied(decoded.y, features.sr, audio.content_hash) if change else decoded.y
            rows = features.rows(y, settings.window_s)
    if not all(np.isfinite(window.values).all() for window in rows):
        raise AudioRejected(AudioReason.NON_FINITE, "a feature is not a finite number")
    common: Row = {"content_hash": audio.content_hash, "coverage": decoded.coverage}
    common["seconds_decoded"] = decoded.seconds_decoded
    return [
        common | {"window": number, "window_start_s": window.start_s, "values": window.values}
        for number, window in enumerate(rows)
    ]


def _frame(rows: list[Row], schema: str) -> pd.DataFrame:
    names = [column.split()[0] for column in schema.split(", ")]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})
