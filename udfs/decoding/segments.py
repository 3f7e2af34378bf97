"""The segments of an audio file: the parts that a decoder has to read one after the other.

Most files are one segment. Files that were joined have one segment for each original file. A change of sample
rate or channels inside an MP3 starts a segment, too.
"""

import bisect
import enum
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_WINDOW = 1 << 18
"""Bytes that `FileView` reads at once."""
_LONGEST_MATCH = 64

Range: TypeAlias = tuple[int, int]
"""Start and end of a range of bytes in a file."""


class Codec(enum.StrEnum):
    """A format that libsndfile decodes; its value is `container/codec`."""

    WAV = "wav/pcm"
    AIFF = "aiff/pcm"
    FLAC = "flac/flac"
    MP3 = "mp3/layer3"
    VORBIS = "ogg/vorbis"
    OPUS = "ogg/opus"


@dataclass(frozen=True)
class Segment:
    """What the bytes of a segment say, before any check against a budget."""

    codec: Codec
    sr: int
    """Sample rate in Hz; 48,000 for Opus, which decodes at this rate or a fraction of it."""
    channels: int
    frames: int | None
    """Samples per channel that the segment should have, including damaged and missing ones; None if it does
    not say. If only the start of a file was examined, at least the requested seconds."""
    is_file: bool = True
    """Whether a decoder that reads the file as it is finds the start of this segment."""
    pieces: tuple[Range, ...] = ()
    """Where the segment is in the file; empty if it cannot be separated from the file."""
    prefix: bytes = b""
    """Bytes to read before `pieces`: a correct header, if the file has none."""


class FileView:
    """Random access to the bytes of a file; the position of its descriptor does not change."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size
        self._start = 0
        self._window = b""

    def read(self, position: int, length: int) -> bytes:
        """The bytes at a position; fewer at the end of the file."""
        start = position - self._start
        if not 0 <= start <= len(self._window) - length:
            self._window = os.pread(self.fd, max(length, _WINDOW), position)
            self._start, start = position, 0
        return self._window[start : start + length]

    def matches(self, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[int]:
        """The positions from `start` to `end` where a pattern for a few bytes matches, in order."""
        while start < end:
            length = min(_WINDOW, end - start)
            data = os.pread(self.fd, length + _LONGEST_MATCH, start)
            for match in pattern.finditer(data):
                if match.start() < length:
                    yield start + match.start()
            start += length


class SplicedFile(io.RawIOBase):
    """A file that consists of some bytes and of ranges of another file; it copies nothing."""

    def __init__(self, fd: int, pieces: tuple[Range, ...], prefix: bytes = b"") -> None:
        self._fd, self._pieces, self._prefix = fd, pieces, prefix
        self._starts: list[int] = []
        self._size, self._position = len(prefix), 0
        for start, end in pieces:
            self._starts.append(self._size)
            self._size += end - start

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to another position, and returns it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Reads as many bytes as there are, up to the length of the buffer; returns their number."""
        out, filled = memoryview(buffer).cast("B"), 0
        while filled < len(out) and self._position < self._size:
            count = self._read_piece(out[filled:])
            if not count:  # the file became shorter
                break
            self._position += count
            filled += count
        return filled

    def _read_piece(self, out: memoryview) -> int:
        """Reads to the end of the piece at the position at most."""
        if self._position < len(self._prefix):
            data = self._prefix[self._position : self._position + len(out)]
            out[: len(data)] = data
            return len(data)
        index = bisect.bisect_right(self._starts, self._position) - 1
        start, end = self._pieces[index]
        position = start + self._position - self._starts[index]
        return os.preadv(self._fd, [out[: end - position]], position)
