"""Published networks as features: music taggers (musicnn), and VGGish with weights from the user.

Shape suffixes: T frames, M mel bands, B patches.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch

from genremill.infra.errors import UsageError
from genremill.models.pretrained import music_taggers, vggish
from genremill.models.pretrained.music_taggers import EMBEDDINGS, FRAMES, MELS, TAGS, Tagger
from genremill.udfs.dsp.mel import mel_spectrogram
from genremill.udfs.dsp.spectra import Real, magnitudes
from genremill.udfs.feature_sets.base import LIBRARIES, WHOLE, FeatureSet, Signal, Window
from genremill.udfs.feature_sets.logmel import LogMel


@dataclass(frozen=True, kw_only=True)
class Pretrained(FeatureSet):
    """Values of a network for each patch of a signal, or means over the patches of each window."""

    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    patch_window_s: ClassVar[float]
    """The value of `--windows` for patches."""

    sr: int = 16_000

    def patch_rows(self, y: Signal) -> list[Window]:
        """The values of each patch."""
        raise NotImplementedError

    def values(self, y: Signal) -> Real:
        """Means over the patches of one signal."""
        return np.asarray(np.mean([patch.values for patch in self.patch_rows(y)], axis=0), np.float32)

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The values of each patch, or means over the patches of each window."""
        return self.patch_rows(y) if window_s == self.patch_window_s else super().rows(y, window_s)

    def warm(self) -> None:
        """Loads the network; it uses one thread, because Spark runs a process for each core."""
        torch.set_num_threads(1)
        super().warm()


@dataclass(frozen=True, kw_only=True)
class Musicnn(Pretrained):
    """The penultimate layer of `MSD_musicnn`, then the probabilities of its 50 tags.

    Patches have 187 frames. An incomplete last patch is dropped; a signal shorter than a patch is padded with
    silence.
    """

    name: ClassVar[str] = "musicnn"
    revision: ClassVar[int] = 1
    tagger: ClassVar[Tagger] = Tagger.MUSICNN
    patch_window_s: ClassVar[float] = 3.0  # for 2.992 s

    n_fft: int = 512
    hop_length: int = 256
    gain: int = 10_000
    """Factor of the powers, before the logarithm of 1 + power."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """The values of the layer by number, then the tags."""
        layer = "penultimate" if self.tagger is Tagger.MUSICNN else "pool5"
        tags = (tag.lower().replace(" ", "_").replace("-", "_") for tag in TAGS)
        numbers = range(1, EMBEDDINGS[self.tagger] + 1)
        return (*(f"{layer}_{number:03d}" for number in numbers), *(f"tag_{tag}" for tag in tags))

    def patch_rows(self, y: Signal) -> list[Window]:
        """The layer and the probabilities of each patch."""
        patch_s = FRAMES * self.hop_length / self.sr
        rows = []
        # One patch at a time: then the output of the widest layer of the network fits into the cache.
        for number, patch_BTM in enumerate(torch.split(torch.from_numpy(self.patches(y)), 1)):
            values = torch.cat(music_taggers.embeddings(self.tagger, patch_BTM), dim=1)
            rows.append(Window(number * patch_s, values[0].numpy()))
        return rows

    def patches(self, y: Signal) -> Real:
        """Log-mel patches like those that the taggers were trained on, shape (B, T, M)."""
        shortest = (FRAMES - 1) * self.hop_length
        padded = np.pad(y, (0, max(0, shortest - len(y))))
        P_TF = np.square(magnitudes(padded, n_fft=self.n_fft, hop_length=self.hop_length))
        mel_TM = mel_spectrogram(P_TF, sr=self.sr, n_mels=MELS)
        # The taggers were trained on powers in half precision.
        loud_TM = mel_TM.astype(np.float16).astype(np.float32) * np.float32(self.gain) + np.float32(1)
        count = len(loud_TM) // FRAMES
        return np.asarray(np.log10(loud_TM[: count * FRAMES]).reshape(count, FRAMES, MELS), np.float32)


@dataclass(frozen=True, kw_only=True)
class MusicnnVgg(Musicnn):
    """The last pooling layer of `MSD_vgg`, a convolutional network, then the probabilities of its 50 tags."""

    name: ClassVar[str] = "musicnn_vgg"
    revision: ClassVar[int] = 1
    tagger: ClassVar[Tagger] = Tagger.VGG


@dataclass(frozen=True, kw_only=True)
class Vggish(Pretrained):
    """The 128 values of VGGish's embedding before its activation: of each `logmel` patch, or their mean.

    The published post-processing (whitening, rounding to bytes) is not applied.
    """

    name: ClassVar[str] = "vggish"
    revision: ClassVar[int] = 1
    default_windows: ClassVar[str] = LogMel.default_windows
    patch_window_s: ClassVar[float] = float(LogMel.default_windows)

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

    def warm(self) -> None:
        """Also checks that the file is the one whose digest is in the settings."""
        if (found := vggish.read_weights(self.weights).sha256) != self.sha256:
            raise UsageError(f"{self.weights}: expected sha256 {self.sha256[:12]}…, found {found[:12]}…")
        super().warm()

    def patch_rows(self, y: Signal) -> list[Window]:
        """The embedding of each patch."""
        patches, weights = LogMel(sr=self.sr), vggish.read_weights(self.weights)
        rows = []
        for patch in patches.rows(y, patches.patch_s):
            batch = torch.from_numpy(patch.values.reshape(patches.shape))
            rows.append(Window(patch.start_s, vggish.embeddings(weights, batch)[0].numpy()))
        return rows
