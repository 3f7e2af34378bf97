"""The 57 values by librosa; each function is called on the signal."""

from collections.abc import Callable
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt

from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57

Series = npt.NDArray[np.floating]


def librosa_series(settings: Gtzan57) -> dict[str, Callable[[Signal], Series]]:
    """The series that are averaged: two rows for HPSS, twenty for MFCC, one for the others."""
    frame: dict[str, Any] = {"n_fft": settings.n_fft, "hop_length": settings.hop_length}
    length: dict[str, Any] = {"frame_length": settings.n_fft, "hop_length": settings.hop_length}
    sr, feature = settings.sr, librosa.feature
    return {
        "chroma_stft": lambda y: feature.chroma_stft(y=y, sr=sr, **frame).reshape(1, -1),
        "rms": lambda y: feature.rms(y=y, **length),
        "spectral_centroid": lambda y: feature.spectral_centroid(y=y, sr=sr, **frame),
        "spectral_bandwidth": lambda y: feature.spectral_bandwidth(y=y, sr=sr, **frame),
        "rolloff": lambda y: feature.spectral_rolloff(y=y, sr=sr, **frame),
        "zero_crossing_rate": lambda y: feature.zero_crossing_rate(y, **length),
        "hpss": lambda y: np.stack(librosa.effects.hpss(y, **frame)),
        "mfcc": lambda y: feature.mfcc(y=y, sr=sr, n_mfcc=settings.n_mfcc, **frame),
    }


def librosa_tempo(y: Signal, settings: Gtzan57) -> float:
    """The tempo of librosa's beat tracker, which returns a float or an array of one value."""
    tempo, _ = librosa.beat.beat_track(y=y, sr=settings.sr, hop_length=settings.hop_length)
    return float(np.ravel(tempo)[0])


def librosa_tuning(y: Signal, settings: Gtzan57) -> float:
    """The tuning that `chroma_stft` uses: that of the power spectrum."""
    P = np.abs(librosa.stft(y, n_fft=settings.n_fft, hop_length=settings.hop_length)) ** 2
    return float(librosa.estimate_tuning(S=P, sr=settings.sr))


def librosa_values(y: Signal, settings: Gtzan57) -> npt.NDArray[np.float64]:
    """The 57 values in the order of the table."""
    rows = {name: series(y) for name, series in librosa_series(settings).items()}
    statistics = {name: [[row.mean(), row.var()] for row in of_name] for name, of_name in rows.items()}
    mfcc = statistics.pop("mfcc")
    before = np.concatenate([np.ravel(values) for values in statistics.values()])
    return np.concatenate([before, [librosa_tempo(y, settings)], np.ravel(mfcc)])
