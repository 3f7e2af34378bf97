"""Short audio clips for the demo catalog: a few bars in the style of the genre of a track.

A genre has a tempo, a scale, a brightness, and shares of chords, bass, drums and noise. Tracks vary them.
"""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile as sf

from genremill.infra import storage

SR = 22050
SECONDS = 5.0
FORMATS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}
NOT_AUDIO, TRUNCATED = 19, 24
"""Numbers of two bad clips: an error page instead of audio, and a truncated WAV file."""
SCALES = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 6, 9), (0, 5, 7))

Signal = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Style:
    """How a genre sounds."""

    beats_per_minute: float
    root_hz: float
    scale: tuple[int, ...]
    """Semitones over the root."""
    partials: int
    """Harmonics of a note: more of them sound brighter."""
    chords: float
    bass: float
    drums: float
    hiss: float


def style_of(genre: int, genres: int) -> Style:
    """The style of a genre, by its number: the same in each catalog."""
    rng = np.random.default_rng([7, genre])
    spread = (genre * 11) % genres / genres  # genres with neighboring numbers have very different tempos
    return Style(
        beats_per_minute=60 + 110 * spread,
        root_hz=float(110 * 2 ** (genre * 5 % 12 / 12)),
        scale=SCALES[genre % len(SCALES)],
        partials=int(rng.integers(1, 12)),
        chords=float(rng.uniform(0.2, 1)),
        bass=float(rng.uniform(0, 0.8)),
        drums=float(rng.uniform(0, 1)),
        hiss=float(rng.uniform(0, 0.15)),
    )


def clip(style: Style, rng: np.random.Generator, seconds: float = SECONDS) -> Signal:
    """One track in a style: mono, shape (seconds × SR,), peak 0.8."""
    t = np.arange(int(seconds * SR)) / SR
    beat = t * style.beats_per_minute * rng.uniform(0.95, 1.05) / 60
    since_beat = (beat % 1) * 60 / style.beats_per_minute  # seconds
    bar = (beat // 4).astype(int)
    steps = rng.choice([0, 5, 7, -3], size=bar.max() + 1)
    detuned = style.root_hz * 2 ** (rng.normal(scale=0.05) / 12)
    phase = 2 * np.pi * np.cumsum(detuned * 2.0 ** (steps[bar] / 12)) / SR
    cycle = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    wave = np.sum([np.sin(k * cycle) / k for k in range(1, style.partials + 1)], axis=0)
    y = style.chords * sum(_note(phase * 2 ** (up / 12), wave) for up in style.scale) / 3
    y += style.bass * np.sin(phase / 2) * np.exp(-3 * since_beat)
    kick = np.sin(2 * np.pi * 60 * since_beat) * np.exp(-20 * since_beat)
    snare = rng.normal(size=len(t)) * np.exp(-30 * since_beat) * (beat.astype(int) % 2)
    y += style.drums * (kick + 0.5 * snare) + style.hiss * rng.normal(size=len(t))
    loud: Signal = (0.8 * y / np.abs(y).max()).astype(np.float32)
    return loud


def _note(phase: npt.NDArray[np.float64], wave: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    position = (phase * (len(wave) / (2 * np.pi))).astype(np.int64) % len(wave)
    return wave[position]


def clip_name(number: int) -> str:
    """The path of a clip beside the catalog; its number decides its format."""
    return f"clips/{number:04}.{list(FORMATS)[number % len(FORMATS)]}"


def write_clip(folder: str, number: int, genre: int, genres: int, seed: int) -> None:
    """Writes a clip; two clips are bad files, as in real collections."""
    name, audio = clip_name(number), io.BytesIO()
    kind = name.rpartition(".")[2]
    y = clip(style_of(genre, genres), np.random.default_rng([seed, number]))
    sf.write(audio, y, SR, format=kind, subtype=FORMATS[kind])
    data = audio.getvalue()
    if number == NOT_AUDIO:
        data = b"<html><body>503 Slow Down</body></html>"
    elif number == TRUNCATED:
        data = data[: len(data) // 3]
    storage.write_atomic(f"{folder}/{name}", data)
