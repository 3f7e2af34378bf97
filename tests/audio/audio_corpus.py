"""Signals on which the feature sets must equal librosa: synthetic ones, and real clips if there are any."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tests.conftest import DATA

Signal = npt.NDArray[np.float32]

SR = 22050
FRAME = 2048


@dataclass(frozen=True)
class Source:
    """The samples of a file, shape (n, channels)."""

    samples: npt.NDArray[np.float32]
    sr: int


def tone(seconds: float, sr: int = SR, *, hz: float = 440.0, level: float = 0.5) -> Signal:
    y: Signal = (level * np.sin(2 * np.pi * hz * _times(seconds, sr))).astype(np.float32)
    return y


def chord(seconds: float, sr: int = SR, *, root: float = 220.0) -> Signal:
    """A minor seventh chord of harmonics that decay, struck twice per second."""
    t = _times(seconds, sr)
    decay = np.exp(-3 * (t % 0.5))
    partials = [
        np.sin(2 * np.pi * root * 2 ** (step / 12) * k * t) / k for step in (0, 3, 7, 10) for k in range(1, 7)
    ]
    y: Signal = (0.08 * decay * np.sum(partials, axis=0)).astype(np.float32)
    return y


def drums(seconds: float, sr: int = SR, *, bpm: float = 126.0) -> Signal:
    """A low drum on each beat, and a burst of noise between beats."""
    t, rng = _times(seconds, sr), np.random.default_rng(3)
    period = 60 / bpm
    kick = np.exp(-18 * (t % period)) * np.sin(2 * np.pi * 55 * (t % period))
    snare = np.exp(-40 * ((t + period / 2) % period)) * rng.standard_normal(len(t))
    return (0.6 * kick + 0.15 * snare).astype(np.float32)


def clicks(seconds: float, sr: int = SR, *, bpm: float = 100.0) -> Signal:
    y = np.zeros(round(seconds * sr), np.float32)
    y[:: round(sr * 60 / bpm)] = 1.0
    return y


def sweep(seconds: float, sr: int = SR, *, low: float = 40.0, high: float = 10_000.0) -> Signal:
    t = _times(seconds, sr)
    rate = float(np.log(high / low)) / seconds
    return (0.5 * np.sin(2 * np.pi * low * np.expm1(rate * t) / rate)).astype(np.float32)


def noise(seconds: float, sr: int = SR, *, level: float = 0.1) -> Signal:
    return (level * np.random.default_rng(5).standard_normal(round(seconds * sr))).astype(np.float32)


def song(seconds: float, sr: int = SR) -> Signal:
    """Drums, a chord and a little noise together, detuned by 30 cents."""
    detuned = chord(seconds, sr, root=220 * 2 ** (0.3 / 12))
    return detuned + np.float32(0.5) * drums(seconds, sr) + noise(seconds, sr, level=0.003)


def half_silent(seconds: float, sr: int = SR) -> Signal:
    """A song with exact zeros in the first and the last quarter."""
    y = song(seconds, sr)
    y[: len(y) // 4] = 0
    y[-len(y) // 4 :] = 0
    return y


def one_over_a_frame(_seconds: float, sr: int = SR) -> Signal:
    return song(1.0, sr)[: FRAME + 1]


SYNTHETIC: dict[str, Callable[[float], Signal]] = {
    "tone": tone,
    "high tone": lambda seconds: tone(seconds, hz=7040.5),
    "chord": chord,
    "drums": drums,
    "clicks": clicks,
    "sweep": sweep,
    "noise": noise,
    "song": song,
    "half silent": half_silent,
    "silence": lambda seconds: np.zeros(round(seconds * SR), np.float32),
    "song at 1e-4": lambda seconds: np.float32(1e-4) * song(seconds),
    "noise at 1e-6": lambda seconds: noise(seconds, level=1e-6),
    "dc": lambda seconds: np.full(round(seconds * SR), 0.25, np.float32),
    "song on dc": lambda seconds: song(seconds) + np.float32(0.25),
    "clipped": lambda seconds: np.clip(6 * song(seconds), -1, 1),
    "one over a frame": one_over_a_frame,
}
"""Mono signals at `SR`."""


def sources(seconds: float) -> dict[str, Source]:
    """Songs as in files: at 22.05 and 44.1 kHz, mono and stereo."""
    songs = {}
    for sr in (SR, 2 * SR):
        left, right = song(seconds, sr), drums(seconds, sr, bpm=93) + chord(seconds, sr, root=330)
        songs[f"mono {sr} Hz"] = Source(left[:, np.newaxis], sr)
        songs[f"stereo {sr} Hz"] = Source(np.stack([left, right], axis=1), sr)
    return songs


def mono(source: Source, sr: int = SR) -> Signal:
    """The mean of the channels of a source, resampled by soxr (HQ), as in the extractor."""
    y = source.samples.mean(axis=1, dtype=np.float32)
    resampled: Signal = y if source.sr == sr else soxr.resample(y, source.sr, sr, quality="HQ")
    return resampled


def real_paths() -> list[Path]:
    """Real recordings (MP3 and Ogg Vorbis) in the test data, sorted by name."""
    return sorted(path for path in (DATA / "audio").glob("*/*") if path.suffix in (".mp3", ".ogg"))


def real_clip(path: Path, seconds: float, *, offset: float = 5.0) -> Signal:
    """Mono signal of a recording at `SR`, from `offset` seconds on."""
    with soundfile.SoundFile(path) as audio:
        audio.seek(min(round(offset * audio.samplerate), audio.frames // 2))
        samples = audio.read(round(seconds * audio.samplerate), dtype="float32", always_2d=True)
        return mono(Source(samples, audio.samplerate))


def corpus(seconds: float, *, real: int | None = None) -> dict[str, Signal]:
    """All signals by name, mono at `SR`, with at most `real` real recordings."""
    signals = {name: make(seconds) for name, make in SYNTHETIC.items()}
    signals |= {name: mono(source) for name, source in sources(seconds).items()}
    return signals | {path.stem[:24]: real_clip(path, seconds) for path in real_paths()[:real]}


def _times(seconds: float, sr: int) -> npt.NDArray[np.float64]:
    return np.arange(round(seconds * sr)) / sr
