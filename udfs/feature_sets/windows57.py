"""The 57 values of the GTZAN feature table for each of ten windows of three seconds: a sequence."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.feature_sets.base import FeatureSet, Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57


@dataclass(frozen=True, kw_only=True)
class Windows57(FeatureSet):
    """`gtzan57` of each window of a clip, shape (steps, 57).

    An incomplete last window counts if it has at least half of its length, so a clip slightly shorter than 30
    s has ten steps. Audio after the last step is ignored; a shorter clip has fewer steps.
    """

    name: ClassVar[str] = "windows57"
    revision: ClassVar[int] = 1

    steps: int = 10
    window_s: float = 3.0
    """Length of a step in seconds."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(steps, 57)."""
        return (self.steps, len(self.value_names))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the channels, as in the GTZAN feature table."""
        return self._per_window.value_names

    @property
    def _per_window(self) -> Gtzan57:
        return Gtzan57(sr=self.sr)

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The steps of one signal, flat; the steps after its end are zeros."""
        length = round(self.window_s * self.sr)
        parts = [y[step * length : (step + 1) * length] for step in range(self.steps)]
        used = [part for step, part in enumerate(parts) if step == 0 or len(part) >= length / 2]
        return self.padded(np.stack([self._per_window.values(part) for part in used]))
