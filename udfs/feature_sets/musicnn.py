"""What two published music taggers hear: the layer under their tags, and the tags' probabilities.

Shape suffixes: T frames, M mel bands, B patches.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from genremill.models.pretrained import music_taggers
from genremill.models.pretrained.music_taggers import EMBEDDINGS, FRAMES, MELS, TAGS, Tagger
from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.spectra import Real
from genremill.udfs.feature_sets.base import LIBRARIES, FeatureSet, Signal, Window

PATCH_S = 3.0
"""Of a patch's name, `--windows 3`; its 187 frames are 2.992 s."""
PATCHES_AT_ONCE = 1
"""In one call of the network: what its widest layer gives for one stays near the core."""


@dataclass(frozen=True, kw_only=True)
class Musicnn(FeatureSet):
    """The penultimate layer of `MSD_musicnn`, then the probabilities of its 50 tags.

    Of each patch of 187 frames, side by side, with `--windows 3`; else means over a window's patches. What
    does not fill a patch is left out; a signal shorter than one is followed by silence.
    """

    name: ClassVar[str] = "musicnn"
    revision: ClassVar[int] = 1
    libraries: ClassVar[tuple[str, ...]] = (*LIBRARIES, "torch")
    tagger: ClassVar[Tagger] = Tagger.MUSICNN

    sr: int = 16_000
    n_fft: int = 512
    hop_length: int = 256
    gain: int = 10_000
    """Of powers, before 1 is added and the logarithm taken."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """The layer's values by number, then the tags."""
        layer = "penultimate" if self.tagger is Tagger.MUSICNN else "pool5"
        tags = (tag.lower().replace(" ", "_").replace("-", "_") for tag in TAGS)
        numbers = range(1, EMBEDDINGS[self.tagger] + 1)
        return (*(f"{layer}_{at:03d}" for at in numbers), *(f"tag_{tag}" for tag in tags))

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """Means over the patches of one signal."""
        mean: Real = self.of_patches(y).mean(axis=0)
        return mean

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The values of each patch, or means over the patches of each window."""
        if window_s != PATCH_S:
            return super().rows(y, window_s)
        patch_s = FRAMES * self.hop_length / self.sr
        return [Window(at * patch_s, values) for at, values in enumerate(self.of_patches(y))]

    def of_patches(self, y: Signal) -> Real:
        """The values of each patch, shape (B, values)."""
        patches_BTM = torch.from_numpy(self.patches(y))
        found = [
            torch.cat(music_taggers.embeddings(self.tagger, part_BTM), dim=1)
            for part_BTM in torch.split(patches_BTM, PATCHES_AT_ONCE)
        ]
        return np.asarray(torch.cat(found).numpy(), np.float32)

    def patches(self, y: Signal) -> Real:
        """Log-mel patches as the taggers were trained on, shape (B, T, M)."""
        shortest = (FRAMES - 1) * self.hop_length
        padded = np.pad(y, (0, max(0, shortest - len(y))))
        P_TF = spectra.power(
            spectra.magnitude(spectra.stft(padded, n_fft=self.n_fft, hop_length=self.hop_length))
        )
        mel_TM = spectra.mel_spectrogram(P_TF, sr=self.sr, n_mels=MELS)
        # The taggers have seen powers of half precision.
        loud_TM = mel_TM.astype(np.float16).astype(np.float32) * np.float32(self.gain) + np.float32(1)
        count = len(loud_TM) // FRAMES
        patches_BTM: Real = np.log10(loud_TM[: count * FRAMES]).reshape(count, FRAMES, MELS)
        return patches_BTM

    def warm(self) -> None:
        """Loads network and weights; one thread each, since Spark runs a process for each core."""
        torch.set_num_threads(1)
        super().warm()


@dataclass(frozen=True, kw_only=True)
class MusicnnVgg(Musicnn):
    """The last pool of `MSD_vgg`, a plain convolutional network, then the probabilities of its 50 tags."""

    name: ClassVar[str] = "musicnn_vgg"
    revision: ClassVar[int] = 1
    tagger: ClassVar[Tagger] = Tagger.VGG
