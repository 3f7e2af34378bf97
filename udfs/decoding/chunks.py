"""The segments of WAV and AIFF files, which consist of chunks: one file, or several that were joined."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.segments import Codec, FileView, Segment
from genremill.udfs.decoding.tags import end_of_tags

_MOST_CHUNKS = 1000
"""Most chunks of a file before and after its samples."""
_UNKNOWN_SIZE = 0x7FFF0000
"""WAV data sizes from here on are placeholders of a writer that could not seek back (ffmpeg, sox)."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_FILE = re.compile(rb"(?:RIFF|RF64)[\0-\xff]{4}WAVE|FORM[\0-\xff]{4}AIF[FC]")
_NAME = re.compile(rb"[ -~]{4}")
_AIFF_CODECS = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64", b"raw ")


class _Samples(NamedTuple):
    """What the chunks of a file say about its samples."""

    sr: int
    channels: int
    frame_bytes: int
    frames: int
    start: int
    end: int
    header: bytes = b""
    """A header that declares the size of the samples, if the file has none that libsndfile can use."""


def wav_segments(view: FileView, start: int, _seconds: float) -> Iterator[Segment]:
    """The segments of a WAV or RF64 file that begins at `start`."""
    yield from _segments(view, start, Codec.WAV)


def aiff_segments(view: FileView, start: int, _seconds: float) -> Iterator[Segment]:
    """The segments of an AIFF or AIFC file that begins at `start`."""
    yield from _segments(view, start, Codec.AIFF)


def _segments(view: FileView, start: int, codec: Codec) -> Iterator[Segment]:
    read, order = (_wav, "<") if codec is Codec.WAV else (_aiff, ">")
    position: int | None = start
    while position is not None:
        samples = read(view, position)
        following, lost = _next_file(view, samples.end, order)
        frames = samples.frames + (lost // samples.frame_bytes if samples.frame_bytes else 0)
        if samples.header:
            pieces = ((samples.start, samples.end),)
        else:
            pieces = ((position, view.size if following is None else following),)
        is_file = position == start and following is None and not samples.header
        yield Segment(codec, samples.sr, samples.channels, frames, is_file, pieces, samples.header)
        position = following


def _next_file(view: FileView, end: int, order: str) -> tuple[int | None, int]:
    """Where a file begins that was joined to this one, and the bytes before it that belong to no chunk."""
    position = end
    for _ in range(_MOST_CHUNKS):
        position = end_of_tags(view, position)
        # A chunk of odd length should be followed by a zero, but some writers forget it.
        after = _after_chunk(view, position, order) or _after_chunk(view, position + 1, order)
        if after is None:
            break
        position = after
    if position + 1 >= view.size:
        return None, 0
    following = next(view.matches(_FILE, position, view.size), None)
    return following, (view.size if following is None else following) - position


def _after_chunk(view: FileView, position: int, order: str) -> int | None:
    """Where a chunk ends, before its padding; None if there is no whole chunk, or if a file begins here."""
    head = view.read(position, 12)
    if len(head) < 8 or not _NAME.match(head) or _FILE.match(head):
        return None
    (size,) = struct.unpack_from(f"{order}I", head, 4)
    end: int = position + 8 + size
    return end if end <= view.size else None


def _chunks(view: FileView, start: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk of a file; raises `AudioRejected` if there are too many."""
    position = start + 12
    for _ in range(_MOST_CHUNKS):
        name, size = struct.unpack(f"{order}4sI", view.read(position, 8))
        yield name, position + 8, size
        position += 8 + size + size % 2
    raise AudioRejected(AudioReason.DECODE_FAILED, f"no samples after {_MOST_CHUNKS} chunks")


def _wav(view: FileView, start: int) -> _Samples:
    """The chunk `fmt `, and the size that `data` (or `ds64`) declares."""
    sr = channels = frame_bytes = 0
    form, long_size = b"", None
    for name, position, size in _chunks(view, start, "<"):
        if name == b"ds64":
            (long_size,) = struct.unpack("<8xQ", view.read(position, 16))
        elif name == b"fmt " and not frame_bytes:
            form = view.read(position, min(size, 40))
            sr, channels, frame_bytes = _wav_format(form)
        elif name == b"data":
            break
    header = b""
    if size == 0xFFFFFFFF and long_size and long_size < 1 << 62:
        size = long_size
    elif size >= _UNKNOWN_SIZE or (not size and _next_file(view, position, "<")[1]):
        end = next(view.matches(_FILE, position, view.size), view.size)
        if size < _UNKNOWN_SIZE or end < view.size or long_size is not None:
            header = _wav_header(form, end - position)
        size = end - position
    frames = size // frame_bytes if frame_bytes else 0
    return _Samples(sr, channels, frame_bytes, frames, position, position + size, header)


def _wav_format(form: bytes) -> tuple[int, int, int]:
    """Rate, channels and bytes per frame from a chunk `fmt `."""
    tag, channels, sr, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE:
        tag, tail = struct.unpack_from("<H14s", form, 24)
        tag = tag if tail == _SUBFORMAT_TAIL else _EXTENSIBLE
    if (tag, bits) not in {*((_PCM, b) for b in (8, 16, 24, 32)), (_FLOAT, 32), (_FLOAT, 64)}:
        raise AudioRejected(AudioReason.CODEC_REFUSED, f"WAV format {tag:#06x} with {bits} bits")
    return sr, channels, channels * bits // 8


def _wav_header(form: bytes, size: int) -> bytes:
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(body) + size) + body


def _aiff(view: FileView, start: int) -> _Samples:
    """The chunks `COMM` and `SSND`."""
    sr = channels = frame_bytes = frames = 0
    for name, position, size in _chunks(view, start, ">"):
        if name == b"COMM":
            head = view.read(position, min(size, 22))
            channels, frames, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", head)
            if (codec := head[18:22] or b"NONE") not in _AIFF_CODECS:
                raise AudioRejected(AudioReason.CODEC_REFUSED, f"AIFF with the codec {codec!r}")
            sr = mantissa >> min(16383 + 63 - exponent, 64) if exponent <= 16383 + 63 else 0
            frame_bytes = channels * -(-bits // 8)
        elif name == b"SSND":
            break
    return _Samples(sr, channels, frame_bytes, frames, position, position + size)
