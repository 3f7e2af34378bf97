"""The signal of a recording, which is put together from the segments of its file."""

import math

import numpy as np
import soxr

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.settings import (
    Budget,
    Decoded,
    DecodeSettings,
    Signal,
    capacity,
    over_budget,
    resampled_length,
)
from genremill.udfs.decoding.source import BLOCK, Block, Source

MIN_SAMPLES = 2048
"""Shortest signal at `sr`: one STFT window."""
MIN_PEAK = 10 ** (-90 / 20)
"""Lowest peak, after removing the mean: below -90 dBFS, one step of 16 bits, a signal counts as silence."""
MAX_PEAK = 10 ** (20 / 20)
"""Highest peak: 20 dB above full scale. Samples beyond it are not in the range -1 to 1."""
MIN_COVERAGE = 0.9
"""Smallest share of the requested part of a file that must be decoded."""
_ENOUGH_S = 1e-3
"""Seconds that may be left, because every segment ends with a whole sample."""


class Recording:
    """A mono signal at the settings' rate that grows segment by segment."""

    def __init__(self, settings: DecodeSettings, budget: Budget, out: Signal | None) -> None:
        self._sr, self._budget = settings.sr, budget
        self._y = np.empty(capacity(settings, budget), np.float32) if out is None else out
        self._length = 0
        self._level = _Level()
        self._size = 0
        """Bytes in float32, as in the file or as the signal, whichever is larger."""
        self._decoded_s = self._expected_s = 0.0
        self._left_s = settings.seconds

    @property
    def is_full(self) -> bool:
        """Whether it has the requested seconds."""
        return self._left_s < _ENOUGH_S

    def add(self, source: Source, start: int) -> None:
        """Appends what is still needed of a segment from frame `start` on, mono and resampled."""
        frames = int(self._left_s * source.sr)
        if source.frames is not None:
            frames = min(frames, max(0, source.frames - start))
        length = resampled_length(frames, source.sr, self._sr)
        self._size += 4 * max(frames * source.channels, length)
        if self._size > self._budget.decoded_bytes:
            expected = f"at most {self._budget.decoded_bytes:,}"
            raise over_budget(f"{self._size:,} bytes after decoding", expected)
        decoded = self._append(source, start, frames)
        self._decoded_s += decoded / source.sr
        self._expected_s += (decoded + source.lost if source.frames is None else frames) / source.sr
        self._left_s -= frames / source.sr

    def decoded(self) -> Decoded:
        """The signal; raises `AudioRejected` if too much is missing, or if there is nothing to hear."""
        coverage = min(1.0, self._decoded_s / self._expected_s) if self._expected_s else 1.0
        if coverage < MIN_COVERAGE:
            detail = f"{self._decoded_s:.2f} of {self._expected_s:.2f} s could be decoded"
            raise AudioRejected(AudioReason.TRUNCATED, detail)
        if self._length < MIN_SAMPLES:
            detail = f"{self._length} samples, expected at least {MIN_SAMPLES}"
            raise AudioRejected(AudioReason.TOO_SHORT, detail)
        if (peak := self._level.peak()) < MIN_PEAK:
            raise AudioRejected(AudioReason.SILENT, f"peak {peak:.1e}, expected at least {MIN_PEAK:.1e}")
        if peak > MAX_PEAK:
            raise AudioRejected(AudioReason.TOO_LOUD, f"peak {peak:.1e}, expected at most {MAX_PEAK:g}")
        return Decoded(self._y[: self._length], coverage, self._decoded_s)

    def _append(self, source: Source, start: int, frames: int) -> int:
        """Appends frames; returns how many could be decoded."""
        first, decoded = self._length, 0
        resampler = soxr.ResampleStream(source.sr, self._sr, 1, "float32", "HQ")
        mono = np.empty(min(BLOCK, frames), np.float32)
        for block in source.blocks(start, frames):
            if len(block) > len(mono):
                mono = np.empty(len(block), np.float32)
            mixed = _mix(block, mono[: len(block)])
            self._level.add(mixed)
            decoded += len(mixed)
            self._write(mixed if source.sr == self._sr else resampler.resample_chunk(mixed))
        length = min(first + resampled_length(decoded, source.sr, self._sr), len(self._y)) - first
        if source.sr != self._sr:
            rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)
            self._write(rest[: first + length - self._length])
            self._y[self._length : first + length] = (
                0  # soxr may return one sample less; librosa does the same
            )
        self._length = first + length
        return decoded

    def _write(self, piece: Signal) -> None:
        kept = piece[: len(self._y) - self._length]
        self._y[self._length : self._length + len(kept)] = kept
        self._length += len(kept)


class _Level:
    """Mean and peak of a signal that arrives in blocks."""

    def __init__(self) -> None:
        self._frames = 0
        self._total = 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, block: Signal) -> None:
        """Includes a block; raises `AudioRejected` if a sample is not finite."""
        lowest, highest = float(block.min()), float(block.max())
        if not math.isfinite(lowest + highest):
            raise AudioRejected(AudioReason.NON_FINITE, f"in the {len(block)} frames from {self._frames} on")
        self._frames += len(block)
        self._total += float(block.sum())
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)

    def peak(self) -> float:
        """The largest distance from the mean; of no frames, 0."""
        mean = self._total / self._frames if self._frames else 0.0
        return max(self._highest - mean, mean - self._lowest) if self._frames else 0.0


def _mix(block: Block, out: Signal) -> Signal:
    """The mean over channels of a block of shape (frames, channels), rounded like `librosa.to_mono`."""
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are rejected later
        if block.shape[1] == 2:  # four times as fast as `mean` over two channels
            np.add(block[:, 0], block[:, 1], out=out)
            out *= 0.5
            return out
        return np.mean(block, axis=1, out=out)
