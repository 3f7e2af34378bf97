"""Audio files as signals: the samples of `librosa.load`, or an error if a part is missing.

Decoding takes the time of libsndfile plus 4 ms for 30 s of stereo: blocks are mixed and resampled in the CPU
cache. This code runs in the child process of `sandbox`, where a malicious file does no harm. Everything that
a header declares is checked against a budget before a sample is decoded, and only the requested seconds are
decoded.
"""

import math
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import header as audio_header
from genremill.udfs.decoding.header import AudioHeader, Codec
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Offset, Signal, resampled_length

MIN_SAMPLES = 2048
"""Shortest signal at `sr`: one STFT window."""
MIN_PEAK = 10 ** (-90 / 20)
"""Lowest peak, after removing the mean: below -90 dBFS, one step of 16 bits, a signal counts as silence."""
MIN_COVERAGE = 0.9
"""Smallest share of the declared frames that must be decoded."""
BLOCK = 65536
"""Frames that are decoded, mixed and resampled at once; they fit into the cache."""
_UNKNOWN_FRAMES = 2**63 - 1
"""libsndfile's number of frames for a FLAC whose writer could not seek back."""
_READS_AS = {
    Codec.WAV: (("WAV", "WAVEX", "RF64"), ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    Codec.FLAC: (("FLAC",), ("PCM_S8", "PCM_16", "PCM_24")),
    Codec.MP3: (("MP3",), ("MPEG_LAYER_III",)),
    Codec.VORBIS: (("OGG",), ("VORBIS",)),
    Codec.OPUS: (("OGG",), ("OPUS",)),
}
"""The formats and subtypes that libsndfile must find in a file with the codec."""


class _Part(NamedTuple):
    """The frames to decode, at the rate of the file."""

    start: int
    frames: int
    declared: bool = True
    """False if the header does not declare a length; `frames` is then the requested number."""


def decode(
    fd: int, settings: DecodeSettings, budget: Budget | None = None, out: Signal | None = None
) -> Decoded:
    """The signal of an open, seekable file: the samples of `librosa.load(sr=…, duration=…)`.

    The file stays open; its position changes. With `out`, a buffer of the length that `capacity` gives, the
    signal is a view of it. Raises `AudioRejected` with any reason but those of the storage and the sandbox.
    """
    budget = budget or Budget()
    if (size := os.fstat(fd).st_size) > budget.object_bytes:
        raise _over_budget(f"{size:,} bytes", f"at most {budget.object_bytes:,}")
    header = audio_header.read(fd)
    _check_rate(header, settings.sr, budget)
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with _Sequential(fd, closefd=False) as source:
            _check_agreement(header, source)
            part = _part_of(header, source, settings)
            out_frames = resampled_length(part.frames, header.sr, settings.sr)
            decoded = 4 * max(part.frames * header.channels, out_frames)
            if decoded > budget.decoded_bytes:
                raise _over_budget(f"{decoded:,} bytes after decoding", f"at most {budget.decoded_bytes:,}")
            y, frames = _signal(source, part, settings.sr, out)
    except soundfile.LibsndfileError as err:
        detail = err.error_string or f"libsndfile error {err.code}"
        raise AudioRejected(AudioReason.DECODE_FAILED, detail) from err
    coverage = frames / part.frames if part.declared else 1.0
    return Decoded(y, coverage, frames / source.samplerate)


def _over_budget(found: str, expected: str) -> AudioRejected:
    return AudioRejected(AudioReason.HEADER_OVER_BUDGET, f"{found}, expected {expected}")


def _check_rate(header: AudioHeader, sr: int, budget: Budget) -> None:
    if not budget.min_sr <= header.sr <= budget.max_sr:
        raise _over_budget(f"{header.sr:,} Hz", f"{budget.min_sr:,} to {budget.max_sr:,}")
    if not 1 <= header.channels <= budget.channels:
        raise _over_budget(f"{header.channels} channels", f"1 to {budget.channels}")
    if max(header.sr / sr, sr / header.sr) > budget.resample_ratio:
        raise _over_budget(f"{header.sr:,} Hz to {sr:,}", f"a ratio of at most {budget.resample_ratio:g}")


def _check_agreement(header: AudioHeader, source: soundfile.SoundFile) -> None:
    """Checks that libsndfile finds what the header declares, so that it decodes what was checked."""
    formats, subtypes = _READS_AS[header.codec]
    same_format = source.format in formats and source.subtype in subtypes
    same_rate = source.samplerate == header.sr or header.codec is Codec.OPUS
    if not (same_format and same_rate and source.channels == header.channels):
        found = f"{source.format} {source.subtype}, {source.samplerate} Hz, {source.channels} channels"
        detail = f"libsndfile finds {found}, but the header declares {header}"
        raise AudioRejected(AudioReason.DECODE_FAILED, detail)


def _part_of(header: AudioHeader, source: soundfile.SoundFile, settings: DecodeSettings) -> _Part:
    """The requested part of a file."""
    declared = source.frames if header.frames is None else header.frames
    if header.frames is not None and header.codec in (Codec.VORBIS, Codec.OPUS):
        declared = max(source.frames, int(header.frames * source.samplerate / header.sr))
    requested = int(settings.seconds * source.samplerate)
    if declared == _UNKNOWN_FRAMES:
        return _Part(0, requested, declared=False)
    start = max(0, (declared - requested) // 2) if settings.offset == Offset.MIDDLE else 0
    return _Part(start, min(requested, declared - start))


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forward.

    soundfile seeks after each read of a seekable file. That takes time, and it changes the samples of a codec
    that depends on earlier frames (Opus).
    """

    def seekable(self) -> bool:
        return False


class _Level:
    """Mean and peak of a signal that arrives in blocks."""

    def __init__(self) -> None:
        self.frames = 0
        self._total = 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, block: Signal) -> None:
        """Includes a block; raises `AudioRejected` if a sample is not finite."""
        lowest, highest = float(block.min()), float(block.max())
        if not math.isfinite(lowest + highest):
            raise AudioRejected(AudioReason.NON_FINITE, f"in the {len(block)} frames from {self.frames} on")
        self.frames += len(block)
        self._total += float(block.sum())
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)

    def peak(self) -> float:
        """The largest distance from the mean."""
        mean = self._total / self.frames
        return max(self._highest - mean, mean - self._lowest)


def _signal(source: _Sequential, part: _Part, sr: int, out: Signal | None) -> tuple[Signal, int]:
    """The part, mono and at `sr`, and the number of frames that could be decoded."""
    rate, level, filled = source.samplerate, _Level(), 0
    y = np.empty(resampled_length(part.frames, rate, sr), np.float32) if out is None else out
    resampler = soxr.ResampleStream(rate, sr, 1, "float32", "HQ")
    for mono in _mono_blocks(source, part):
        level.add(mono)
        piece = mono if rate == sr else resampler.resample_chunk(mono)
        y[filled : filled + len(piece)] = piece
        filled += len(piece)
    length = resampled_length(level.frames, rate, sr)
    _check_signal(level, part, length)
    if rate != sr:
        rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)[: length - filled]
        y[filled : filled + len(rest)] = rest
        y[filled + len(rest) : length] = 0  # soxr may return one sample less; librosa does the same
    return y[:length], level.frames


def _check_signal(level: _Level, part: _Part, length: int) -> None:
    if part.declared and level.frames < MIN_COVERAGE * part.frames:
        detail = f"{level.frames:,} of {part.frames:,} declared frames could be decoded"
        raise AudioRejected(AudioReason.TRUNCATED, detail)
    if length < MIN_SAMPLES:
        raise AudioRejected(AudioReason.TOO_SHORT, f"{length} samples, expected at least {MIN_SAMPLES}")
    if level.peak() < MIN_PEAK:
        raise AudioRejected(AudioReason.SILENT, f"peak {level.peak():.1e}, expected at least {MIN_PEAK:.1e}")


def _mono_blocks(source: _Sequential, part: _Part) -> Iterator[Signal]:
    """The mean over channels, block by block; the next block overwrites the one before."""
    if part.start >= source.frames:
        return
    if part.start:
        source.seek(part.start)
    buffer = np.empty((min(BLOCK, part.frames), source.channels), np.float32)
    mono = np.empty(len(buffer), np.float32)
    left = part.frames
    while left:
        block = source.read(min(BLOCK, left), out=buffer[:left])
        if not len(block):
            return
        left -= len(block)
        yield _mix(block, mono[: len(block)])


def _mix(block: npt.NDArray[np.float32], out: Signal) -> Signal:
    """The mean over channels of a block of shape (frames, channels), rounded like `librosa.to_mono`."""
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are rejected later
        if block.shape[1] == 2:  # four times as fast as `mean` over two channels
            np.add(block[:, 0], block[:, 1], out=out)
            out *= 0.5
            return out
        return np.mean(block, axis=1, out=out)
