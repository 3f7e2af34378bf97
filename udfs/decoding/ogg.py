"""The segments of OGG files: streams that follow each other, each with its own headers.

Decoders stop at the end of the first stream. Files that were joined have several, and so have recordings of
web radio.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.segments import Codec, FileView, Segment
from genremill.udfs.decoding.tags import end_of_tags

_PAGE = re.compile(rb"OggS\0[\0-\x07]")
_HEADER, _LONGEST_TABLE = 27, 255
_FIRST_SECONDS = 10
"""The first page with audio ends before this time if the stream begins at frame 0."""


class _Page(NamedTuple):
    """The header of a page."""

    start: int
    end: int
    begins: bool
    """Whether it is the first page of its stream."""
    ends: bool
    """Whether it is the last page of its stream."""
    frame: int
    """Frames of the stream up to the end of the page; -1 if no frame ends in it."""
    serial: int
    packet: bytes
    """The start of its data."""


class _Stream:
    """A stream while its pages are read; other streams may be mixed with it."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.packets: dict[int, bytes] = {}
        """How the first packet of each of the mixed streams begins, by serial number."""
        self.decoded: int | None = None
        """Serial number of the first stream with Vorbis or Opus."""
        self.codec, self.sr, self.channels, self.skipped = Codec.VORBIS, 0, 0, 0
        self.first = self.last = 0
        """Frames up to the end of the first and of the last page with audio."""
        self.lost = 0
        """Bytes after the last page that belong to no page, or to a stream without a beginning."""
        self.has_data = self.has_ended = False

    def add(self, page: _Page) -> None:
        """Includes a page."""
        if page.begins:
            self._begin(page.serial, page.packet)
            return
        self.has_data = True
        if page.serial == self.decoded:
            self.end, self.has_ended = page.end, page.ends
            if page.frame > 0:
                self.first, self.last, self.lost = self.first or page.frame, page.frame, 0
        elif page.serial not in self.packets:
            self.lost += page.end - page.start

    def _begin(self, serial: int, packet: bytes) -> None:
        self.packets[serial] = packet[:8]
        if self.decoded is None and packet.startswith(b"\x01vorbis"):
            self.channels, self.sr = struct.unpack_from("<BI", packet, 11)
            self.codec, self.decoded = Codec.VORBIS, serial
        elif self.decoded is None and packet.startswith(b"OpusHead"):
            self.channels, self.skipped = struct.unpack_from("<BH", packet, 9)
            self.codec, self.decoded, self.sr = Codec.OPUS, serial, 48000

    @property
    def frames(self) -> int:
        """Frames up to the end of the last page, even if pages before it are damaged.

        A stream that was recorded from the radio begins at any frame; only the frames after its first page
        with audio count.
        """
        begins_at_zero = self.first < _FIRST_SECONDS * self.sr
        return max(0, self.last - self.skipped - (0 if begins_at_zero else self.first))

    def segment(self, *, is_file: bool) -> Segment:
        """The segment; raises `AudioRejected` if it holds neither Vorbis nor Opus."""
        if self.decoded is None:
            found = " and ".join(repr(packet) for packet in self.packets.values())
            raise AudioRejected(AudioReason.CODEC_REFUSED, f"an OGG stream that begins with {found}")
        frames = self.frames + self.lost * self.frames // max(1, self.end - self.start)
        pieces = ((self.start, self.end),)
        return Segment(self.codec, self.sr, self.channels, frames if self.last else None, is_file, pieces)


def segments(view: FileView, start: int, seconds: float) -> Iterator[Segment]:
    """The segments of an OGG file that begins at `start`, as far as `seconds` need."""
    stream, position, left, is_file = _Stream(start), start, seconds, True
    while page := _next_page(view, position, stream):
        if page.begins and stream.has_data:
            done = stream.segment(is_file=False)
            left -= (done.frames or 0) / done.sr if done.sr else 0
            yield done
            stream, is_file = _Stream(page.start), False
        stream.add(page)
        position = page.end
        if stream.frames > left * stream.sr:
            break
    yield stream.segment(is_file=is_file)


def starts(view: FileView, start: int) -> Iterator[int]:
    """Where the streams begin that follow each other, also those of unknown codecs."""
    position, stream, begins = start, _Stream(start), False
    while page := _next_page(view, position, stream):
        if page.begins and not begins:
            yield page.start
        position, begins = page.end, page.begins


def _next_page(view: FileView, position: int, stream: _Stream) -> _Page | None:
    """The first page from `position` on; None at the end of the file."""
    start: int | None = position
    if view.read(position, 4) != b"OggS":
        tags_end = end_of_tags(view, position)
        start = next(view.matches(_PAGE, tags_end, view.size), None)
        if not stream.has_ended:
            stream.lost += max(0, (view.size if start is None else start) - tags_end)
    head = b"" if start is None else view.read(start, 512)
    if start is None or len(head) < _HEADER:
        return None
    flags, frame, serial = struct.unpack_from("<5xBqI", head)
    data = _HEADER + head[26]
    end = start + data + sum(head[_HEADER:data])
    return _Page(start, min(end, view.size), bool(flags & 2), bool(flags & 4), frame, serial, head[data:])
