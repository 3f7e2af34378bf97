"""The segments of MP3 files, from the headers of all frames.

An MP3 has no header for the whole file. The number of frames that its first frame can hold (Xing, VBRI) is
wrong if files were joined, and decoders stop there; without it they guess. So the frames are counted.
"""

import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from genremill.udfs.decoding.segments import Codec, FileView, Range, Segment
from genremill.udfs.decoding.tags import end_of_tags

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_THIRD_BYTES = bytes(byte for byte in range(256) if byte >> 4 not in (0, 15) and byte >> 2 & 3 != 3)
_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][" + re.escape(_THIRD_BYTES) + rb"]")
_SEARCHED = 16 << 20
"""Bytes in which the first frame is searched; pictures in tags of a wrong size are smaller."""
_CONFIRMED = 3
"""Frames in a row that cannot be a coincidence: random bytes look like them once in 10^14 bytes."""
_MARGIN_S = 0.5
"""Seconds to count beyond the requested ones, because decoders drop samples at both ends of a segment."""
_DECODER_DELAY = 529
"""Samples of delay of every decoder."""
_RESYNC = 1024
"""Bytes without frames over which decoders search for the next frame."""
_CHUNK = 1 << 16
_MOST_TAG = 200
"""Bytes from the start of a frame to the end of its tag."""
_V, _VBRI = ord("V"), 36
"""Where the tag of Fraunhofer's encoder is in a frame."""


class _Format(NamedTuple):
    """What all frames of a segment have in common."""

    version: int
    sr: int
    channels: int

    @property
    def samples(self) -> int:
        """Samples per channel and frame."""
        return 1152 if self.version == 3 else 576

    @property
    def xing(self) -> int:
        """Where the Xing tag is in a frame: behind its side information."""
        return 4 + {(3, 2): 32, (3, 1): 17}.get((self.version, self.channels), 8 * self.channels + 1)


class _Frame(NamedTuple):
    """The header of one frame of MPEG audio, layer 3."""

    length: int
    format: _Format


class _Tag(NamedTuple):
    """What a frame without audio, the first of a file, says about the others."""

    frames: int | None
    size: int | None
    """Bytes of the file, without tags."""
    dropped: int
    """Samples that decoders drop at both ends."""
    is_xing: bool
    """Whether decoders use it: they ignore VBRI."""


@dataclass
class _Growing:
    """A segment while its frames are being counted."""

    format: _Format
    tag: _Tag | None
    first_end: int
    """Where its first frame ends."""
    frames: int = 0
    """Number of frames with audio."""
    lost: int = 0
    """Bytes between and after the frames that are neither frames nor tags."""
    pieces: list[Range] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.frames * self.format.samples / self.format.sr

    def segment(self, view: FileView, *, is_file: bool, is_whole: bool) -> Segment:
        """The segment; `is_whole` if all of its frames were counted."""
        size = sum(end - start for start, end in self.pieces)
        expected = self.frames + (self.lost * self.frames // size if is_whole else 0)
        declared = self._declared(expected, size, is_whole)
        pieces, prefix = list(self.pieces), b""
        if self.tag is None or declared is None or not self.tag.is_xing:
            if self.tag:
                pieces[0] = (self.first_end, pieces[0][1])
            prefix = _frame_with_count(view.read(self.pieces[0][0], 4), declared or expected)
        dropped = self.tag.dropped if self.tag and declared else 0
        frames = max(0, (declared or expected) * self.format.samples - dropped)
        codec, sr, channels = Codec.MP3, self.format.sr, self.format.channels
        return Segment(codec, sr, channels, frames, is_file, tuple(pieces), prefix)

    def _declared(self, expected: int, size: int, is_whole: bool) -> int | None:
        """The number of frames that the tag declares; None if it is wrong.

        It is wrong if there are more frames, or if fewer frames have all the bytes that the tag declares.
        """
        if self.tag is None or self.tag.frames is None or self.tag.frames < self.frames:
            return None
        has_all_bytes = self.tag.size is not None and self.tag.size <= size + self.lost
        return None if is_whole and has_all_bytes and self.tag.frames > expected + 1 else self.tag.frames


def segments(view: FileView, start: int, seconds: float) -> Iterator[Segment]:
    """The segments of an MP3 after its tags, as far as `seconds` need; none if it is not an MP3."""
    position = _first(view, start)
    is_file, growing, yielded_s = position == start, None, 0.0
    while position is not None:
        left = seconds + _MARGIN_S - yielded_s - (growing.seconds if growing else 0.0)
        run = _run(view, position, left)
        if growing and (run.tag or run.format != growing.format):
            done = growing.segment(view, is_file=False, is_whole=True)
            yielded_s += (done.frames or 0) / done.sr
            yield done
            growing, is_file = None, False
        if growing is None:
            growing = run
        else:
            growing.frames += run.frames
            growing.pieces += run.pieces
        if yielded_s + growing.seconds >= seconds + _MARGIN_S:
            break
        position, lost = _next(view, growing.pieces[-1][1])
        growing.lost += lost
        is_file = is_file and lost <= _RESYNC
    if growing:
        yield growing.segment(view, is_file=is_file, is_whole=position is None)


def free_format(view: FileView, start: int) -> Iterator[Segment]:
    """The segment of an MP3 whose frames have one length that no header declares; none if it is not one."""
    data = view.read(start, _CHUNK)
    if data[2:3] == b"" or data[2] >> 4:
        return
    frame = _frame(bytes((*data[:2], data[2] | 0x10, *data[3:4])))  # with any bit rate
    if frame is None:
        return
    kind = frame.format

    def is_header(at: int) -> bool:
        same = data[at : at + 2] == data[:2] and len(data) > at + 2
        return same and data[at + 2] & 0xFD == data[2] & 0xFD  # all but the padding

    starts = (at for at in range(kind.xing, 4096) if is_header(at))
    length = next((at for at in starts if is_header(2 * at) or is_header(2 * at + 1)), None)
    if length is not None:
        frames = (view.size - start) // length * kind.samples
        yield Segment(Codec.MP3, kind.sr, kind.channels, frames, pieces=((start, view.size),))


def _first(view: FileView, start: int) -> int | None:
    """Where the first frame is: usually directly after the tags."""
    if _is_start(view, start, least=1):
        return start
    for begin in (start, 0):  # from 0 if the size of a tag is too large
        for position in view.matches(_FRAME, begin, min(begin + _SEARCHED, view.size)):
            if _is_start(view, position):
                return position
    return None


def _next(view: FileView, end: int) -> tuple[int | None, int]:
    """Where the frames go on after some frames and tags, and the number of bytes that are neither."""
    position = end_of_tags(view, end)
    if _is_start(view, position):
        return position, 0
    for found in view.matches(_FRAME, position, view.size):
        if _is_start(view, found):
            return found, found - position
    return None, max(0, view.size - position)


def _is_start(view: FileView, position: int, least: int = 2) -> bool:
    """Whether frames of one format begin at a position: three, or at least `least` at the end of the file."""
    kind = None
    for count in range(_CONFIRMED):
        frame = _frame(view.read(position, 4))
        if frame is None or (kind and frame.format != kind):
            at_end = position >= view.size or end_of_tags(view, position) > position
            return count >= least and at_end
        kind = frame.format
        position += frame.length
    return True


def _run(view: FileView, start: int, seconds: float) -> _Growing:
    """The frames of one format that follow each other from `start` on, as many as `seconds` need."""
    first = _frame(view.read(start, 4))
    if first is None:
        raise ValueError(f"no frame at byte {start}")
    kind, tag = first.format, _tag(view.read(start, _MOST_TAG), first.format)
    position, frames, most = start + first.length, 1, seconds * kind.sr / kind.samples + 1
    lengths: dict[bytes, int] = {}
    has_ended = False
    while frames < most and not has_ended:
        data = view.read(position, _CHUNK).ljust(_CHUNK, b"\0")
        length, count, has_ended = _follow(data, view.size - position, kind, most - frames, lengths)
        position += length
        frames += count
    end = min(position, view.size)
    return _Growing(kind, tag, start + first.length, frames - (tag is not None), 0, [(start, end)])


def _follow(
    data: bytes, size: int, kind: _Format, most: float, lengths: dict[bytes, int]
) -> tuple[int, int, bool]:
    """Bytes and number of the frames at the start of `data`, and whether something else follows them.

    This is the loop over all frames, 0.5 ms for 30 s. `size` are the bytes up to the end of the file;
    `lengths` keeps the length of a frame by its header, 0 for another format.
    """
    at, frames, xing = 0, 0, kind.xing
    while at < len(data) - _MOST_TAG and frames < most:
        head = data[at : at + 4]
        length = lengths.get(head)
        if length is None:
            frame = _frame(head)
            length = lengths[head] = frame.length if frame and frame.format == kind else 0
        if not length or at + length > size:
            return at, frames, True
        may_be_tag = data[at + xing] in b"XI" or data[at + _VBRI] == _V
        if may_be_tag and _tag(data[at : at + _MOST_TAG], kind):
            return at, frames, True  # the first frame of another file
        at += length
        frames += 1
    return at, frames, False


@functools.lru_cache(maxsize=1024)
def _frame(head: bytes) -> _Frame | None:
    """A frame header from its four bytes; None if they are not a frame header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate == 3 or kbps in (0, 15):
        return None
    kind = _Format(version, _RATES[version][rate], 1 if head[3] >> 6 == 3 else 2)
    length = kind.samples // 8 * 1000 * _KBPS[version == 3][kbps] // kind.sr + (head[2] >> 1 & 1)
    return _Frame(length, kind)


def _tag(head: bytes, kind: _Format) -> _Tag | None:
    """The counts in the first bytes of a frame; None if it holds audio."""
    name = head[kind.xing : kind.xing + 4]
    if name in (b"Xing", b"Info") and not any(head[4 : kind.xing]):
        return _xing(head[kind.xing :])
    if head[_VBRI : _VBRI + 4] == b"VBRI" and not any(head[4:_VBRI]):
        size, frames = struct.unpack_from(">II", head, _VBRI + 10)
        return _Tag(frames, size, 0, is_xing=False)
    return None


def _xing(tag: bytes) -> _Tag:
    (flags,) = struct.unpack_from(">I", tag, 4)
    at = 8
    counts: list[int | None] = [None, None]
    for number in range(2):
        if flags >> number & 1:
            (counts[number],) = struct.unpack_from(">I", tag, at)
            at += 4
    at += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    lame = tag[at : at + 24]
    packed = int.from_bytes(lame[21:24], "big") if lame[:1] != b"\0" else 0
    delay, padding = packed >> 12, packed & 0xFFF
    return _Tag(counts[0], counts[1], delay + max(padding, _DECODER_DELAY), is_xing=True)


def _frame_with_count(head: bytes, frames: int) -> bytes:
    """A first frame that declares a number of frames, for decoders that would guess it."""
    head = bytes([0xFF, head[1] | 1, head[2] & 0x0C | 0xE0, head[3]])  # no checksum, the highest bit rate
    frame = _frame(head)
    if frame is None:
        raise ValueError(f"{head!r} is not the header of a frame")
    tag = b"Info" + struct.pack(">II", 1, frames)
    return (head + bytes(frame.format.xing - 4) + tag).ljust(frame.length, b"\0")
