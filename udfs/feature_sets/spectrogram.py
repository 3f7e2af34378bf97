"""Spectrograms of ten kinds as images of one size: the inputs of the image networks.

Shape suffixes: T frames, F bins of the spectrum, M mel bands, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.constant_q import constant_q
from genremill.udfs.dsp.mel import mel_spectrogram, mfcc
from genremill.udfs.dsp.onsets import onset_strength
from genremill.udfs.dsp.pitch import chroma, chroma_cqt, estimate_tuning, tonnetz
from genremill.udfs.dsp.rhythm import tempogram
from genremill.udfs.dsp.spectra import Real, power_to_db
from genremill.udfs.feature_sets.base import FeatureSet, Signal
from genremill.udfs.feature_sets.registry import SpectrogramKind

Rows = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Spectrogram(FeatureSet):
    """One kind of spectrogram as an image with one channel, resized to (1, height, width), not normalized.

    All images have the same width, whatever their duration. To keep the scale of time, use windows of one
    length (`--windows 3`) or clips of one length.
    """

    revision: ClassVar[int] = 1

    kind: SpectrogramKind
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

    def values(self, y: Signal) -> Real:
        """The image of one signal, line by line."""
        return resized(self.image(y), self.height, self.width).ravel()

    def image(self, y: Signal) -> Rows:
        """The spectrogram before resizing, shape (rows, frames)."""
        images: dict[SpectrogramKind, Callable[[], Rows]] = {
            SpectrogramKind.DB: lambda: _relative_db(self._power(y)).T,
            SpectrogramKind.POWER_DB: lambda: power_to_db(self._power(y)).T,
            SpectrogramKind.PHASE: lambda: (
                np.angle(spectra.stft(y, n_fft=self.n_fft, hop_length=self.hop_length)).T
            ),
            SpectrogramKind.CHROMA: lambda: self._chroma(self._power(y)).T,
            SpectrogramKind.CHROMA_CQT: lambda: chroma_cqt(self._constant_q(y)),
            SpectrogramKind.MFCC: lambda: mfcc(self._log_mel(y)).T,
            SpectrogramKind.MEL: lambda: self._log_mel(y).T,
            SpectrogramKind.CQT: lambda: _relative_db(np.square(self._constant_q(y))),
            SpectrogramKind.TEMPOGRAM: lambda: tempogram(self._onsets(y)).T,
            SpectrogramKind.TONNETZ: lambda: tonnetz(chroma_cqt(self._constant_q(y))),
        }
        return images[self.kind]()

    def _power(self, y: Signal) -> Real:
        return np.square(spectra.magnitudes(y, n_fft=self.n_fft, hop_length=self.hop_length))

    def _chroma(self, P_TF: Real) -> Real:
        return chroma(P_TF, sr=self.sr, tuning=estimate_tuning(P_TF, sr=self.sr))

    def _log_mel(self, y: Signal) -> Real:
        return power_to_db(mel_spectrogram(self._power(y), sr=self.sr))

    def _onsets(self, y: Signal) -> Real:
        return onset_strength(self._log_mel(y), n_fft=self.n_fft, hop_length=self.hop_length)

    def _constant_q(self, y: Signal) -> Real:
        return constant_q(y, sr=self.sr, hop_length=self.hop_length)


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
    return np.asarray(tall @ _triangles(frames, width).T, np.float32)


@lru_cache(maxsize=64)
def _triangles(old: int, new: int) -> Real:
    """Weights of the `old` points in each `new` point, shape (new, old); each row adds up to 1."""
    scale = old / new
    centers = (np.arange(new) + 0.5) * scale
    distances = np.abs(np.subtract.outer(centers, np.arange(old) + 0.5))
    weights = np.maximum(0.0, 1.0 - distances / max(scale, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
