"""What every audio feature set has: settings that are frozen, names of its values, a fingerprint.

Signals are mono float32 `y`, shape (n,), in [-1, 1], at the set's `sr`.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.allocator import keep_freed_memory

Signal = npt.NDArray[np.float32]
LIBRARIES = ("librosa", "numpy", "scipy", "soundfile", "soxr")
"""Their versions are part of a fingerprint: another one may give other values."""


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Settings of one kind of features; a subclass computes them."""

    name: ClassVar[str]
    revision: ClassVar[int]
    """Grows when the code gives other values for the same settings."""

    sr: int = 22050
    """Samples a second that the set works at."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        raise NotImplementedError

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The features of one signal, shape (len(value_names),)."""
        raise NotImplementedError

    def warm(self) -> None:
        """Does what a process has to do once: keeps memory for the next signal, loads code, fills tables."""
        keep_freed_memory()
        self.values(np.random.default_rng(0).normal(scale=0.1, size=self.sr).astype(np.float32))


def record(features: FeatureSet, reading: dict[str, object]) -> dict[str, object]:
    """What `_feature_set.json` says of a set: all that its values depend on, and their names.

    `reading` holds how signals were cut out of the audio: seconds, offset, windows.
    """
    return {
        "name": features.name,
        "settings": dataclasses.asdict(features) | reading,
        "revision": features.revision,
        "versions": {name: version(name) for name in LIBRARIES},
        "shape": [len(features.value_names)],
        "values": list(features.value_names),
    }


def fingerprint(described: dict[str, object]) -> str:
    """Digest of a set's record: 16 hexadecimal digits; equal fingerprints mean comparable values."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
