"""What to decode of a file, the limits for its header, and the result."""

import enum
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError

REVISION = 2
"""Increase it if files can be decoded that were rejected before; they are then tried again."""
Signal = npt.NDArray[np.float32]


class Offset(enum.StrEnum):
    """The part of a long file that is decoded; always the start if the file does not declare its length."""

    START = "start"
    MIDDLE = "middle"


class Barrier(enum.StrEnum):
    """Whether files are decoded where the kernel lacks a part of the barrier around the decoder."""

    AUTO = "auto"
    REQUIRE = "require"


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What to decode of each file."""

    sr: int
    """Sample rate of the signal in Hz."""
    seconds: float
    """Length of the longest signal; a shorter file is decoded completely, without padding."""
    offset: Offset = Offset.START
    ffmpeg: bool = False
    """Whether FFmpeg decodes the formats that libsndfile lacks."""

    @property
    def decoder(self) -> str:
        """The decoders, with the revision of how files are read: other decoders may read a bad file."""
        return f"libsndfile {REVISION}" + (" and FFmpeg" if self.ffmpeg else "")

    def __post_init__(self) -> None:
        if self.sr < 1 or not 0 < self.seconds < math.inf:
            raise UsageError(f"sr {self.sr}, seconds {self.seconds}: expected positive and finite numbers")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits for a file; a file with a header above them is rejected without decoding."""

    object_bytes: int = 2 * 2**30
    min_sr: int = 4_000
    max_sr: int = 384_000
    channels: int = 8
    decoded_bytes: int = 512 * 2**20
    """Size of the requested part in float32, as in the file or as the signal, whichever is larger: 25 minutes
    of stereo at 44.1 kHz. It limits time, not memory, because decoding works block by block."""
    resample_ratio: float = 32.0
    """Between the rate of the file and `sr`, in either direction; 384 kHz to 22.05 kHz is 17.4."""

    def check(self, file_sr: int, channels: int, sr: int) -> None:
        """Raises `AudioRejected` if the rate or the channels of a file are above the limits."""
        if not self.min_sr <= file_sr <= self.max_sr:
            raise over_budget(f"{file_sr:,} Hz", f"{self.min_sr:,} to {self.max_sr:,}")
        if not 1 <= channels <= self.channels:
            raise over_budget(f"{channels} channels", f"1 to {self.channels}")
        if max(file_sr / sr, sr / file_sr) > self.resample_ratio:
            raise over_budget(f"{file_sr:,} Hz to {sr:,}", f"a ratio of at most {self.resample_ratio:g}")


@dataclass(frozen=True)
class Decoded:
    """A signal, and how complete it is."""

    y: Signal
    """Mono, shape (n,), at the settings' `sr`."""
    coverage: float
    """Decoded seconds / requested seconds that should be in the file, from 0.9 to 1.

    WAV and AIFF declare the size of their samples, FLAC a number of frames, OGG the end of each page; the
    frames of MP3 are counted, and compared with the number that a Xing or VBRI header declares. Other data
    between or after them counts as missing audio. Three kinds of files look complete even if they are
    truncated: OGG that ends between two pages; MP3 without such a header; and WAV and FLAC if the writer
    could not seek back to write the length."""
    seconds_decoded: float


def capacity(settings: DecodeSettings, budget: Budget) -> int:
    """Samples of the longest signal that `decode` can return."""
    return min(math.ceil(settings.seconds * settings.sr) + 1, budget.decoded_bytes // 4)


def over_budget(found: str, expected: str) -> AudioRejected:
    """The rejection of a file above a limit of the budget."""
    return AudioRejected(AudioReason.HEADER_OVER_BUDGET, f"{found}, expected {expected}")


def resampled_length(frames: int, rate: int, sr: int) -> int:
    """Samples at `sr` for `frames` at `rate`, rounded up like librosa.

    >>> resampled_length(44101, 44100, 22050)
    22051
    """
    return math.ceil(frames * (float(sr) / rate))
