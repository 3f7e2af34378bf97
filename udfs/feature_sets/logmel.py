"""Log-mel patches as VGGish takes them: 96 frames of 10 ms by 64 mel bands, a patch each 0.96 s.

Hershey et al., CNN Architectures for Large-Scale Audio Classification (2017); the numbers are those of the
input code that was published with the network's weights.
Shape suffixes: T frames, F bins of the spectrum, M mel bands.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.infra.errors import UsageError
from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.mel_frames import N_FFT, ORDER, TURNS, Indices, mel_magnitudes
from genremill.udfs.dsp.spectra import Double, Real
from genremill.udfs.feature_sets.base import FeatureSet, Signal, Window

BREAK_HZ, MELS_A_LOG = 700.0, 1127.0
"""Of the mel scale: 1127 ln(1 + f / 700)."""


@dataclass(frozen=True, kw_only=True)
class LogMel(FeatureSet):
    """Patches of log(mel + 0.01), shape (1, frames, mel bands), of a signal at 16 kHz.

    Frames are 25 ms long and lie within the signal, so that a patch is of 0.975 s; it begins 0.96 s after
    the one before: 31 patches of 30 s. What does not fill a patch is left out; a signal shorter than one is
    followed by silence.
    """

    name: ClassVar[str] = "logmel"
    revision: ClassVar[int] = 1
    default_windows: ClassVar[str] = "0.975"

    sr: int = 16_000
    frame_length: int = 400
    hop_length: int = 160
    frames: int = 96
    """Of a patch."""
    n_mels: int = 64
    fmin: float = 125.0
    fmax: float = 7500.0
    offset: float = 0.01
    """Added to a band's magnitude before the logarithm."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, frames, mel bands)."""
        return (1, self.frames, self.n_mels)

    @property
    def value_names(self) -> tuple[str, ...]:
        """The one channel."""
        return ("log_mel",)

    @property
    def patch_s(self) -> float:
        """Seconds that the frames of a patch reach over."""
        return ((self.frames - 1) * self.hop_length + self.frame_length) / self.sr

    def check_windows(self, window_s: float | None) -> None:
        """The patches are the windows."""
        if window_s != self.patch_s:
            raise UsageError(f"--features {self.name} takes --windows {self.patch_s:g}: its patches")

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The first patch of a signal."""
        return self.rows(y[: round(self.patch_s * self.sr)], self.patch_s)[0].values

    def rows(self, y: Signal, window_s: float | None) -> list[Window]:
        """The patches of a signal."""
        shortest = round(self.patch_s * self.sr)
        log_mel_TM = self.log_mel(np.pad(y, (0, max(0, shortest - len(y)))))
        patch_s = self.frames * self.hop_length / self.sr
        starts = range(0, len(log_mel_TM) - self.frames + 1, self.frames)
        return [
            Window(at * patch_s, log_mel_TM[start : start + self.frames].ravel())
            for at, start in enumerate(starts)
        ]

    def log_mel(self, y: Signal) -> Real:
        """Logarithm of the magnitude in each mel band, shape (T, M), of a signal of at least 16 frames."""
        window = spectra.hann(self.frame_length).astype(np.float32)
        scale = (self.sr, self.n_mels, self.fmin, self.fmax)
        weights_MF = mel_weights(*scale)
        mel_TM = mel_magnitudes(y, self.hop_length, window, TURNS, ORDER, weights_MF, *_bands(*scale))
        mel_TM += np.float32(self.offset)
        log_mel_TM: Real = np.log(mel_TM, out=mel_TM)
        return log_mel_TM


@lru_cache
def mel_weights(sr: int, n_mels: int, fmin: float, fmax: float) -> Real:
    """Triangles on the mel scale, not normalised, shape (M, F); 0 Hz belongs to none."""
    bins_F = _mels(spectra.fft_frequencies(sr, N_FFT))
    edges_M1 = np.linspace(_mels(np.array(fmin)), _mels(np.array(fmax)), n_mels + 2)[:, np.newaxis]
    lower, centre, upper = edges_M1[:-2], edges_M1[1:-1], edges_M1[2:]
    rising, falling = (bins_F - lower) / (centre - lower), (upper - bins_F) / (upper - centre)
    weights_MF: Real = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    weights_MF[:, 0] = 0.0
    return weights_MF


@lru_cache
def _bands(sr: int, n_mels: int, fmin: float, fmax: float) -> tuple[Indices, Indices]:
    return spectra.mel_bands(mel_weights(sr, n_mels, fmin, fmax))


def _mels(hz: Double) -> Double:
    mels: Double = MELS_A_LOG * np.log(1.0 + hz / BREAK_HZ)
    return mels
