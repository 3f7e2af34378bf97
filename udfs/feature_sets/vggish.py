"""VGGish as a feature set, with weights from the user."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch

from genremill.infra.errors import UsageError
from genremill.models.pretrained import vggish
from genremill.udfs.dsp.spectra import Real
from genremill.udfs.feature_sets.base import LIBRARIES, WHOLE, FeatureSet, Signal, Window
from genremill.udfs.feature_sets.logmel import LogMel


@dataclass(frozen=True, kw_only=True)
class Vggish(FeatureSet):
    """The 128 values of VGGish's embedding before its activation: of each `logmel` patch, or their mean.

    The published post-processing (whitening, rounding to bytes) is not applied.
    """

    name: ClassVar[str] = "vggish"
    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    default_windows: ClassVar[str] = LogMel.default_windows
    patch_window_s: ClassVar[float] = float(LogMel.default_windows)
    """The value of `--windows` for patches."""

    sr: int = 16_000
    weights: str
    """URI of the file; all executors must be able to read it."""
    sha256: str
    """Digest of the file."""

    @classmethod
    def of(cls, weights: str) -> Self:
        """The set with the weights of a file, which this reads and checks."""
        return cls(weights=weights, sha256=vggish.read_weights(weights).sha256)

    @property
    def value_names(self) -> tuple[str, ...]:
        """The values of the embedding by number."""
        return tuple(f"embedding_{number:03d}" for number in range(1, vggish.EMBEDDING + 1))

    def settings(self) -> dict[str, Any]:
        """The settings that the values depend on: the digest of the weights, but not their URI."""
        return {key: value for key, value in super().settings().items() if key != "weights"}

    def check_windows(self, window_s: float | None) -> None:
        """Only accepts the length of a patch, or the whole signal."""
        if window_s not in (None, self.patch_window_s):
            raise UsageError(f"--features {self.name}: expected --windows {self.patch_window_s:g} or {WHOLE}")

    def values(self, y: Signal) -> Real:
        """Means over the patches of one signal."""
        return np.asarray(np.mean([patch.values for patch in self._patch_rows(y)], axis=0), np.float32)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The embedding of each patch, or the mean over the whole signal."""
        return self._patch_rows(y) if window_s == self.patch_window_s else super().rows(y, window_s)

    def warm(self) -> None:
        """Loads the weights, and checks that the file is the one whose digest is in the settings.

        PyTorch uses one thread, because Spark runs a process for each core.
        """
        torch.set_num_threads(1)
        if (found := vggish.read_weights(self.weights).sha256) != self.sha256:
            raise UsageError(f"{self.weights}: expected sha256 {self.sha256[:12]}…, found {found[:12]}…")
        super().warm()

    def _patch_rows(self, y: Signal) -> list[Window]:
        patches, weights = LogMel(sr=self.sr), vggish.read_weights(self.weights)
        rows = []
        for patch in patches.rows(y, patches.patch_s):
            batch = torch.from_numpy(patch.values.reshape(patches.shape))
            rows.append(Window(patch.start_s, vggish.embeddings(weights, batch)[0].numpy()))
        return rows
