"""Clips whose truth is known: a timbre, a harmony and a rhythm, each drawn by itself, of artists of sound.

The three are kept apart. All partials of a note are octaves of it, so that its timbre adds no pitch class;
a chord has three notes and a bar four chords, so that loudness and their number tell nothing. What an artist
has of its own is in all of its clips: tuning, register, tempo, room, hiss, how long notes last.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from genremill.udfs.feature_sets.base import Signal

SR = 22050
TIMBRES = {
    "dull": (1.0, 0.1, 0.0),
    "even": (0.7, 0.6, 0.4),
    "hollow": (0.8, 0.0, 0.6),
    "bright": (0.1, 0.4, 0.9),
}
"""Amplitudes of a note and of its octaves."""
HARMONIES = {"major": (0, 4, 7), "minor": (0, 3, 7), "augmented": (0, 4, 8), "suspended": (0, 5, 7)}
"""Semitones over the root."""
RHYTHMS = {"even": (0, 4, 8, 12), "pushed": (0, 3, 6, 12), "early": (0, 2, 4, 8), "rolled": (0, 1, 2, 8)}
"""Sixteenths of a bar on which the chord is struck."""
LOUDNESS_DB = 3.0
"""Most that a note of a chord is louder or softer than it should be."""
DETUNED = 0.2
"""Semitones, most that it is too high or low. Pure chords would tell their timbre by their pitch classes:
the higher the octave, the sharper they are."""
TRUTHS: dict[str, tuple[str, ...]] = {
    "timbre": tuple(TIMBRES),
    "harmony": tuple(HARMONIES),
    "rhythm": tuple(RHYTHMS),
}


@dataclass(frozen=True)
class Artist:
    """What the clips of an artist have in common."""

    tuning: float  # semitones away from A 440
    register: float  # Hz, of the lowest root
    beats_per_minute: float
    tilt_db: float  # what the room adds to an octave over the one below
    hiss: float
    decay: float  # of a note, 1/s

    @classmethod
    def numbered(cls, number: int) -> Self:
        """The artist of a number, always the same."""
        rng = np.random.default_rng([11, number])
        return cls(
            tuning=rng.uniform(-0.2, 0.2),
            register=880 * 2 ** rng.uniform(0, 0.5),
            beats_per_minute=rng.uniform(90, 130),
            tilt_db=rng.uniform(-2, 2),
            hiss=10 ** rng.uniform(-4, -3),
            decay=rng.uniform(4, 8),
        )


@dataclass(frozen=True)
class Sound:
    """What is to be told of a clip."""

    timbre: str
    harmony: str
    rhythm: str

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """One at random, each of the three by itself."""
        return cls(**{truth: names[rng.integers(len(names))] for truth, names in TRUTHS.items()})

    def clip(self, artist: Artist, rng: np.random.Generator, seconds: float) -> Signal:
        """A clip with this sound, shape (seconds × SR,): chords on a root that changes with each bar."""
        y = np.zeros(round(seconds * SR))
        sixteenth = 60 / artist.beats_per_minute / 4
        for bar in range(int(seconds / (16 * sixteenth)) + 1):
            chord = self._chord(artist, int(rng.integers(12)), rng)
            for step in RHYTHMS[self.rhythm]:
                here = y[int((16 * bar + step) * sixteenth * SR) :][: len(chord)]
                here += chord[: len(here)]
        y += artist.hiss * rng.normal(size=len(y))
        loud: Signal = (rng.uniform(0.3, 0.8) * y / np.abs(y).max()).astype(np.float32)
        return loud

    def _chord(self, artist: Artist, root: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """One struck chord of half a second."""
        t = np.arange(SR // 2) / SR
        lowest = artist.register * 2 ** ((root + artist.tuning) / 12)
        chord = np.zeros(len(t))
        for semitones in HARMONIES[self.harmony]:
            loudness = 10 ** (rng.uniform(-LOUDNESS_DB, LOUDNESS_DB) / 20)
            note = lowest * 2 ** ((semitones + rng.uniform(-DETUNED, DETUNED)) / 12)
            for octave, amplitude in enumerate(TIMBRES[self.timbre]):
                level = loudness * amplitude * 10 ** (artist.tilt_db * octave / 20)
                chord += level * np.sin(2 * np.pi * (note * 2**octave * t + rng.uniform()))
        return chord * np.exp(-artist.decay * t) * np.minimum(1, np.minimum(t, t[::-1]) / 0.005)
