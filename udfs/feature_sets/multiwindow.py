"""Six statistics of many features at several window sizes: an input of the networks of report C."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.infra.errors import UsageError
from genremill.udfs.dsp import spectra, waveform
from genremill.udfs.dsp.chroma import chroma, chroma_cens, chroma_cqt, tonnetz
from genremill.udfs.dsp.constant_q import ConstantQ, constant_q
from genremill.udfs.dsp.contrast import spectral_contrast
from genremill.udfs.dsp.mel import mel_filters, mfcc
from genremill.udfs.dsp.moments import moments
from genremill.udfs.dsp.spectral_shape import spectral_shape
from genremill.udfs.dsp.tempogram import onset_strength, tempogram_ratio
from genremill.udfs.dsp.tuning import estimate_tuning
from genremill.udfs.feature_sets.base import FeatureSet, Signal

ROWS = {
    "mfcc": 20,
    "chroma_stft": 12,
    "chroma_cens": 12,
    "spectral_centroid": 1,
    "spectral_bandwidth": 1,
    "spectral_rolloff": 1,
    "spectral_contrast": 7,
    "zcr": 1,
    "tonnetz": 6,
    "tempogram_ratio": 13,
}
STATISTICS = ("min", "max", "mean", "var", "skew", "kurtosis")
FLOORS = {"mfcc": 1e-3, "spectral_contrast": 1e-3, "tonnetz": 1e-6, "tempogram_ratio": 1e-6}
"""Standard deviation, in the unit of the feature, up to which a row counts as constant."""
TUNING_WINDOW = 2048
SMALLEST_WINDOW = 256
"""In samples: the seven octaves of the constant-Q transform halve the hop six times."""


@dataclass(frozen=True, kw_only=True)
class Multiwindow(FeatureSet):
    """Statistics of 74 rows of features at each window size.

    A window size is the `n_fft` of spectra and the frame length of zero crossings; the hop is a quarter of
    it. CENS and tonnetz have no window, but use the same hops; they come from a transform with 12 bins per
    octave. The tempogram ratios come from the mel spectrogram of the window size. Names are
    `<feature>_<row>_<statistic>_<window>`, rows from 01 on. A constant row has skewness and kurtosis 0.
    """

    name: ClassVar[str] = "multiwindow"
    revision: ClassVar[int] = 1

    windows: tuple[int, ...] = (512, 1024, 2048, 4096, 8192)
    """Powers of two, in samples."""

    def __post_init__(self) -> None:
        if any(window < SMALLEST_WINDOW or window & (window - 1) for window in self.windows):
            raise UsageError(f"windows {self.windows}: expected powers of two, at least {SMALLEST_WINDOW}")

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names by window, then feature, then row, then statistic."""
        return tuple(
            f"{feature}_{row:02d}_{statistic}_{window}"
            for window in self.windows
            for feature, rows in ROWS.items()
            for row in range(1, rows + 1)
            for statistic in STATISTICS
        )

    def values(self, y: Signal) -> npt.NDArray[np.float32]:
        """The statistics of one signal, shape (444 * windows,)."""
        finest = min(self.windows)
        transform = self._transform(y, finest // 4)
        statistics = []
        for window in self.windows:
            features = dict(self._features(y, window, transform[:, :: window // finest]))
            statistics += [_statistics(features[name], FLOORS.get(name, 0.0)) for name in ROWS]
        return np.concatenate(statistics)

    def _transform(self, y: Signal, hop_length: int) -> spectra.Real:
        """The constant-Q transform at the smallest hop; the larger hops use every second, fourth, … frame."""
        S_TF = spectra.magnitudes(y, n_fft=TUNING_WINDOW, hop_length=TUNING_WINDOW // 4)
        settings = ConstantQ(sr=self.sr, hop_length=hop_length)
        return constant_q(y, settings, tuning=estimate_tuning(S_TF, sr=self.sr))

    def _features(
        self, y: Signal, window: int, transform: spectra.Real
    ) -> Iterator[tuple[str, npt.NDArray[np.floating]]]:
        """Each feature at one window size, shape (rows, frames)."""
        sr, hop_length = self.sr, window // 4
        yield "zcr", waveform.zero_crossing_rate(y, frame_length=window, hop_length=hop_length)[np.newaxis]
        yield "chroma_cens", chroma_cens(transform)
        yield "tonnetz", tonnetz(chroma_cqt(transform))
        S_TF = spectra.magnitudes(y, n_fft=window, hop_length=hop_length)
        centroid, bandwidth, rolloff = spectral_shape(S_TF, sr=sr)
        yield "spectral_centroid", centroid[np.newaxis]
        yield "spectral_bandwidth", bandwidth[np.newaxis]
        yield "spectral_rolloff", rolloff[np.newaxis]
        yield "spectral_contrast", spectral_contrast(S_TF, sr=sr)
        P_TF = np.square(S_TF)
        yield "chroma_stft", chroma(P_TF, sr=sr, tuning=estimate_tuning(P_TF, sr=sr)).T
        # Rounded like librosa: the tempogram of a steady sound only shows the rounding errors of these sums.
        mel_MT = np.einsum("ft,mf->mt", P_TF.T, mel_filters(sr, window), optimize=True)
        log_mel_MT = spectra.power_to_db(mel_MT)
        yield "mfcc", mfcc(log_mel_MT.T, n_mfcc=20).T
        onsets = onset_strength(log_mel_MT, n_fft=window, hop_length=hop_length)
        yield "tempogram_ratio", tempogram_ratio(onsets, sr=sr, hop_length=hop_length)


def _statistics(rows: npt.NDArray[np.floating], floor: float) -> npt.NDArray[np.float32]:
    """The six statistics of each row, row by row, shape (6 * rows,)."""
    m = moments(rows, floor=floor)
    by_row = np.stack([m.min, m.max, m.mean, m.var, m.skew, m.kurtosis], axis=1)
    return by_row.ravel().astype(np.float32)
