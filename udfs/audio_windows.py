"""Features of one audio object: it is opened, decoded in a sandbox, and cut into windows. Needs no Spark."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.udfs.decoding import spotify_analysis
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier, DecodeSettings
from genremill.udfs.dsp.augmentation import Augmentation
from genremill.udfs.feature_sets.base import FeatureSet, Window

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


def windows_of(settings: Extractor, sandbox: Sandbox, audio: AudioObject) -> list[Row]:
    """The features of each window, with what was decoded; raises `AudioRejected` if the object is bad."""
    features, change = settings.features, settings.augmentation
    with settings.store.open(audio) as opened:
        if features.reads_analyses and not change and spotify_analysis.is_analysis(opened.fd):
            decoded = sandbox.read_analysis(opened.fd, features.shape[0])
            rows = [Window(0.0, features.padded(decoded.y))]
        else:
            decoded = sandbox.decode(opened.fd, settings.decode)
            y = change.applied(decoded.y, features.sr, opened.content_hash) if change else decoded.y
            rows = features.rows(y, settings.window_s)
    if not all(np.isfinite(window.values).all() for window in rows):
        raise AudioRejected(AudioReason.NON_FINITE, "a feature is not a finite number")
    common: Row = {"content_hash": opened.content_hash, "coverage": decoded.coverage}
    common["seconds_decoded"] = decoded.seconds_decoded
    return [
        common | {"window": number, "window_start_s": window.start_s, "values": window.values}
        for number, window in enumerate(rows)
    ]
