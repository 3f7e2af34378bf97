"""Checks of a header before a sample is decoded, and the part of the file to decode."""

import os
from dataclasses import dataclass

import soundfile

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.codec import Codec, Header
from genremill.udfs.decoding.settings import Budget, DecodeSettings, Offset, resampled_length

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


@dataclass(frozen=True)
class Part:
    """The frames to decode, at the rate of the file."""

    start: int
    frames: int
    declared: bool = True
    """False if the header does not declare a length, and `frames` is the requested number."""


def check_size(fd: int, budget: Budget) -> None:
    """Rejects a file that is too large."""
    size = os.fstat(fd).st_size
    if size > budget.object_bytes:
        _over_budget(f"{size:,} bytes, expected at most {budget.object_bytes:,}")


def check_rate(header: Header, settings: DecodeSettings, budget: Budget) -> None:
    """Rejects a file whose rate or number of channels is outside the limits."""
    if not budget.min_sr <= header.sr <= budget.max_sr:
        _over_budget(f"{header.sr:,} Hz, expected {budget.min_sr:,} to {budget.max_sr:,}")
    if not 1 <= header.channels <= budget.channels:
        _over_budget(f"{header.channels} channels, expected 1 to {budget.channels}")
    if max(header.sr / settings.sr, settings.sr / header.sr) > budget.resample_ratio:
        _over_budget(
            f"{header.sr:,} Hz to {settings.sr:,}, expected a ratio of at most {budget.resample_ratio:g}"
        )


def check_part(part: Part, header: Header, settings: DecodeSettings, budget: Budget) -> None:
    """Rejects a file whose requested part is too large after decoding."""
    decoded = 4 * max(part.frames * header.channels, resampled_length(part.frames, header.sr, settings.sr))
    if decoded > budget.decoded_bytes:
        _over_budget(f"{decoded:,} bytes after decoding, expected at most {budget.decoded_bytes:,}")


def _over_budget(detail: str) -> None:
    raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)


def check_agreement(header: Header, source: soundfile.SoundFile) -> None:
    """Checks that libsndfile finds what the header declares, so that it decodes what was checked."""
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
            AudioReason.DECODE_FAILED, f"libsndfile finds {found}, but the header declares {header}"
        )


def _declared_frames(header: Header, source: soundfile.SoundFile) -> int:
    """The declared length of the file, at the rate of the decoder."""
    counted: int = source.frames
    if header.frames is None:
        return counted
    if header.codec in (Codec.VORBIS, Codec.OPUS):
        return max(counted, int(header.frames * source.samplerate / header.sr))
    return header.frames


def part_of(header: Header, source: soundfile.SoundFile, settings: DecodeSettings) -> Part:
    """The requested part of a file, in frames."""
    declared = _declared_frames(header, source)
    requested = int(settings.seconds * source.samplerate)
    if declared == _UNKNOWN_FRAMES:
        return Part(0, requested, declared=False)
    start = max(0, (declared - requested) // 2) if settings.offset == Offset.MIDDLE else 0
    return Part(start, min(requested, declared - start))
