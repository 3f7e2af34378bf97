"""The segments of FLAC files: FLAC streams that follow each other."""

import re
import struct
from collections.abc import Iterator

from genremill.udfs.decoding.segments import Codec, FileView, Segment

_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")
"""The marker, and the header of STREAMINFO."""


def segments(view: FileView, start: int, seconds: float) -> Iterator[Segment]:
    """The segments of a FLAC file that begins at `start`, as far as `seconds` need."""
    position: int | None = start
    left = seconds
    while position is not None:
        sr, channels, frames = _stream_info(view.read(position, 42))
        end = None
        if frames is None or frames < left * sr:
            end = next(view.matches(_START, position + 42, view.size), None)
        left -= (frames or 0) / sr if sr else 0
        pieces = ((position, view.size if end is None else end),)
        is_file = position == start and end is None
        yield Segment(Codec.FLAC, sr, channels, frames, is_file, pieces)
        position = end


def _stream_info(head: bytes) -> tuple[int, int, int | None]:
    """Rate, channels and frames: 20 bits, 3 bits, (5 bits of sample size,) 36 bits; 0 frames: unknown."""
    (packed,) = struct.unpack_from(">Q", head, 18)
    return packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1 or None
