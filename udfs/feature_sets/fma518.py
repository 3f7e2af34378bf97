"""The 518 statistics of the Free Music Archive's dataset."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genremill.udfs.dsp import spectra, waveform
from genremill.udfs.dsp.constant_q import constant_q
from genremill.udfs.dsp.mel import mel_spectrogram, mfcc
from genremill.udfs.dsp.moments import median, moments
from genremill.udfs.dsp.pitch import chroma, chroma_cens, chroma_cqt, estimate_tuning, tonnetz
from genremill.udfs.dsp.spectral_shape import spectral_rows
from genremill.udfs.feature_sets.base import FeatureSet, Signal

Features = dict[str, npt.NDArray[np.floating]]

N_FFT, HOP_LENGTH = 2048, 512
ROWS = {
    "chroma_cens": 12,
    "chroma_cqt": 12,
    "chroma_stft": 12,
    "mfcc": 20,
    "rms": 1,
    "spectral_bandwidth": 1,
    "spectral_centroid": 1,
    "spectral_contrast": 7,
    "spectral_rolloff": 1,
    "tonnetz": 6,
    "zcr": 1,
}
STATISTICS = ("kurtosis", "max", "mean", "median", "min", "skew", "std")
FLOORS = {"mfcc": 1e-3, "spectral_contrast": 1e-3, "tonnetz": 1e-6}
"""Standard deviation, in the unit of the feature, up to which a row counts as constant. These features are
small differences of larger numbers, and below this limit they only show rounding errors."""


@dataclass(frozen=True, kw_only=True)
class Fma518(FeatureSet):
    """Seven statistics of 74 rows of features over the frames of a clip, shape (518,).

    The features and statistics of Defferrard et al., FMA: A Dataset For Music Analysis (2017), as the script
    of the dataset computes them, with two exceptions: all features use the real sample rate, and a constant
    row has skewness and kurtosis 0, not NaN. Names are `<feature>_<statistic>_<row>`, rows from 01 on, in the
    column order of the dataset's `features.csv` (its `rmse` is called `rms` here).
    """

    name: ClassVar[str] = "fma518"
    revision: ClassVar[int] = 1
    value_names: ClassVar[tuple[str, ...]] = tuple(
        f"{feature}_{statistic}_{row:02d}"
        for feature, rows in ROWS.items()
        for statistic in STATISTICS
        for row in range(1, rows + 1)
    )

    def values(self, y: Signal) -> spectra.Real:
        """The statistics of one signal."""
        sr = self.sr
        zcr = waveform.zero_crossing_rate(y, frame_length=N_FFT, hop_length=HOP_LENGTH)
        S_TF = spectra.magnitudes(y, n_fft=N_FFT, hop_length=HOP_LENGTH)
        by_spectrum: Features = {"zcr": zcr[np.newaxis], "rms": _rms(S_TF)[np.newaxis]}
        by_spectrum |= spectral_rows(S_TF, sr=sr)
        # The tuning of the transform is estimated from magnitudes, that of the chroma filters from powers.
        transform = constant_q(y, sr=sr, hop_length=HOP_LENGTH, tuning=estimate_tuning(S_TF, sr=sr))
        cens = chroma_cens(transform)
        # At some rates the constant-Q transform has one frame more than the spectrum.
        tables = _statistics(
            {"chroma_cqt": chroma_cqt(transform), "chroma_cens": cens, "tonnetz": tonnetz(cens)}
        )
        # In place: otherwise each clip would get another array of this size from the system.
        P_TF = np.square(S_TF, out=S_TF)
        by_spectrum["chroma_stft"] = chroma(P_TF, sr=sr, tuning=estimate_tuning(P_TF, sr=sr)).T
        by_spectrum["mfcc"] = mfcc(spectra.power_to_db(mel_spectrogram(P_TF, sr=sr))).T
        tables |= _statistics(by_spectrum)
        return np.concatenate([tables[name].ravel() for name in ROWS]).astype(np.float32)


def _rms(S_TF: spectra.Real) -> spectra.Real:
    """Root mean square of each windowed frame, shape (T,), by Parseval's theorem."""
    ends = np.square(S_TF[:, 0]) + np.square(S_TF[:, -1])
    level: spectra.Real = np.sqrt(2 * np.einsum("tf,tf->t", S_TF, S_TF) - ends) / np.float32(N_FFT)
    return level


def _statistics(features: Features) -> Features:
    """The statistics of the rows of each feature, shape (7, rows); all features have equally many frames."""
    rows = np.concatenate(list(features.values()))
    counts = [len(feature) for feature in features.values()]
    statistics = moments(rows, floor=np.repeat([FLOORS.get(name, 0.0) for name in features], counts))
    statistics["median"] = median(rows)
    table = np.stack([statistics[statistic] for statistic in STATISTICS])
    return dict(zip(features, np.split(table, np.cumsum(counts)[:-1], axis=1), strict=True))
