"""Spectrograms of ten kinds as pictures of one size (report C's inputs).

Shape suffixes: T frames, F bins of the spectrum, M mel bands, H height, W width.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp import constant_q, pitch, spectra
from genremill.udfs.dsp.constant_q import ConstantQ
from genremill.udfs.dsp.spectra import Real
from genremill.udfs.dsp.tempogram import onset_strength, tempogram
from genremill.udfs.feature_sets.base import FeatureSet, Signal

Rows = npt.NDArray[np.floating]
TUNING_WINDOW = 2048
"""Of the spectrum that the constant-Q transform's tuning is read off, as librosa has it."""


class Kind(enum.StrEnum):
    """What a picture shows over time; a row's first line is the lowest frequency, class or lag."""

    DB = "db"  # magnitudes in dB under the picture's largest, down to -80
    POWER_DB = "power_db"  # powers in dB, down to 80 under the largest
    PHASE = "phase"  # of the spectrum, in radians
    CHROMA = "chroma"  # 12 pitch classes of the spectrum, the frame's largest 1
    CHROMA_CQT = "chroma_cqt"  # the same of the constant-Q transform
    MFCC = "mfcc"  # 20 coefficients
    MEL = "mel"  # 128 mel bands in dB
    CQT = "cqt"  # 84 bins of the constant-Q transform in dB under the largest, down to -80
    TEMPOGRAM = "tempogram"  # autocorrelation of onsets up to 384 frames
    TONNETZ = "tonnetz"  # 6 coordinates of the constant-Q chroma


@dataclass(frozen=True, kw_only=True)
class Spectrogram(FeatureSet):
    """One kind of spectrogram, grey, resized to (1, height, width); values as they are, not normalised.

    A picture is as wide as what it shows is long: windows of one length (`--windows 3`), or clips of one
    length, keep its scale of time.
    """

    revision: ClassVar[int] = 1

    kind: Kind
    n_fft: int = 1024
    hop_length: int = 512
    height: int = 64
    width: int = 64

    @property
    def name(self) -> str:
        """`spectrogram:` and the kind."""
        return f"spectrogram:{self.kind}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, height, width)."""
        return (1, self.height, self.width)

    @property
    def value_names(self) -> tuple[str, ...]:
        """The one channel, named by its kind."""
        return (self.kind.value,)

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The picture of one signal, line by line."""
        return resized(self.picture(y), self.height, self.width).ravel()

    def picture(self, y: Signal) -> Rows:
        """The spectrogram before it is resized, shape (rows, frames)."""
        kinds: dict[Kind, Callable[[Signal], Rows]] = {
            Kind.DB: lambda y: _under_largest(self._power(y)).T,
            Kind.POWER_DB: lambda y: spectra.power_to_db(self._power(y)).T,
            Kind.PHASE: lambda y: np.angle(self._spectrum(y)).T,
            Kind.CHROMA: self._chroma,
            Kind.CHROMA_CQT: lambda y: constant_q.chroma_cqt(self._constant_q(y)),
            Kind.MFCC: lambda y: spectra.mfcc(self._log_mel(y)).T,
            Kind.MEL: lambda y: self._log_mel(y).T,
            Kind.CQT: lambda y: _under_largest(np.square(self._constant_q(y))),
            Kind.TEMPOGRAM: self._tempogram,
            Kind.TONNETZ: lambda y: constant_q.tonnetz(constant_q.chroma_cqt(self._constant_q(y))),
        }
        return kinds[self.kind](y)

    def _spectrum(self, y: Signal) -> spectra.Complex:
        return spectra.stft(y, n_fft=self.n_fft, hop_length=self.hop_length)

    def _power(self, y: Signal) -> Real:
        return spectra.power(spectra.magnitude(self._spectrum(y)))

    def _chroma(self, y: Signal) -> Rows:
        P_TF = self._power(y)
        return pitch.chroma(P_TF, sr=self.sr, tuning=pitch.estimate_tuning(P_TF, sr=self.sr)).T

    def _log_mel(self, y: Signal) -> Real:
        return spectra.power_to_db(spectra.mel_spectrogram(self._power(y), sr=self.sr))

    def _tempogram(self, y: Signal) -> Rows:
        onsets = onset_strength(self._log_mel(y).T, n_fft=self.n_fft, hop_length=self.hop_length)
        return tempogram(onsets).T

    def _constant_q(self, y: Signal) -> Real:
        S_TF = spectra.magnitude(spectra.stft(y, n_fft=TUNING_WINDOW, hop_length=TUNING_WINDOW // 4))
        settings = ConstantQ(sr=self.sr, hop_length=self.hop_length)
        return constant_q.constant_q(y, settings, tuning=pitch.estimate_tuning(S_TF, sr=self.sr))


def _under_largest(P: Real) -> Real:
    """Decibels of powers under the largest, from -80 to 0."""
    db = spectra.power_to_db(P)
    db -= db.max()
    return db


def resized(picture: Rows, height: int, width: int) -> Real:
    """A picture at another size, shape (H, W).

    Linear between neighbours where it grows; weighted means, by triangles, where it shrinks, so that no frame
    is passed over (Pillow's BILINEAR).
    """
    rows, frames = picture.shape
    tall = _triangles(rows, height) @ np.asarray(picture, np.float32)
    small: Real = tall @ _triangles(frames, width).T
    return small


@lru_cache(maxsize=64)
def _triangles(old: int, new: int) -> Real:
    """What each of `new` points takes of `old` ones, shape (new, old); rows add up to 1."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    away = np.abs(np.subtract.outer(centres, np.arange(old) + 0.5))
    weights = np.maximum(0.0, 1.0 - away / max(scale, 1.0))
    shares: Real = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
