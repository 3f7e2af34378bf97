"""The published tagger in the package, for users who have no model of their own."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genremill.infra.audio.store import AudioObject
from genremill.jobs.features.extraction_settings import Options
from genremill.jobs.song_files.labels import MOST_LABELS, Label, Reading, Status, Tags
from genremill.udfs.audio_windows import Extractor, windows_of
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import DecodeSettings
from genremill.udfs.feature_sets import registry

FEATURES = "musicnn"
PREFIX = "tag_"
"""Start of the names of the values that are probabilities of tags."""
LEAST_PROBABILITY = 0.1
"""Tags with a lower probability are left out."""
NOTE = (
    "the labels are from the published tagger musicnn: 50 general tags, not only genres. It does not know "
    "your genres, and its probabilities are not calibrated for your catalog. --model uses a model of your own"
)
NOT_GENRES = frozenset(
    {"female vocalists", "female vocalist", "male vocalists", "beautiful", "mellow", "chill", "instrumental"}
    | {"oldies", "acoustic", "guitar", "party", "sexy", "catchy", "sad", "happy"}
    | {"00s", "60s", "70s", "80s", "90s"}
)
"""Tags for a mood, an instrument, a voice or a decade."""


class PublishedTagger:
    """The tags of `musicnn`: means over the first 30 seconds."""

    note = NOTE

    def __init__(self, reading: Reading) -> None:
        features, defaults = registry.named(FEATURES), Options()
        decode = DecodeSettings(
            sr=features.sr, seconds=defaults.seconds, offset=defaults.offset, ffmpeg=reading.ffmpeg
        )
        self._extractor = Extractor(reading.store, features, decode, window_s=None, barrier=reading.barrier)
        features.warm()

    def tags(self, sandbox: Sandbox, audio: AudioObject) -> Tags:
        """The tags of a file; raises `AudioRejected` if it is bad."""
        (window,) = windows_of(self._extractor, sandbox, audio)
        return tags_of_values(self._extractor.features.value_names, window["values"])


def tags_of_values(names: Sequence[str], values: npt.NDArray[np.float32]) -> Tags:
    """The likely tags among the values of the feature set."""
    found = [
        Label(name.removeprefix(PREFIX).replace("_", " "), float(value))
        for name, value in zip(names, values, strict=True)
        if name.startswith(PREFIX) and value >= LEAST_PROBABILITY
    ]
    labels = tuple(sorted(found, key=lambda label: -label.probability)[:MOST_LABELS])
    genre = next((each.label for each in labels if each.label not in NOT_GENRES), None)
    return Tags(Status.TAGGED if labels else Status.ABSTAINED, labels, genre)
