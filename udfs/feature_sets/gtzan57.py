"""The 57 values of the GTZAN feature table, `features_30_sec.csv`, equal to librosa's."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp import rhythm, spectra, waveform
from genremill.udfs.dsp.hpss import hpss
from genremill.udfs.dsp.mel import mel_spectrogram, mfcc
from genremill.udfs.dsp.onsets import onset_strength
from genremill.udfs.dsp.pitch import chroma, estimate_tuning
from genremill.udfs.dsp.spectral_shape import spectral_shape
from genremill.udfs.feature_sets.base import FeatureSet, Signal

SERIES = (
    *("chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth"),
    *("rolloff", "zero_crossing_rate", "harmony", "perceptr"),
)
"""The series whose mean and variance come before the tempo, named as in the table."""


@dataclass(frozen=True, kw_only=True)
class Gtzan57(FeatureSet):
    """Mean and variance of eight series and of the MFCCs, and the tempo, shape (57,).

    The series of frames are chroma (all pitch classes together), RMS, spectral centroid, bandwidth and
    rolloff in Hz, zero crossings per sample, and MFCCs. The series of samples are the harmonic and the
    percussive part of the signal. All use the same STFT.
    """

    name: ClassVar[str] = "gtzan57"
    revision: ClassVar[int] = 1

    n_fft: int = 2048
    """Samples of a frame."""
    hop_length: int = 512
    """Samples from one frame to the next."""
    n_mels: int = 128
    n_mfcc: int = 20
    n_chroma: int = 12
    roll_percent: float = 0.85
    """Share of the magnitude of a frame below its rolloff."""

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the 57 values, as in the header of the table."""
        coefficients = [f"mfcc{number}" for number in range(1, self.n_mfcc + 1)]
        before, after = (
            [f"{series}_{statistic}" for series in names for statistic in ("mean", "var")]
            for names in (SERIES, coefficients)
        )
        return (*before, "tempo", *after)

    def values(self, y: Signal) -> Signal:
        """The features of one signal."""
        D_TF = spectra.stft(y, n_fft=self.n_fft, hop_length=self.hop_length)
        S_TF = np.abs(D_TF)
        P_TF = np.square(S_TF)
        log_mel_TM = spectra.power_to_db(mel_spectrogram(P_TF, sr=self.sr, n_mels=self.n_mels))
        onsets = onset_strength(log_mel_TM, n_fft=self.n_fft, hop_length=self.hop_length, by_median=True)
        series = (
            chroma(P_TF, sr=self.sr, tuning=estimate_tuning(P_TF, sr=self.sr), n_chroma=self.n_chroma),
            waveform.rms(y, frame_length=self.n_fft, hop_length=self.hop_length),
            *spectral_shape(S_TF, sr=self.sr, roll_percent=self.roll_percent),
            waveform.zero_crossing_rate(y, frame_length=self.n_fft, hop_length=self.hop_length),
            *hpss(y, D_TF, S_TF, hop_length=self.hop_length),
        )
        tempo = rhythm.tempo(onsets, sr=self.sr, hop_length=self.hop_length)
        coefficients = mfcc(log_mel_TM, n_mfcc=self.n_mfcc).T
        return np.array([*_statistics(series), tempo, *_statistics(coefficients)], np.float32)


def _statistics(series: Iterable[npt.NDArray[np.floating]]) -> list[float]:
    """Mean and variance of each series, one after the other."""
    flat = (np.asarray(values, np.float32).ravel() for values in series)
    return [statistic for values in flat for statistic in _mean_and_variance(values)]


@kernel("(float32[::1],)", fastmath={"contract", "nsz", "reassoc"})
def _mean_and_variance(x: Signal) -> tuple[float, float]:
    """Mean and variance, in double precision."""
    total, squares = 0.0, 0.0
    for n in range(len(x)):
        total += x[n]
    mean = total / len(x)
    for n in range(len(x)):
        squares += (x[n] - mean) ** 2
    return mean, squares / len(x)


@dataclass(frozen=True, kw_only=True)
class Windows57(FeatureSet):
    """`gtzan57` of each window of a clip, a sequence of shape (steps, 57).

    An incomplete last window counts if it has at least half of its length, so a clip slightly shorter than 30
    s has ten steps. Audio after the last step is ignored; a shorter clip has fewer steps.
    """

    name: ClassVar[str] = "windows57"
    revision: ClassVar[int] = 1

    steps: int = 10
    window_s: float = 3.0
    """Length of a step in seconds."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(steps, 57)."""
        return (self.steps, len(self.value_names))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the channels, as in the GTZAN feature table."""
        return Gtzan57().value_names

    def values(self, y: Signal) -> Signal:
        """The steps of one signal, flat; the steps after its end are zeros."""
        length = round(self.window_s * self.sr)
        parts = [y[step * length : (step + 1) * length] for step in range(self.steps)]
        used = [part for step, part in enumerate(parts) if step == 0 or len(part) >= length / 2]
        return self.padded(np.stack([Gtzan57(sr=self.sr).values(part) for part in used]))
