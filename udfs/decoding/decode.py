"""Audio objects as signals: the samples of `librosa.load`, and never a part for the whole.

Decoding costs what libsndfile takes and 4 ms for 30 s of stereo: blocks are mixed and resampled in the cache.
It runs where a hostile file does no harm: in the child of `sandbox`. Everything that a header declares is
checked against a budget before a sample is decoded, and only the seconds asked for are.
"""

import enum
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import header as audio_header
from genremill.udfs.decoding.header import Codec, Header

Signal = npt.NDArray[np.float32]

MIN_SAMPLES = 2048
"""Shortest signal, at `sr`: one STFT window."""
MIN_PEAK = 10 ** (-90 / 20)
"""Peak of a signal without its mean under which it is silence: -90 dBFS, one step of 16 bits."""
MIN_COVERAGE = 0.9
BLOCK = 65536
"""Frames decoded, mixed and resampled at once: as many as stay in the cache, and all the memory it takes."""
_UNKNOWN_FRAMES = 2**63 - 1
"""What libsndfile says of a FLAC whose writer could not seek back."""
_READS_AS = {
    Codec.WAV: (("WAV", "WAVEX", "RF64"), ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    Codec.FLAC: (("FLAC",), ("PCM_S8", "PCM_16", "PCM_24")),
    Codec.MP3: (("MP3",), ("MPEG_LAYER_III",)),
    Codec.VORBIS: (("OGG",), ("VORBIS",)),
    Codec.OPUS: (("OGG",), ("OPUS",)),
}
"""What libsndfile must find in a file whose header we read as the codec: formats and subtypes."""


class Offset(enum.StrEnum):
    """Which part of a long file is decoded; of one that does not say how long it is, the start."""

    START = "start"
    MIDDLE = "middle"


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What to decode of each file."""

    sr: int
    """Samples a second of the signal."""
    seconds: float
    """At most so many are decoded; a shorter file is decoded whole, and not padded."""
    offset: Offset = Offset.START

    def __post_init__(self) -> None:
        if self.sr < 1 or not 0 < self.seconds < math.inf:
            raise UsageError(f"sr {self.sr}, seconds {self.seconds}: expected both above zero and finite")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a file may ask for; a header beyond it is refused unread."""

    object_bytes: int = 2 * 2**30
    min_sr: int = 4_000
    max_sr: int = 384_000
    channels: int = 8
    decoded_bytes: int = 512 * 2**20
    """Of the part asked for, in float32: at the file's rate and channels, and as the signal. 25 minutes of
    44.1 kHz stereo; time, not memory, since blocks are mixed and resampled as they come."""
    resample_ratio: float = 32.0
    """Between the file's rate and `sr`, in either direction; 384 kHz to 22.05 kHz is 17.4."""


@dataclass(frozen=True)
class Decoded:
    """A signal, and how much of what the file declares it is."""

    y: Signal
    """Mono, shape (n,), at the settings' `sr`."""
    coverage: float
    """Frames decoded / frames that the container's header declares within the seconds asked for, in [0.9, 1].

    A WAV declares the size of its `data` chunk, FLAC and most MP3s a count, OGG the end of its last page.
    Four look whole when they are cut: OGG, an MP3 without a Xing header, which declares its own size alone,
    and WAV and FLAC whose writer could not seek back to say how long they are."""
    seconds_decoded: float


@dataclass(frozen=True)
class _Part:
    """The frames to decode, at the file's rate."""

    start: int
    frames: int
    declared: bool = True
    """False where the header does not say how long the file is, and `frames` is what was asked for."""


def decode(
    fd: int, settings: DecodeSettings, budget: Budget | None = None, out: Signal | None = None
) -> Decoded:
    """The signal of an open, seekable file: the samples of `librosa.load(sr=…, duration=…)`.

    Parameters
    ----------
    fd : int
        Stays open; its position is lost.
    settings, budget
        What to decode, and the most it may take.
    out : np.ndarray [shape=(n,)], optional
        Where to put the signal, which then is a view of it; `capacity` tells how long it has to be.

    Raises
    ------
    AudioRejected
        Any reason but those of storage and of the sandbox.
    """
    budget = budget or Budget()
    _check_size(fd, budget)
    header = audio_header.read(fd)
    _check_rate(header, settings, budget)
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        with _Sequential(fd, closefd=False) as source:
            _check_agreement(header, source)
            part = _part(header, source, settings)
            _check_part(part, header, settings, budget)
            y, frames = _signal(source, part, settings.sr, out)
    except soundfile.LibsndfileError as err:
        raise AudioRejected(
            AudioReason.DECODE_FAILED, err.error_string or f"libsndfile error {err.code}"
        ) from err
    coverage = frames / part.frames if part.declared else 1.0
    return Decoded(y, coverage, frames / source.samplerate)


def capacity(settings: DecodeSettings, budget: Budget) -> int:
    """Samples of the longest signal that `decode` can give."""
    return min(math.ceil(settings.seconds * settings.sr) + 1, budget.decoded_bytes // 4)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file read from one place on.

    soundfile seeks after each read of a seekable file, which costs time and, where decoding leans on what
    came before (Opus), changes samples.
    """

    def seekable(self) -> bool:
        return False


def _check_size(fd: int, budget: Budget) -> None:
    size = os.fstat(fd).st_size
    if size > budget.object_bytes:
        _over_budget(f"{size:,} bytes, at most {budget.object_bytes:,} are read")


def _check_rate(header: Header, settings: DecodeSettings, budget: Budget) -> None:
    if not budget.min_sr <= header.sr <= budget.max_sr:
        _over_budget(f"{header.sr:,} Hz, expected {budget.min_sr:,} to {budget.max_sr:,}")
    if not 1 <= header.channels <= budget.channels:
        _over_budget(f"{header.channels} channels, expected 1 to {budget.channels}")
    if max(header.sr / settings.sr, settings.sr / header.sr) > budget.resample_ratio:
        _over_budget(
            f"{header.sr:,} Hz to {settings.sr:,}, at most {budget.resample_ratio:g} times are resampled"
        )


def _check_part(part: _Part, header: Header, settings: DecodeSettings, budget: Budget) -> None:
    decoded = 4 * max(part.frames * header.channels, _resampled(part.frames, header.sr, settings.sr))
    if decoded > budget.decoded_bytes:
        _over_budget(f"{decoded:,} bytes once decoded, at most {budget.decoded_bytes:,}")


def _over_budget(detail: str) -> None:
    raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)


def _check_agreement(header: Header, source: _Sequential) -> None:
    """Libsndfile sees the file that the header was read of, so that what was checked is what is decoded."""
    formats, subtypes = _READS_AS[header.codec]
    same_rate = source.samplerate == header.sr or header.codec is Codec.OPUS
    if (
        source.format not in formats
        or source.subtype not in subtypes
        or source.channels != header.channels
        or not same_rate
    ):
        found = f"{source.format} {source.subtype}, {source.samplerate} Hz, {source.channels} channels"
        raise AudioRejected(
            AudioReason.DECODE_FAILED, f"libsndfile finds {found} where the header says {header}"
        )


def _declared_frames(header: Header, source: _Sequential) -> int:
    """How long the file says it is, at the rate it is decoded at."""
    counted: int = source.frames
    if header.frames is None:
        return counted
    if header.codec in (Codec.VORBIS, Codec.OPUS):
        return max(counted, int(header.frames * source.samplerate / header.sr))
    return header.frames


def _part(header: Header, source: _Sequential, settings: DecodeSettings) -> _Part:
    declared = _declared_frames(header, source)
    wanted = int(settings.seconds * source.samplerate)
    if declared == _UNKNOWN_FRAMES:
        return _Part(0, wanted, declared=False)
    start = max(0, (declared - wanted) // 2) if settings.offset == Offset.MIDDLE else 0
    return _Part(start, min(wanted, declared - start))


def _resampled(frames: int, rate: int, sr: int) -> int:
    """Length of `frames` at `rate` once at `sr`, rounded up as librosa does.

    >>> _resampled(44101, 44100, 22050)
    22051
    """
    return math.ceil(frames * (float(sr) / rate))


class _Level:
    """Mean and peak of a signal that comes in blocks."""

    def __init__(self) -> None:
        self.frames = 0
        self._total = 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, block: Signal) -> None:
        """Counts a block in, or refuses it as not finite."""
        lowest, highest = float(block.min()), float(block.max())
        if not math.isfinite(lowest + highest):
            raise AudioRejected(AudioReason.NON_FINITE, f"within {len(block)} frames from {self.frames} on")
        self.frames += len(block)
        self._total += float(block.sum())
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)

    def peak(self) -> float:
        """Largest distance from the mean."""
        mean = self._total / self.frames
        return max(self._highest - mean, mean - self._lowest)


def _signal(source: _Sequential, part: _Part, sr: int, out: Signal | None) -> tuple[Signal, int]:
    """The part, mono and at `sr`, and how many frames of it there were."""
    rate, level, filled = source.samplerate, _Level(), 0
    y = np.empty(_resampled(part.frames, rate, sr), np.float32) if out is None else out
    resampler = soxr.ResampleStream(rate, sr, 1, "float32", "HQ")
    for mono in _mono_blocks(source, part):
        level.add(mono)
        piece = mono if rate == sr else resampler.resample_chunk(mono)
        y[filled : filled + len(piece)] = piece
        filled += len(piece)
    if part.declared and level.frames < MIN_COVERAGE * part.frames:
        detail = f"{level.frames:,} of {part.frames:,} declared frames could be decoded"
        raise AudioRejected(AudioReason.TRUNCATED, detail)
    length = _resampled(level.frames, rate, sr)
    if length < MIN_SAMPLES:
        raise AudioRejected(AudioReason.TOO_SHORT, f"{length} samples, expected at least {MIN_SAMPLES}")
    if level.peak() < MIN_PEAK:
        raise AudioRejected(AudioReason.SILENT, f"peak {level.peak():.1e}, expected at least {MIN_PEAK:.1e}")
    if rate != sr:
        rest = resampler.resample_chunk(np.empty(0, np.float32), last=True)[: length - filled]
        y[filled : filled + len(rest)] = rest
        y[filled + len(rest) : length] = 0  # soxr may give one sample fewer, as librosa knows
    return y[:length], level.frames


def _mono_blocks(source: _Sequential, part: _Part) -> Iterator[Signal]:
    """The mean over channels, block by block; each is gone when the next one is asked for."""
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
    """The mean over channels of a block of shape (frames, channels), as `librosa.to_mono` rounds it."""
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # infinite samples are refused by name
        if block.shape[1] == 2:  # four times as fast as `mean` over an axis of two
            np.add(block[:, 0], block[:, 1], out=out)
            out *= 0.5
            return out
        return np.mean(block, axis=1, out=out)
