"""Six statistics of many features at several window sizes: an input of the networks of report C."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.infra.errors import UsageError
from genremill.udfs.dsp import spectra, waveform
from genremill.udfs.dsp.constant_q import constant_q
from genremill.udfs.dsp.mel import mel_bands, mfcc
from genremill.udfs.dsp.moments import moments
from genremill.udfs.dsp.onsets import onset_strength
from genremill.udfs.dsp.pitch import chroma, chroma_cens, chroma_cqt, estimate_tuning, tonnetz
from genremill.udfs.dsp.rhythm import tempogram_ratio
from genremill.udfs.dsp.spectral_shape import spectral_rows
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
SMALLEST_WINDOW = 256
"""In samples: the seven octaves of the constant-Q transform halve the hop six times."""


@dataclass(frozen=True, kw_only=True)
class Multiwindow(FeatureSet):
    """Statistics of 74 rows of features at each window size, shape (444 * windows,).

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

    def values(self, y: Signal) -> spectra.Real:
        """The statistics of one signal."""
        finest = min(self.windows)
        # At the smallest hop; the larger hops use every second, fourth, … frame.
        transform = constant_q(y, sr=self.sr, hop_length=finest // 4)
        statistics = []
        for window in self.windows:
            features = self._features(y, window, transform[:, :: window // finest])
            for name in ROWS:
                of_rows = moments(features[name], floor=FLOORS.get(name, 0.0))
                statistics.append(np.stack([of_rows[statistic] for statistic in STATISTICS], axis=1).ravel())
        return np.concatenate(statistics).astype(np.float32)

    def _features(
        self, y: Signal, window: int, transform: spectra.Real
    ) -> dict[str, npt.NDArray[np.floating]]:
        """The features at one window size, each of shape (rows, frames)."""
        sr, hop_length = self.sr, window // 4
        S_TF = spectra.magnitudes(y, n_fft=window, hop_length=hop_length)
        P_TF = np.square(S_TF)
        # Rounded like librosa: the tempogram of a steady sound only shows the rounding errors of these sums.
        filters_MF, *_ = mel_bands(sr, window)
        mel_MT = np.einsum("ft,mf->mt", P_TF.T, filters_MF, optimize=True)
        log_mel_TM = spectra.power_to_db(mel_MT).T
        onsets = onset_strength(log_mel_TM, n_fft=window, hop_length=hop_length)
        zcr = waveform.zero_crossing_rate(y, frame_length=window, hop_length=hop_length)
        return {
            **spectral_rows(S_TF, sr=sr),
            "zcr": zcr[np.newaxis],
            "chroma_cens": chroma_cens(transform),
            "tonnetz": tonnetz(chroma_cqt(transform)),
            "chroma_stft": chroma(P_TF, sr=sr, tuning=estimate_tuning(P_TF, sr=sr)).T,
            "mfcc": mfcc(log_mel_TM).T,
            "tempogram_ratio": tempogram_ratio(onsets, sr=sr, hop_length=hop_length),
        }
