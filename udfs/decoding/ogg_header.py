"""Headers of OGG Vorbis and Opus, and the length of their streams."""

import os
import struct

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.codec import Codec, Header

_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page."""
_HEAD_PAGES = 1000
"""Most pages of comments and pictures before the first page with audio."""
_FIRST_SECONDS = 10
"""The first page with audio ends before this time if the stream begins at frame 0."""


def read_ogg(fd: int, start: int, size: int) -> Header:
    """The header in the first packet of the first page, after the table of segments."""
    page = os.pread(fd, 512, start)
    packet = page[27 + page[26] :]
    if packet.startswith(b"\x01vorbis"):
        channels, sr = struct.unpack_from("<BI", packet, 11)
        return Header(Codec.VORBIS, sr, channels, _frames(fd, start, size, sr))
    if packet.startswith(b"OpusHead"):
        (skipped,) = struct.unpack_from("<H", packet, 10)
        frames = _frames(fd, start, size, 48000)
        return Header(Codec.OPUS, 48000, packet[9], frames and max(0, frames - skipped))
    raise AudioRejected(AudioReason.CODEC_REFUSED, f"an OGG stream that begins with {packet[:8]!r}")


def _frames(fd: int, start: int, size: int, sr: int) -> int | None:
    """Frames up to the end of the last page, even if it is damaged; None if there is no such page.

    Decoders skip damaged pages, so with damaged pages at the end a file would look shorter. A stream that was
    recorded from the radio begins at any frame; only the frames after its first page with audio count.
    """
    serial = os.pread(fd, 4, start + 14)
    first, position = 0, start
    for _ in range(_HEAD_PAGES):
        page = os.pread(fd, 27 + 255, position)
        first = _position(page, 0, serial)
        if first > 0 or len(page) < 27:
            break
        position += 27 + page[26] + sum(page[27 : 27 + page[26]])
    tail = os.pread(fd, 2 * _PAGE, max(start, size - 2 * _PAGE))
    page_start = len(tail)
    while first > 0 and (page_start := tail.rfind(b"OggS", 0, page_start)) >= 0:
        if (last := _position(tail, page_start, serial)) > 0:
            return last if first < _FIRST_SECONDS * sr else last - first
    return None


def _position(data: bytes, start: int, serial: bytes) -> int:
    """Frames up to the end of a page; -1 if no frame ends in it, or if it is not a page of the stream."""
    page = data[start : start + 27]
    if len(page) < 27 or page[:4] != b"OggS" or page[14:18] != serial:
        return -1
    return int.from_bytes(page[6:14], "little", signed=True)
