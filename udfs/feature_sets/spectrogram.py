"""Spectrograms of ten kinds as images of one size: the inputs of the image networks of report C.

Shape suffixes: T frames, F bins of the spectrum, M mel bands, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.chroma import chroma, chroma_cqt, tonnetz
from genremill.udfs.dsp.constant_q import ConstantQ, constant_q
from genremill.udfs.dsp.mel import mel_spectrogram, mfcc
from genremill.udfs.dsp.spectra import Real, power_to_db
from genremill.udfs.dsp.tempogram import onset_strength, tempogram
from genremill.udfs.dsp.tuning import estimate_tuning
from genremill.udfs.feature_sets.base import FeatureSet, Signal
from genremill.udfs.feature_sets.spectrogram_kind import Kind

Rows = npt.NDArray[np.floating]
TUNING_WINDOW = 2048
"""Window of the spectrum for the tuning of the constant-Q transform, as in librosa."""


@dataclass(frozen=True, kw_only=True)
class Spectrogram(FeatureSet):
    """One kind of spectrogram as an image with one channel, resized to (1, height, width), not normalized.

    All images have the same width, whatever their duration. To keep the scale of time, use windows of one
    length (`--windows 3`) or clips of one length.
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
        """The one channel, named after the kind."""
        return (self.kind.value,)

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The image of one signal, line by line."""
        return resized(self.image(y), self.height, self.width).ravel()

    def image(self, y: Signal) -> Rows:
        """The spectrogram before resizing, shape (rows, frames)."""
        kinds: dict[Kind, Callable[[Signal], Rows]] = {
            Kind.DB: lambda y: _relative_db(self._power(y)).T,
            Kind.POWER_DB: lambda y: power_to_db(self._power(y)).T,
            Kind.PHASE: lambda y: np.angle(spectra.stft(y, n_fft=self.n_fft, hop_length=self.hop_length)).T,
            Kind.CHROMA: self._chroma,
            Kind.CHROMA_CQT: lambda y: chroma_cqt(self._constant_q(y)),
            Kind.MFCC: lambda y: mfcc(self._log_mel(y)).T,
            Kind.MEL: lambda y: self._log_mel(y).T,
            Kind.CQT: lambda y: _relative_db(np.square(self._constant_q(y))),
            Kind.TEMPOGRAM: self._tempogram,
            Kind.TONNETZ: lambda y: tonnetz(chroma_cqt(self._constant_q(y))),
        }
        return kinds[self.kind](y)

    def _power(self, y: Signal) -> Real:
        return np.square(spectra.magnitudes(y, n_fft=self.n_fft, hop_length=self.hop_length))

    def _chroma(self, y: Signal) -> Rows:
        P_TF = self._power(y)
        return chroma(P_TF, sr=self.sr, tuning=estimate_tuning(P_TF, sr=self.sr)).T

    def _log_mel(self, y: Signal) -> Real:
        return power_to_db(mel_spectrogram(self._power(y), sr=self.sr))

    def _tempogram(self, y: Signal) -> Rows:
        onsets = onset_strength(self._log_mel(y).T, n_fft=self.n_fft, hop_length=self.hop_length)
        return tempogram(onsets).T

    def _constant_q(self, y: Signal) -> Real:
        S_TF = spectra.magnitudes(y, n_fft=TUNING_WINDOW, hop_length=TUNING_WINDOW // 4)
        settings = ConstantQ(sr=self.sr, hop_length=self.hop_length)
        return constant_q(y, settings, tuning=estimate_tuning(S_TF, sr=self.sr))


def _relative_db(P: Real) -> Real:
    """Decibels of powers relative to the largest, from -80 to 0."""
    db = power_to_db(P)
    db -= db.max()
    return db


def resized(image: Rows, height: int, width: int) -> Real:
    """An image at another size, shape (H, W).

    It grows by linear interpolation, and shrinks by weighted means over triangles, so that every frame counts
    (BILINEAR in Pillow).
    """
    rows, frames = image.shape
    tall = _triangles(rows, height) @ np.asarray(image, np.float32)
    small: Real = tall @ _triangles(frames, width).T
    return small


@lru_cache(maxsize=64)
def _triangles(old: int, new: int) -> Real:
    """Weights of the `old` points in each `new` point, shape (new, old); each row adds up to 1."""
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale
    distances = np.abs(np.subtract.outer(centers, np.arange(old) + 0.5))
    weights = np.maximum(0.0, 1.0 - distances / max(scale, 1.0))
    shares: Real = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
