"""Features of audio objects: each is opened, decoded in a sandbox, cut into windows and measured.

What is wrong with one object becomes a row with a reason; it never ends the job.
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
from genremill.infra.progress import DONE, Tally
from genremill.udfs import compiled
from genremill.udfs.decoding import spotify_analysis
from genremill.udfs.decoding.decode import DecodeSettings
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.spotify_analysis import AnalysisSettings
from genremill.udfs.dsp.augmentation import Augmentation
from genremill.udfs.feature_sets.base import FeatureSet, Window

OBJECT_SCHEMA = "audio_uri string, etag string, size long, reason string, detail string"
WINDOW_SCHEMA = (
    "audio_uri string, etag string, size long, content_hash string, window int, window_start_s double, "
    "values array<float>, coverage float, seconds_decoded double, reason string, detail string"
)
BatchFunction = Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Extractor:
    """All that turns one audio object into features, apart from the sandbox of the process it happens in."""

    store: AudioStore
    features: FeatureSet
    decode: DecodeSettings
    window_s: float | None
    """Seconds of a window; None takes what was decoded as one."""
    augmentation: Augmentation | None = None
    """How signals are changed; None takes them as they are."""

    @property
    def name(self) -> str:
        """The set's name, and the variant behind it where signals are changed: `gtzan57~noise`."""
        return (
            f"{self.features.name}~{self.augmentation.variant}" if self.augmentation else self.features.name
        )


def statter(store: AudioStore) -> BatchFunction:
    """A `mapInPandas` function from (audio_uri) to `OBJECT_SCHEMA`: what is there, or why not."""

    def stat(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            uris = list(frame["audio_uri"])
            rows = [_object_row(uri, one) for uri, one in zip(uris, store.stats(uris), strict=True)]
            yield _frame(rows, OBJECT_SCHEMA)

    return stat


def extractor(settings: Extractor, tally: Tally) -> BatchFunction:
    """A `mapInPandas` function from (audio_uri, etag, size) to `WINDOW_SCHEMA`, which counts objects.

    An object gives a row for each of its windows, or one row with a reason. Raises `UsageError` where the
    kernels are not compiled for this machine.
    """

    def extract(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        _make_ready(settings.features)
        sandbox = _sandbox()
        for frame in frames:
            objects = [_window_rows(settings, sandbox, one) for one in frame.to_dict("records")]
            tally.add(Counter(rows[0].get("reason", DONE) for rows in objects))
            rows = [row for of_one in objects for row in of_one]
            yield _frame(rows, WINDOW_SCHEMA)

    return extract


@functools.cache
def _sandbox() -> Sandbox:
    """The one sandbox of this worker process, reused from task to task."""
    return Sandbox()


@functools.cache
def _make_ready(features: FeatureSet) -> None:
    """Loads what the set needs, once for each worker process."""
    compiled.require_warm()
    features.warm()


def _object_row(uri: str, found: AudioObject | AudioRejected) -> Row:
    if isinstance(found, AudioRejected):
        return {"audio_uri": uri, "reason": found.reason.value, "detail": found.detail}
    return {"audio_uri": uri, "etag": found.etag, "size": found.size}


def _window_rows(settings: Extractor, sandbox: Sandbox, row: Row) -> list[Row]:
    try:
        return [row | found for found in _windows(settings, sandbox, row)]
    except AudioRejected as err:
        return [row | {"reason": err.reason.value, "detail": err.detail}]


def _windows(settings: Extractor, sandbox: Sandbox, row: Row) -> list[Row]:
    features = settings.features
    with settings.store.open(AudioObject(row["audio_uri"], row["etag"], row["size"])) as audio:
        change = settings.augmentation
        if features.reads_analyses and not change and spotify_analysis.is_analysis(audio.fd):
            analysis = sandbox.read_analysis(audio.fd, AnalysisSettings(segments=features.shape[0]))
            coverage, seconds = 1.0, analysis.seconds
            rows = [Window(0.0, features.padded(analysis.steps))]
        else:
            decoded = sandbox.decode(audio.fd, settings.decode)
            coverage, seconds = decoded.coverage, decoded.seconds_decoded
            y = change.applied(decoded.y, features.sr, audio.content_hash) if change else decoded.y
            rows = features.rows(y, settings.window_s)
    if not all(np.isfinite(one.values).all() for one in rows):
        raise AudioRejected(AudioReason.NON_FINITE, "a feature is not a finite number")
    of_all = {
        "content_hash": audio.content_hash,
        "coverage": coverage,
        "seconds_decoded": seconds,
    }
    return [
        of_all | {"window": at, "window_start_s": one.start_s, "values": one.values}
        for at, one in enumerate(rows)
    ]


def _frame(rows: list[Row], schema: str) -> pd.DataFrame:
    names = [column.split()[0] for column in schema.split(", ")]
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})
