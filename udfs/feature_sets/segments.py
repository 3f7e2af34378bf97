"""Timbre and pitch classes of the segments of a signal, which are cut at its onsets.

A step has the values of a segment in Spotify's audio analysis (Jehan, Creating Music by Listening, 2005): 12
coefficients of timbre, then 12 pitch classes from C on, relative to the strongest of the segment. Spotify's
basis for timbre is a principal component analysis that was never published. This module uses a fixed basis in
the same order of importance: products of a cosine over the mel bands and a cosine over the time of the
segment. Principal components of such smooth surfaces are close to these (Ahmed, Natarajan and Rao, Discrete
Cosine Transform, 1974). So coefficients of audio can be compared with each other, but not with Spotify's.
Shape suffixes: T frames, M mel bands, S segments, B cosines over the bands, C pitch classes, E coefficients.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from genremill.udfs.dsp import spectra
from genremill.udfs.dsp.mel import mel_spectrogram
from genremill.udfs.dsp.onsets import Frames, apart, onset_frames, onset_strength
from genremill.udfs.dsp.pitch import chroma_filters, estimate_tuning
from genremill.udfs.dsp.spectra import Double, Real
from genremill.udfs.feature_sets.base import FeatureSet, Signal

TIMBRE = (
    ("loudness", 0, 0),
    ("brightness", 1, 0),
    ("ends_over_middle", 2, 0),
    ("attack", 0, 1),
    ("ripple_3", 3, 0),
    ("brightness_attack", 1, 1),
    ("ripple_4", 4, 0),
    ("ends_over_middle_attack", 2, 1),
    ("ripple_5", 5, 0),
    ("swell", 0, 2),
    ("ripple_6", 6, 0),
    ("brightness_swell", 1, 2),
)
"""Name of each coefficient, and its half waves over the mel bands and over the time of the segment."""
PITCHES = ("c", "c_sharp", "d", "d_sharp", "e", "f", "f_sharp", "g", "g_sharp", "a", "a_sharp", "b")
CHANNELS = (*(f"timbre_{name}" for name, *_ in TIMBRE), *(f"pitch_{name}" for name in PITCHES))
FLOOR_DB = -80.0
"""Lowest level, relative to a sine at full scale; weaker levels are raised to it."""


@dataclass(frozen=True, kw_only=True)
class Segments(FeatureSet):
    """Timbre and pitch classes of the first segments of a signal, shape (steps, 24).

    The set also accepts a Spotify audio analysis in JSON in place of audio. It then uses the first segments
    of the analysis, whatever part of the audio the job asks for.
    """

    name: ClassVar[str] = "segments"
    revision: ClassVar[int] = 1
    reads_analyses: ClassVar[bool] = True
    value_names: ClassVar[tuple[str, ...]] = CHANNELS

    steps: int = 512
    n_fft: int = 2048
    hop_length: int = 512
    n_mels: int = 128
    shortest_s: float = 0.06
    """Shortest segment; an onset that follows another one sooner is ignored."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(steps, 24)."""
        return (self.steps, len(self.value_names))

    def values(self, y: Signal) -> Real:
        """The steps of one signal, flat; those after its last segment are zeros."""
        P_TF = np.square(spectra.magnitudes(y, n_fft=self.n_fft, hop_length=self.hop_length))
        mel_TM = mel_spectrogram(P_TF, sr=self.sr, n_mels=self.n_mels)
        starts_S = self.starts(mel_TM)
        filters_CF = chroma_filters(self.sr, self.n_fft, tuning=estimate_tuning(P_TF, sr=self.sr))
        # Above the floor, from 0 to 80 dB at full scale.
        full_TM = np.maximum(mel_TM * _full_scale(self.sr, self.n_fft, self.n_mels), 10 ** (FLOOR_DB / 10))
        timbre_SE = timbre(np.maximum(10 * np.log10(full_TM) - FLOOR_DB, 0), starts_S).astype(np.float32)
        steps = np.concatenate([timbre_SE, pitches(P_TF @ filters_CF.T, starts_S)], axis=1)
        return self.padded(steps[: self.steps])

    def starts(self, mel_TM: Real) -> Frames:
        """First frame of each segment; the first segment starts at 0."""
        log_mel_TM = spectra.power_to_db(mel_TM)
        strength_T = onset_strength(log_mel_TM, n_fft=self.n_fft, hop_length=self.hop_length)
        onsets = onset_frames(strength_T, sr=self.sr, hop_length=self.hop_length, wait_s=self.shortest_s)
        return apart(np.concatenate(([0], onsets)), int(self.shortest_s * self.sr // self.hop_length))


def timbre(db_TM: Real, starts_S: Frames) -> Double:
    """The coefficients of each segment in dB, shape (S, 12).

    Each is the mean over the frames and bands of the segment of the level times a product of two cosines with
    mean square 1. So the coefficient without half waves is the mean level.
    """
    lengths_S = np.diff(starts_S, append=len(db_TM))
    bands_TB = db_TM @ _cosines(db_TM.shape[1])
    within_T = np.arange(len(db_TM)) - np.repeat(starts_S, lengths_S)
    share_T = (within_T + 0.5) / np.repeat(lengths_S, lengths_S)
    timbre_SE = np.empty((len(starts_S), len(TIMBRE)))
    for index, (_, over_bands, over_time) in enumerate(TIMBRE):
        wave_T = np.sqrt(2) * np.cos(np.pi * over_time * share_T) if over_time else 1.0
        timbre_SE[:, index] = np.add.reduceat(bands_TB[:, over_bands] * wave_T, starts_S) / lengths_S
    return timbre_SE


@lru_cache
def _full_scale(sr: int, n_fft: int, n_mels: int) -> Real:
    """Factors that make powers in mel bands relative to a sine at full scale, shape (M,)."""
    import librosa  # here: the import is slow, and --help does not need it

    edges = librosa.mel_frequencies(n_mels + 2, fmin=0.0, fmax=sr / 2)
    # From filters of equal area to filters of equal height, and from sums of squares to the power of a sine.
    full_scale = n_fft * np.square(spectra.hann(n_fft)).sum() / 4
    return np.asarray((edges[2:] - edges[:-2]) / 2 / full_scale, np.float32)


@lru_cache
def _cosines(bands: int) -> Double:
    """Cosines of 0 to 6 half waves over the mel bands, shape (M, B).

    Their mean square is 1, before they are divided by the number of bands. The cosine of one half wave rises,
    so that bright sounds have positive coefficients.
    """
    waves = np.arange(1 + max(over_bands for _, over_bands, _ in TIMBRE))
    cosines = np.cos(np.pi * np.multiply.outer((np.arange(bands) + 0.5) / bands, waves))
    cosines[:, 1:] *= np.sqrt(2)
    cosines[:, 1] *= -1
    return cosines / bands


def pitches(chroma_TC: Real, starts_S: Frames) -> Real:
    """Power of each pitch class in a segment, relative to the strongest, shape (S, 12); 1 for silence."""
    sums_SC = np.add.reduceat(chroma_TC, starts_S, axis=0)
    strongest_S1 = sums_SC.max(axis=1, keepdims=True)
    return np.where(strongest_S1 < spectra.TINY, 1.0, sums_SC / np.maximum(strongest_S1, spectra.TINY))
