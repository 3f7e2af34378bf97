"""Synthetic clips with known labels: a timbre, a harmony and a rhythm, drawn independently.

No label can be predicted from another. All partials of a note are octaves of it, so a timbre adds no pitch
class. A chord has three notes and a bar has four chords, so loudness and counts depend on no label. All clips
of an artist have the same tuning, register, tempo, room, noise and decay.
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
"""Semitones above the root."""
RHYTHMS = {"even": (0, 4, 8, 12), "pushed": (0, 3, 6, 12), "early": (0, 2, 4, 8), "rolled": (0, 1, 2, 8)}
"""Sixteenths of a bar on which the chord is struck."""
LOUDNESS_DB = 3.0
"""Largest random change of the loudness of a note."""
DETUNED = 0.2
"""Largest random change of the pitch of a note in semitones. Without it, the pitch classes would show the
timbre, because they are sharper in higher octaves."""
TRUTHS: dict[str, tuple[str, ...]] = {
    "timbre": tuple(TIMBRES),
    "harmony": tuple(HARMONIES),
    "rhythm": tuple(RHYTHMS),
}


@dataclass(frozen=True)
class Artist:
    """What the clips of an artist have in common."""

    tuning: float  # semitones from A = 440 Hz
    register: float  # frequency of the lowest root in Hz
    beats_per_minute: float
    tilt_db: float  # gain of each octave over the octave below
    hiss: float
    decay: float  # of a note, per second

    @classmethod
    def numbered(cls, number: int) -> Self:
        """The artist with this number: the same in every call."""
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
    """The labels of a clip."""

    timbre: str
    harmony: str
    rhythm: str

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Self:
        """Random labels, each independent of the others."""
        return cls(**{truth: names[rng.integers(len(names))] for truth, names in TRUTHS.items()})

    def clip(self, artist: Artist, rng: np.random.Generator, seconds: float) -> Signal:
        """A clip with this sound, shape (seconds × SR,): chords whose root changes in each bar."""
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
        """A chord of half a second."""
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
