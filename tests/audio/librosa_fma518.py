"""The 518 statistics by librosa and scipy: the reference for the values and the speed of `Fma518`."""

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
    """The features as in the script of the data set: they share one STFT, and all get the sample rate."""
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
    """The features by separate calls on the signal; chroma with librosa's default of 36 bins per octave."""
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


def statistics(features: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The seven statistics of each row by numpy and scipy; keys are `<feature>_<statistic>`."""
    return {
        f"{name}_{statistic}": value
        for name, x in features.items()
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
    """All statistics, with shared transforms."""
    return statistics(rows(y))


def statistics_of_signal(y: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """All statistics, without shared transforms."""
    return statistics(rows_of_signal(y))
