"""The 518 statistics as librosa and scipy give them: what `Fma518` must equal, and is timed against."""

from collections.abc import Mapping
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
from librosa import feature
from scipy import stats

Rows = dict[str, npt.NDArray[Any]]

SR, N_FFT, HOP = 22050, 2048, 512


def rows(y: npt.NDArray[np.float32], sr: int = SR) -> Rows:
    """Each feature as the dataset's script computes it, one STFT shared; the rate is given throughout."""
    transform = np.abs(librosa.cqt(y, sr=sr, hop_length=HOP, bins_per_octave=12, n_bins=7 * 12, tuning=None))
    cens = feature.chroma_cens(C=transform, sr=sr, hop_length=HOP, bins_per_octave=12)
    S = np.abs(librosa.stft(y, n_fft=N_FFT, hop_length=HOP))
    mel = feature.melspectrogram(S=S**2, sr=sr, n_fft=N_FFT, hop_length=HOP)
    return {
        "zcr": feature.zero_crossing_rate(y, frame_length=N_FFT, hop_length=HOP),
        "chroma_cqt": feature.chroma_cqt(C=transform, sr=sr, hop_length=HOP, bins_per_octave=12),
        "chroma_cens": cens,
        "tonnetz": feature.tonnetz(chroma=cens, sr=sr),
        "chroma_stft": feature.chroma_stft(S=S**2, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "rms": feature.rms(S=S, frame_length=N_FFT, hop_length=HOP),
        "spectral_centroid": feature.spectral_centroid(S=S, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_bandwidth": feature.spectral_bandwidth(S=S, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_contrast": feature.spectral_contrast(S=S, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_rolloff": feature.spectral_rolloff(S=S, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "mfcc": feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20),
    }


def rows_of_signal(y: npt.NDArray[np.float32], sr: int = SR) -> Rows:
    """Each feature by its own call on the signal, chroma with librosa's own 36 bins an octave."""
    return {
        "zcr": feature.zero_crossing_rate(y, frame_length=N_FFT, hop_length=HOP),
        "chroma_cqt": feature.chroma_cqt(y=y, sr=sr, hop_length=HOP),
        "chroma_cens": feature.chroma_cens(y=y, sr=sr, hop_length=HOP),
        "tonnetz": feature.tonnetz(y=y, sr=sr, hop_length=HOP),
        "chroma_stft": feature.chroma_stft(y=y, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "rms": feature.rms(y=y, frame_length=N_FFT, hop_length=HOP),
        "spectral_centroid": feature.spectral_centroid(y=y, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_bandwidth": feature.spectral_bandwidth(y=y, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_contrast": feature.spectral_contrast(y=y, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "spectral_rolloff": feature.spectral_rolloff(y=y, sr=sr, n_fft=N_FFT, hop_length=HOP),
        "mfcc": feature.mfcc(y=y, sr=sr, n_mfcc=20, n_fft=N_FFT, hop_length=HOP),
    }


def statistics(found: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The seven statistics of each row, by `<feature>_<statistic>`, as numpy and scipy give them."""
    return {
        f"{name}_{statistic}": value
        for name, x in found.items()
        for statistic, value in {
            "mean": np.mean(x, axis=1),
            "std": np.std(x, axis=1),
            "skew": stats.skew(x, axis=1),
            "kurtosis": stats.kurtosis(x, axis=1),
            "median": np.median(x, axis=1),
            "min": np.min(x, axis=1),
            "max": np.max(x, axis=1),
        }.items()
    }


def statistics_of_script(y: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """All statistics, the transforms shared."""
    return statistics(rows(y))


def statistics_of_signal(y: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """All statistics, nothing shared."""
    return statistics(rows_of_signal(y))
