"""What every audio feature set has: settings that are frozen, the shape of a row's values, a fingerprint.

Signals are mono float32 `y`, shape (n,), in [-1, 1], at the set's `sr`. A row's values are flat, in C order;
the set's shape says how to view them: a vector (n,), a sequence (steps, channels), or an image (channels,
height, width). A sequence shorter than its steps ends in steps of zeros, and no other step is all zeros.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.allocator import keep_freed_memory

Signal = npt.NDArray[np.float32]
LIBRARIES = ("librosa", "numpy", "scipy", "soundfile", "soxr")
"""Their versions are part of a fingerprint: another one may give other values."""


WHOLE = "whole"
"""`--windows` that takes what was decoded as one."""


@dataclass(frozen=True)
class Window:
    """The values of one window of a signal."""

    start_s: float
    values: npt.NDArray[np.float32]
    """Flat, as many as the set's shape holds."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Settings of one kind of features; a subclass computes them."""

    revision: ClassVar[int]
    """Grows when the code gives other values for the same settings."""
    libraries: ClassVar[tuple[str, ...]] = LIBRARIES
    """Distributions that the values depend on."""
    default_windows: ClassVar[str] = WHOLE
    """What `--windows` is where nobody says it."""
    reads_analyses: ClassVar[bool] = False
    """Whether a Spotify audio analysis may stand for the audio."""

    sr: int = 22050
    """Samples a second that the set works at."""

    @property
    def name(self) -> str:
        """What `--features` calls it."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a row's values: (n,), (steps, channels) or (channels, height, width)."""
        return (len(self.value_names),)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of a vector's values, or of the channels of a sequence or an image, in order."""
        raise NotImplementedError

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The features of one signal, flat, as many as the shape holds."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What the values depend on, by name."""
        return dataclasses.asdict(self)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The features of each window of a signal; None takes it whole."""
        return [Window(start, self.values(part)) for start, part in cut(y, self.sr, window_s)]

    def padded(self, steps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The steps of a sequence, one after the other, and zeros up to their full number."""
        found = np.zeros(math.prod(self.shape), np.float32)
        found[: steps.size] = steps.ravel()
        return found

    def check_windows(self, window_s: float | None) -> None:
        """Raises `UsageError` on windows that the set cannot take."""

    def warm(self) -> None:
        """Does what a process has to do once: keeps memory for the next signal, loads code, fills tables."""
        keep_freed_memory()
        self.values(np.random.default_rng(0).normal(scale=0.1, size=self.sr).astype(np.float32))


def cut(y: Signal, sr: int, window_s: float | None) -> list[tuple[float, Signal]]:
    """Start in seconds and samples of each whole window of a signal; a remainder is left out.

    A signal shorter than one window is taken whole.

    >>> [(start, len(part)) for start, part in cut(np.zeros(7, np.float32), sr=2, window_s=1.5)]
    [(0.0, 3), (1.5, 3)]
    """
    if window_s is None:
        return [(0.0, y)]
    length = round(window_s * sr)
    starts = range(0, len(y) - length + 1, length)
    return [(start / sr, y[start : start + length]) for start in starts] or [(0.0, y)]


def record(features: FeatureSet, reading: dict[str, object]) -> dict[str, object]:
    """What `_feature_set.json` says of a set: all that its values depend on, their shape and their names.

    `reading` holds how signals were cut out of the audio: seconds, offset, windows.
    """
    return {
        "name": features.name,
        "settings": features.settings() | reading,
        "revision": features.revision,
        "versions": {name: version(name) for name in features.libraries},
        "shape": list(features.shape),
        "values": list(features.value_names),
    }


def fingerprint(described: dict[str, object]) -> str:
    """Digest of a set's record: 16 hexadecimal digits; equal fingerprints mean comparable values."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
