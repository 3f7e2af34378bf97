"""The embedding of each `logmel` patch by VGGish, with weights from the user."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from genremill.infra.errors import UsageError
from genremill.models.pretrained import vggish
from genremill.udfs.feature_sets.base import LIBRARIES, WHOLE, FeatureSet, Signal, Window
from genremill.udfs.feature_sets.logmel import LogMel


@dataclass(frozen=True, kw_only=True)
class Vggish(FeatureSet):
    """The 128 values of the embedding before its activation: of each patch, or means over the signal.

    The published post-processing (whitening, rounding to bytes) is not applied.
    """

    name: ClassVar[str] = "vggish"
    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    default_windows: ClassVar[str] = LogMel.default_windows

    sr: int = LogMel.sr
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
        if window_s not in (None, self._patches.patch_s):
            patch_s = f"{self._patches.patch_s:g}"
            raise UsageError(f"--features {self.name}: expected --windows {patch_s} or {WHOLE}")

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """Means over the patches of one signal."""
        patches = self._patches.rows(y, self._patches.patch_s)
        return np.asarray(np.mean([self._embedding(patch) for patch in patches], axis=0), np.float32)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The embedding of each patch, or the mean of all patches."""
        if window_s is None:
            return super().rows(y, window_s)
        patches = self._patches.rows(y, window_s)
        return [Window(patch.start_s, self._embedding(patch)) for patch in patches]

    def warm(self) -> None:
        """Loads the network; it uses one thread, because Spark runs a process for each core."""
        torch.set_num_threads(1)
        if (found := vggish.read_weights(self.weights).sha256) != self.sha256:
            raise UsageError(f"{self.weights}: expected sha256 {self.sha256[:12]}…, found {found[:12]}…")
        super().warm()

    @property
    def _patches(self) -> LogMel:
        return LogMel(sr=self.sr)

    def _embedding(self, patch: Window) -> npt.NDArray[np.float32]:
        batch = torch.from_numpy(patch.values.reshape(self._patches.shape))
        return np.asarray(vggish.embeddings(vggish.read_weights(self.weights), batch)[0].numpy(), np.float32)
