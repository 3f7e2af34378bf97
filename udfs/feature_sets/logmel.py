"""Log-mel patches, the input of VGGish: 96 frames of 10 ms by 64 mel bands, one patch per 0.96 s.

Hershey et al., CNN Architectures for Large-Scale Audio Classification (2017). The values are equal to those
of the input code that was published with the weights of the network.
Shape suffixes: T frames, F bins of the spectrum, M mel bands.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from genremill.infra.errors import UsageError
from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.mel import Bands, bands_of
from genremill.udfs.dsp.mel_frames import N_FFT, mel_magnitudes
from genremill.udfs.dsp.spectra import Double, Real
from genremill.udfs.feature_sets.base import FeatureSet, Signal, Window


@dataclass(frozen=True, kw_only=True)
class LogMel(FeatureSet):
    """Patches of log(mel + 0.01), shape (1, frames, mel bands), of a signal at 16 kHz.

    Frames are 25 ms long and not centered, so a patch covers 0.975 s. Patches start every 0.96 s: 30 s have
    31 patches. An incomplete last patch is dropped; a signal shorter than a patch is padded with silence.
    """

    name: ClassVar[str] = "logmel"
    revision: ClassVar[int] = 1
    default_windows: ClassVar[str] = "0.975"
    value_names: ClassVar[tuple[str, ...]] = ("log_mel",)

    sr: int = 16_000
    frame_length: int = 400
    hop_length: int = 160
    frames: int = 96
    """Frames per patch."""
    n_mels: int = 64
    fmin: float = 125.0
    fmax: float = 7500.0
    offset: float = 0.01
    """Added to the magnitude of a band before the logarithm."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, frames, mel bands)."""
        return (1, self.frames, self.n_mels)

    @property
    def patch_s(self) -> float:
        """Seconds that the frames of a patch cover."""
        return ((self.frames - 1) * self.hop_length + self.frame_length) / self.sr

    def check_windows(self, window_s: float | None) -> None:
        """Only accepts the length of a patch, because the patches are the windows."""
        if window_s != self.patch_s:
            raise UsageError(
                f"--features {self.name}: expected --windows {self.patch_s:g}, the length of its patches"
            )

    def values(self, y: Signal) -> Real:
        """The first patch of a signal."""
        return self.rows(y[: round(self.patch_s * self.sr)], self.patch_s)[0].values

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The patches of a signal."""
        shortest = round(self.patch_s * self.sr)
        log_mel_TM = self.log_mel(np.pad(y, (0, max(0, shortest - len(y)))))
        count, step_s = len(log_mel_TM) // self.frames, self.frames * self.hop_length / self.sr
        patches = log_mel_TM[: count * self.frames].reshape(count, -1)
        return [Window(number * step_s, patch) for number, patch in enumerate(patches)]

    def log_mel(self, y: Signal) -> Real:
        """Logarithm of the magnitude in each mel band, shape (T, M); the signal has at least 16 frames."""
        window = spectra.hann(self.frame_length).astype(np.float32)
        bands = mel_weights(self.sr, self.n_mels, self.fmin, self.fmax)
        mel_TM = mel_magnitudes(y, self.hop_length, window, *bands)
        mel_TM += np.float32(self.offset)
        return np.log(mel_TM, out=mel_TM)


@lru_cache
def mel_weights(sr: int, n_mels: int, fmin: float, fmax: float) -> Bands:
    """Triangular filters on the mel scale, not normalized; no filter includes 0 Hz."""
    bins_F = _mels(spectra.fft_frequencies(sr, N_FFT))
    edges_M1 = np.linspace(_mels(np.array(fmin)), _mels(np.array(fmax)), n_mels + 2)[:, np.newaxis]
    lower, center, upper = edges_M1[:-2], edges_M1[1:-1], edges_M1[2:]
    rising, falling = (bins_F - lower) / (center - lower), (upper - bins_F) / (upper - center)
    weights_MF = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    weights_MF[:, 0] = 0.0
    return bands_of(weights_MF)


def _mels(hz: Double) -> Double:
    return np.asarray(1127.0 * np.log(1.0 + hz / 700.0), np.float64)
