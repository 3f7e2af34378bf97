"""Features of audio objects in Spark tasks.

A bad object becomes a row with a reason; it does not end the job.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator

import pandas as pd

from genremill.infra.audio.faults import AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.infra.progress import RejectCounts
from genremill.infra.progress_lines import DONE
from genremill.udfs import compiled
from genremill.udfs.audio_windows import Extractor, Row, windows_of
from genremill.udfs.decoding import ffmpeg
from genremill.udfs.decoding.sandbox import Sandbox, of_this_process
from genremill.udfs.feature_sets.base import FeatureSet

OBJECT_SCHEMA = "audio_uri string, etag string, size long, file string, reason string, detail string"
WINDOW_SCHEMA = (
    "audio_uri string, etag string, size long, content_hash string, window int, window_start_s double, "
    "values array<float>, coverage float, seconds_decoded double, reason string, detail string"
)
BatchFunction = Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]


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
        sandbox = of_this_process(settings.barrier)
        for frame in frames:
            objects = [_window_rows(settings, sandbox, row) for row in frame.to_dict("records")]
            reject_counts.add(Counter(rows[0].get("reason", DONE) for rows in objects))
            yield _frame([row for rows in objects for row in rows], WINDOW_SCHEMA)

    return extract


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
        return [row | window for window in windows_of(settings, sandbox, _object(row))]
    except AudioRejected as err:
        return [row | {"reason": err.reason.value, "detail": err.detail}]


def _object(row: Row) -> AudioObject:
    return AudioObject(row["audio_uri"], row["etag"], row["size"])


def _frame(rows: list[Row], schema: str) -> pd.DataFrame:
    names = [column.split()[0] for column in schema.split(", ")]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})
