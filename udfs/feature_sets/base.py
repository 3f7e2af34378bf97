"""The base class of all audio feature sets: frozen settings, the shape of a row's values, a fingerprint.

Signals are mono float32 `y`, shape (n,), in [-1, 1], at the `sr` of the set. The values of a row are flat, in
C order. The shape of the set is the shape to view them in: a vector (n,), a sequence (steps, channels), or an
image (channels, height, width). A sequence with fewer steps than its shape ends in steps of zeros; no other
step is all zeros.
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
"""Their versions are part of a fingerprint, because another version may give other values."""

WHOLE = "whole"
"""The value of `--windows` for one window over all of the decoded audio."""


@dataclass(frozen=True)
class Window:
    """The values of one window of a signal."""

    start_s: float
    values: npt.NDArray[np.float32]
    """Flat, as many as the shape of the set holds."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Settings of one kind of features; a subclass computes them."""

    revision: ClassVar[int]
    """Increases when the code gives other values for the same settings."""
    libraries: ClassVar[tuple[str, ...]] = LIBRARIES
    """Python packages that the values depend on."""
    default_windows: ClassVar[str] = WHOLE
    """The default of `--windows`."""
    uses_kernels: ClassVar[bool] = True
    """Whether its values are computed by functions that numba compiles."""
    reads_analyses: ClassVar[bool] = False
    """Whether the set accepts a Spotify audio analysis in place of audio."""

    sr: int = 22050
    """Sample rate of the signals in Hz."""

    @property
    def name(self) -> str:
        """The name for `--features`."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values of a row: (n,), (steps, channels) or (channels, height, width)."""
        return (len(self.value_names),)

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values of a vector, or of the channels of a sequence or an image, in order."""
        raise NotImplementedError

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The features of one signal, flat, as many as the shape holds."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The settings that the values depend on, by name."""
        return dataclasses.asdict(self)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The features of each window of a signal; with None, of the whole signal."""
        return [Window(start, self.values(part)) for start, part in cut(y, self.sr, window_s)]

    def padded(self, steps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The steps of a sequence, flat, followed by zeros up to the shape of the set."""
        return np.pad(steps.ravel(), (0, math.prod(self.shape) - steps.size))

    def check_windows(self, window_s: float | None) -> None:
        """Raises `UsageError` if the set does not support windows of this length."""

    def warm(self) -> None:
        """Prepares a process: it keeps freed memory for the next signal, loads code and fills tables."""
        keep_freed_memory()
        self.values(np.random.default_rng(0).normal(scale=0.1, size=self.sr).astype(np.float32))


def cut(y: Signal, sr: int, window_s: float | None) -> list[tuple[float, Signal]]:
    """Start in seconds and samples of each complete window of a signal; an incomplete last window is dropped.

    A signal shorter than one window is one window.

    >>> [(start, len(part)) for start, part in cut(np.zeros(7, np.float32), sr=2, window_s=1.5)]
    [(0.0, 3), (1.5, 3)]
    """
    if window_s is None:
        return [(0.0, y)]
    length = round(window_s * sr)
    starts = range(0, len(y) - length + 1, length)
    return [(start / sr, y[start : start + length]) for start in starts] or [(0.0, y)]


def record(features: FeatureSet, reading: dict[str, object]) -> dict[str, object]:
    """The content of `_feature_set.json`: all that the values of a set depend on, their shape and names.

    `reading` holds the settings for reading audio: seconds, offset, windows.
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
    """Digest of the record of a set, 16 hexadecimal digits; equal fingerprints mean comparable values."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
