"""The panels of a track's picture: waveform, mel spectrogram, chromagram and tempogram.

Shape suffixes: F frequency bins, T frames, M mel bands, C pitch classes, L lags of the tempogram, P tempi.
"""

from dataclasses import dataclass

import librosa
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Signal = npt.NDArray[np.float32]

SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM = 128, 384
"""The autocorrelation window is half of the audio, but within these numbers of frames; 384 is librosa's
default."""
LOWEST_TEMPO, HIGHEST_TEMPO = 40, 240
"""Beats per minute."""


@dataclass(frozen=True)
class PanelSettings:
    """How the audio is analyzed."""

    sr: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    top_db: float = 80.0
    """Whatever is this many dB below the maximum is drawn as silence."""
    tempi: int = 160
    """Rows of the tempogram, equally spaced in log tempo from `LOWEST_TEMPO` to `HIGHEST_TEMPO`."""


@dataclass(frozen=True)
class Panels:
    """The data that is drawn for a signal."""

    y: Signal
    mel_MT: Floats
    """Power in dB relative to the maximum."""
    chroma_CT: Floats
    """Energy of each pitch class, relative to the maximum of its frame."""
    tempogram_PT: Floats
    """Autocorrelation of the onset strength at each tempo, relative to the maximum over all lags."""
    tempo: float
    """Beats per minute, as librosa estimates it; 0 without onsets."""


def analyze(y: Signal, settings: PanelSettings) -> Panels:
    """The panels of a mono signal at `settings.sr`, from one STFT."""
    sr, n_fft, hop_length = settings.sr, settings.n_fft, settings.hop_length
    power_FT = np.abs(librosa.stft(y, n_fft=n_fft, hop_length=hop_length)) ** 2
    mel_power_MT = librosa.feature.melspectrogram(
        S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length, n_mels=settings.n_mels
    )
    mel_MT = librosa.power_to_db(mel_power_MT, ref=np.max, top_db=settings.top_db)
    chroma_CT = librosa.feature.chroma_stft(S=power_FT, sr=sr, n_fft=n_fft, hop_length=hop_length)
    # The same onsets as in librosa's beat tracker, so that the tempo equals the tempo feature.
    onsets_T = librosa.onset.onset_strength(
        S=mel_MT, sr=sr, n_fft=n_fft, hop_length=hop_length, aggregate=np.median
    )
    tempogram_LT = librosa.feature.tempogram(
        onset_envelope=onsets_T,
        sr=sr,
        hop_length=hop_length,
        win_length=int(np.clip(len(onsets_T) // 2, SHORTEST_TEMPOGRAM, LONGEST_TEMPOGRAM)),
    )
    tempo = librosa.feature.tempo(onset_envelope=onsets_T, sr=sr, hop_length=hop_length)[0]
    tempogram_PT = by_tempo(tempogram_LT, tempi(settings), settings)
    return Panels(y, mel_MT, chroma_CT, tempogram_PT, float(tempo) if onsets_T.any() else 0.0)


def tempi(settings: PanelSettings) -> Floats:
    """The tempo of each row of the tempogram in beats per minute, increasing, shape (P,)."""
    return np.geomspace(LOWEST_TEMPO, HIGHEST_TEMPO, settings.tempi)


def by_tempo(tempogram_LT: Floats, tempi_P: Floats, settings: PanelSettings) -> Floats:
    """Converts a tempogram by lag in frames to one by tempo, shape (P, T), by linear interpolation.

    >>> by_lag = np.arange(100.0)[:, None]
    >>> settings = PanelSettings(sr=1000, hop_length=10)
    >>> by_tempo(by_lag, np.array([60.0, 80.0, 120.0]), settings).ravel().tolist()
    [99.0, 75.0, 50.0]
    """
    lags_P = np.minimum(60 * settings.sr / (settings.hop_length * tempi_P), len(tempogram_LT) - 1)
    below_P = np.minimum(lags_P.astype(int), len(tempogram_LT) - 2)
    share_P1 = (lags_P - below_P)[:, None]
    mixed_PT: Floats = (1 - share_P1) * tempogram_LT[below_P] + share_P1 * tempogram_LT[below_P + 1]
    return mixed_PT
