"""VGGish's embedding of each patch of `logmel`, by weights that the user brings."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from genremill.infra.errors import UsageError
from genremill.models.pretrained import vggish
from genremill.udfs.feature_sets.base import LIBRARIES, FeatureSet, Signal, Window
from genremill.udfs.feature_sets.logmel import LogMel


@dataclass(frozen=True, kw_only=True)
class Vggish(FeatureSet):
    """The 128 values of the embedding, before any rectifier: of each patch, or their means over the whole.

    Neither whitened nor rounded to bytes, as the published post-processing does.
    """

    name: ClassVar[str] = "vggish"
    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    default_windows: ClassVar[str] = LogMel.default_windows

    sr: int = LogMel.sr
    weights: str
    """URI of the file, which all executors can read."""
    sha256: str
    """Of that file."""

    @classmethod
    def of(cls, weights: str) -> Self:
        """The set with the weights of a file, which is read and checked."""
        return cls(weights=weights, sha256=vggish.read_weights(weights).sha256)

    @property
    def value_names(self) -> tuple[str, ...]:
        """The embedding's values by number."""
        return tuple(f"embedding_{at:03d}" for at in range(1, vggish.EMBEDDING + 1))

    def settings(self) -> dict[str, Any]:
        """What the values depend on: the weights, and not where they lie."""
        return {key: value for key, value in super().settings().items() if key != "weights"}

    def check_windows(self, window_s: float | None) -> None:
        """A patch, or the whole."""
        if window_s not in (None, self._patches.patch_s):
            raise UsageError(f"--features {self.name} takes --windows {self._patches.patch_s:g}, or whole")

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """Means over the patches of one signal."""
        patches = self._patches.rows(y, self._patches.patch_s)
        return np.asarray(np.mean([self._embedding(patch) for patch in patches], axis=0), np.float32)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The embedding of each patch, or the mean of all."""
        if window_s is None:
            return super().rows(y, window_s)
        patches = self._patches.rows(y, window_s)
        return [Window(patch.start_s, self._embedding(patch)) for patch in patches]

    def warm(self) -> None:
        """Loads the weights; one thread, since Spark runs a process for each core."""
        torch.set_num_threads(1)
        if (found := vggish.read_weights(self.weights).sha256) != self.sha256:
            raise UsageError(f"{self.weights}: expected sha256 {self.sha256[:12]}…, found {found[:12]}…")
        super().warm()

    @property
    def _patches(self) -> LogMel:
        return LogMel(sr=self.sr)

    def _embedding(self, patch: Window) -> npt.NDArray[np.float32]:
        of_one = torch.from_numpy(patch.values.reshape(self._patches.shape))
        return np.asarray(vggish.embeddings(vggish.read_weights(self.weights), of_one)[0].numpy(), np.float32)
