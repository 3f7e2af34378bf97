"""The format of an audio file, found from its first bytes, and its segments.

Our own code reads the headers before a decoder runs. File names and media types do not matter.
"""

import dataclasses
import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import chunks, flac, mpeg, ogg
from genremill.udfs.decoding.segments import FileView, Segment
from genremill.udfs.decoding.tags import end_of_tags

Reader: TypeAlias = Callable[[FileView, int, float], Iterator[Segment]]
"""Yields the segments of a file from a position on, as far as some seconds need."""
_HEAD = 400
_SEARCHED = 1 << 20
"""Bytes in which a known format is searched, behind a tag whose size is wrong."""


def _none(_view: FileView, _start: int, _seconds: float) -> Iterator[Segment]:
    yield from ()


class Format(NamedTuple):
    """A format, how its files begin, and who reads it."""

    name: str
    start: re.Pattern[bytes]
    demuxer: str | None
    """The demuxer of FFmpeg for its files."""
    read: Reader = _none
    """Finds the segments that libsndfile decodes."""


class NotSupported(AudioRejected):
    """A known format that libsndfile does not decode; FFmpeg decodes it if it has a demuxer."""

    def __init__(self, name: str, demuxer: str | None, start: int) -> None:
        hint = "; decoding it needs --ffmpeg and the extra genremill[ffmpeg]" if demuxer else ""
        super().__init__(AudioReason.CODEC_REFUSED, name + hint)
        self.demuxer, self.start = demuxer, start


def _format(name: str, start: bytes, demuxer: str | None, read: Reader = _none) -> Format:
    return Format(name, re.compile(start, re.DOTALL), demuxer, read)


_READ = (
    _format("WAV", rb"(?:RIFF|RF64)....WAVE", "wav", chunks.wav_segments),
    _format("AIFF", rb"FORM....AIF[FC]", "aiff", chunks.aiff_segments),
    _format("FLAC", rb"fLaC", "flac", flac.segments),
    _format("OGG", rb"OggS\0", "ogg", ogg.segments),
)
_EMBEDDED = re.compile(
    rb"(?:RIFF|RF64)[\0-\xff]{4}WAVEfmt |FORM[\0-\xff]{4}AIF[FC]|fLaC[\0\x80]\0\0\x22|OggS\0\x02\0{8}"
)
OTHERS = (
    _format("M4A or MP4 (AAC or ALAC)", rb"....(?:ftyp|moov|mdat|wide)", "mov"),
    _format("WMA (ASF)", rb"0&\xb2u\x8e\x66\xcf\x11", "asf"),
    _format("Matroska or WebM", rb"\x1aE\xdf\xa3", "matroska"),
    _format("AMR", rb"#!AMR", "amr"),
    _format("CAF", rb"caff", "caf"),
    _format("AU", rb"\.snd|dns\.", "au"),
    _format("Wave64", rb"riff", "w64"),
    _format("big-endian WAV", rb"RIFX", "wav"),
    _format("AVI", rb"RIFF....AVI ", "avi"),
    _format("WavPack", rb"wvpk", "wv"),
    _format("Monkey's Audio", rb"MAC ", "ape"),
    _format("True Audio", rb"TTA1", "tta"),
    _format("DSF", rb"DSD ", "dsf"),
    _format("DSDIFF", rb"FRM8", "iff"),
    _format("Musepack", rb"MPCK", "mpc8"),
    _format("Musepack", rb"MP\+[\x07\x17]", "mpc"),
    _format("Flash video", rb"FLV\x01", "flv"),
    _format("MPEG transport stream", rb"G.{187}G.{187}G", "mpegts"),
    _format("RealAudio", rb"\.RMF|\.ra\xfd", None),
    _format("another IFF", rb"FORM", None),
    _format("NIST Sphere", rb"NIST", None),
    _format("Creative Voice", rb"Creative Voice", None),
    _format("MIDI", rb"MThd", None),
    _format("AAC (ADIF)", rb"ADIF", None),
)
"""Known formats that libsndfile does not decode, or that are not accepted because few people use them."""
SHORT = (
    _format("AAC (ADTS)", rb"\xff[\xf0\xf1\xf8\xf9]", "aac"),
    _format("MPEG layer 2", rb"\xff[\xfc\xfd\xf4\xf5]", "mp3"),
    _format("AC-3", rb"\x0bw", "ac3"),
)
"""Formats with a mark of two bytes, which may also begin the rest of an MP3 frame."""


def segments(view: FileView, seconds: float) -> Iterator[Segment]:
    """The segments of a file, at least one, as far as `seconds` from the start need.

    Raises `AudioRejected` with `empty`, `not_audio` or `codec_refused`, or with `decode_failed` if a header
    is incomplete.
    """
    if not view.size:
        raise AudioRejected(AudioReason.EMPTY)
    start = end_of_tags(view, 0)
    try:
        yield from _segments(view, start, view.read(start, _HEAD), seconds)
    except (struct.error, IndexError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, "the header is incomplete") from err


def _segments(view: FileView, start: int, head: bytes, seconds: float) -> Iterator[Segment]:
    """The segments of a file whose tags end at `start`, where `head` is."""
    if known := _first(_READ, head):
        yield from _read(known, view, start, seconds)
        return
    _refuse(OTHERS, head, start)
    for found in (mpeg.segments(view, start, seconds), mpeg.free_format(view, start)):
        is_mp3 = False
        for segment in found:
            is_mp3 = True
            yield segment
        if is_mp3:
            return
    _refuse(SHORT, head, start)
    # Zeros, junk, or a tag of a wrong size.
    for position in view.matches(_EMBEDDED, 0, min(view.size, _SEARCHED)):
        if known := _first(_READ, view.read(position, _HEAD)):
            for segment in _read(known, view, position, seconds):
                yield dataclasses.replace(segment, is_file=False)
            return
    raise AudioRejected(AudioReason.NOT_AUDIO, f"the first bytes are {head[:12]!r}")


def _read(known: Format, view: FileView, start: int, seconds: float) -> Iterator[Segment]:
    is_first = True
    try:
        for segment in known.read(view, start, seconds):
            yield segment
            is_first = False
    except AudioRejected as err:
        if err.reason is AudioReason.CODEC_REFUSED and is_first:
            raise NotSupported(err.detail, known.demuxer, start) from err
        raise


def _first(formats: tuple[Format, ...], head: bytes) -> Format | None:
    """The format of a file that begins with `head`."""
    return next((known for known in formats if known.start.match(head)), None)


def _refuse(formats: tuple[Format, ...], head: bytes, start: int) -> None:
    if known := _first(formats, head):
        raise NotSupported(known.name, known.demuxer, start)
