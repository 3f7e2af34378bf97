"""Data augmentation: changed versions of a signal (slower, higher, noisier) as additional train rows.

Random numbers depend only on a seed, so the same audio always gives the same row.
Shape suffixes: T frames, F bins of the spectrum, N samples of a frame.
"""

import enum
import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from genremill.udfs.dsp import spectra
from genremill.udfs.feature_sets.base import Signal

REVISION = 1
"""Increases when the code makes a different variant of the same audio."""
FASTEST = 1.25
"""Speed of the fastest variant. Jobs read this much more audio, so that all variants are equally long."""
STRETCH = (0.8, FASTEST)
"""Lowest and highest speed of a stretched signal; also the speeds of the slowed and nightcore variants."""
SEMITONES = 3.0
"""Largest shift of the pitch, up or down."""
NOISE_DB = (10.0, 30.0)
"""Range of the signal-to-noise ratio of the noisy variant."""
N_FFT, HOP_LENGTH = 2048, 512


class Variant(enum.StrEnum):
    """How a signal is changed, as in the two reports that train on changed audio."""

    STRETCH = "stretch"  # slower or faster, at the same pitch
    PITCH = "pitch"  # lower or higher, at the same tempo
    NOISE = "noise"  # with white noise
    SLOWED = "slowed"  # slower and lower
    NIGHTCORE = "nightcore"  # faster and higher


@dataclass(frozen=True)
class Augmentation:
    """A variant, and the length of a changed signal."""

    variant: Variant
    seconds: float

    def applied(self, y: Signal, sr: int, seed: str) -> Signal:
        """The signal in this variant; `seed` identifies the audio."""
        digest = hashlib.sha256(f"{self.variant}\n{seed}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        return varied(y, sr, self.variant, rng)[: round(self.seconds * sr)]


def varied(y: Signal, sr: int, variant: Variant, rng: np.random.Generator) -> Signal:
    """A signal in one variant, in [-1, 1]; `rng` draws how strong the change is."""
    if variant is Variant.STRETCH:
        changed = stretched(y, float(np.exp(rng.uniform(*np.log(STRETCH)))))
    elif variant is Variant.PITCH:
        changed = shifted(y, sr, float(rng.uniform(-SEMITONES, SEMITONES)))
    elif variant is Variant.NOISE:
        changed = noisy(y, float(rng.uniform(*NOISE_DB)), rng)
    else:
        changed = faster(y, sr, STRETCH[0] if variant is Variant.SLOWED else STRETCH[1])
    return np.asarray(np.clip(changed, -1, 1), np.float32)


def faster(y: Signal, sr: int, speed: float) -> Signal:
    """A signal played at another speed, which changes its pitch too; shape (n / speed,)."""
    return np.asarray(soxr.resample(y, sr * speed, sr, quality="HQ"), np.float32)


def noisy(y: Signal, under_db: float, rng: np.random.Generator) -> Signal:
    """A signal with white noise that is `under_db` decibels weaker than the signal."""
    level = np.sqrt(np.mean(np.square(y, dtype=np.float64))) * 10 ** (-under_db / 20)
    return y + np.asarray(level * rng.standard_normal(len(y)), np.float32)


def shifted(y: Signal, sr: int, semitones: float) -> Signal:
    """A signal with another pitch and the same length; as `librosa.effects.pitch_shift`."""
    ratio = 2.0 ** (semitones / 12)
    higher = faster(stretched(y, 1 / ratio), sr, ratio)[: len(y)]
    return np.pad(higher, (0, len(y) - len(higher)))


def stretched(y: Signal, rate: float) -> Signal:
    """A signal at another speed and the same pitch; as `librosa.effects.time_stretch`.

    A phase vocoder (Flanagan and Golden, Phase Vocoder, 1966): it interpolates the magnitudes between two
    frames of the spectrum, and advances the phase of each bin as much as between these frames.
    """
    D_TF = spectra.stft(y, n_fft=N_FFT, hop_length=HOP_LENGTH)
    steps = np.arange(0, len(D_TF), rate)
    before, share_T1 = steps.astype(int), (steps % 1)[:, np.newaxis]
    padded_TF = np.pad(D_TF, ((0, 2), (0, 0)))
    level_TF, phase_TF = np.abs(padded_TF), np.angle(padded_TF).astype(np.float64)
    expected_F = 2 * np.pi * HOP_LENGTH * np.arange(D_TF.shape[1]) / N_FFT
    more_TF = np.diff(phase_TF, axis=0) - expected_F
    advance_TF = expected_F + more_TF - 2 * np.pi * np.round(more_TF / (2 * np.pi))
    phases_TF = phase_TF[0] + np.cumsum(advance_TF[before], axis=0) - advance_TF[before]
    levels_TF = (1 - share_T1) * level_TF[before] + share_T1 * level_TF[before + 1]
    return _inverse(levels_TF * np.exp(1j * phases_TF), round(len(y) / rate))


def _inverse(D_TF: npt.NDArray[np.complex128], length: int) -> Signal:
    """The signal of a centered spectrum, by overlapping and adding frames; shape (length,)."""
    window = spectra.hann(N_FFT)
    frames_TN = np.fft.irfft(D_TF, N_FFT) * window
    samples = np.zeros((2, N_FFT + HOP_LENGTH * max(len(frames_TN), -(-length // HOP_LENGTH))))
    for t, frame in enumerate(frames_TN):
        here = samples[:, t * HOP_LENGTH : t * HOP_LENGTH + N_FFT]
        here += (frame, np.square(window))
    total, weight = samples[:, N_FFT // 2 : N_FFT // 2 + length]
    return np.asarray(total / np.where(weight > spectra.TINY, weight, 1), np.float32)
