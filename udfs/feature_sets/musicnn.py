"""Two published music taggers as features: the layer before their tags, and the probabilities of the tags.

Shape suffixes: T frames, M mel bands, B patches.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from genremill.models.pretrained import music_taggers
from genremill.models.pretrained.music_taggers import EMBEDDINGS, FRAMES, MELS, TAGS, Tagger
from genremill.udfs.dsp.mel import mel_spectrogram
from genremill.udfs.dsp.spectra import Real, magnitudes
from genremill.udfs.feature_sets.base import LIBRARIES, FeatureSet, Signal, Window

PATCH_S = 3.0
"""The value of `--windows` for patches; their 187 frames are 2.992 s."""
PATCHES_AT_ONCE = 1
"""Patches in one call of the network: the output of its widest layer for one patch fits into the cache."""


@dataclass(frozen=True, kw_only=True)
class Musicnn(FeatureSet):
    """The penultimate layer of `MSD_musicnn`, then the probabilities of its 50 tags.

    With `--windows 3`, of each patch of 187 frames; with other windows, means over the patches of a window.
    An incomplete last patch is dropped; a signal shorter than a patch is padded with silence.
    """

    name: ClassVar[str] = "musicnn"
    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    tagger: ClassVar[Tagger] = Tagger.MUSICNN

    sr: int = 16_000
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

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """Means over the patches of one signal."""
        mean: Real = self.patch_values(y).mean(axis=0)
        return mean

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The values of each patch, or means over the patches of each window."""
        if window_s != PATCH_S:
            return super().rows(y, window_s)
        patch_s = FRAMES * self.hop_length / self.sr
        return [Window(number * patch_s, values) for number, values in enumerate(self.patch_values(y))]

    def patch_values(self, y: Signal) -> Real:
        """The values of each patch, shape (B, values)."""
        patches_BTM = torch.from_numpy(self.patches(y))
        values = [
            torch.cat(music_taggers.embeddings(self.tagger, part_BTM), dim=1)
            for part_BTM in torch.split(patches_BTM, PATCHES_AT_ONCE)
        ]
        return np.asarray(torch.cat(values).numpy(), np.float32)

    def patches(self, y: Signal) -> Real:
        """Log-mel patches like those that the taggers were trained on, shape (B, T, M)."""
        shortest = (FRAMES - 1) * self.hop_length
        padded = np.pad(y, (0, max(0, shortest - len(y))))
        P_TF = np.square(magnitudes(padded, n_fft=self.n_fft, hop_length=self.hop_length))
        mel_TM = mel_spectrogram(P_TF, sr=self.sr, n_mels=MELS)
        # The taggers were trained on powers in half precision.
        loud_TM = mel_TM.astype(np.float16).astype(np.float32) * np.float32(self.gain) + np.float32(1)
        count = len(loud_TM) // FRAMES
        patches_BTM: Real = np.log10(loud_TM[: count * FRAMES]).reshape(count, FRAMES, MELS)
        return patches_BTM

    def warm(self) -> None:
        """Loads the network; it uses one thread, because Spark runs a process for each core."""
        torch.set_num_threads(1)
        super().warm()


@dataclass(frozen=True, kw_only=True)
class MusicnnVgg(Musicnn):
    """The last pooling layer of `MSD_vgg`, a convolutional network, then the probabilities of its 50 tags."""

    name: ClassVar[str] = "musicnn_vgg"
    revision: ClassVar[int] = 1
    tagger: ClassVar[Tagger] = Tagger.VGG
