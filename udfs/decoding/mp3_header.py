"""Headers of MP3 files, and their number of samples."""

import os
import struct
from dataclasses import dataclass

from genremill.udfs.decoding.codec import Codec, Header

MAX_FRAMES = 250_000
"""Most frames of an MP3 that are counted one by one if no header declares them: 1.8 hours at 44.1 kHz."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True)
class _Frame:
    """The header of one frame of MPEG audio, layer 3."""

    version: int
    sr: int
    channels: int
    length: int
    samples: int


def _frame(head: bytes) -> _Frame | None:
    """A frame header from its four bytes; None if they are not a frame header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate == 3 or kbps in (0, 15):
        return None
    sr, samples = _RATES[version][rate], 1152 if version == 3 else 576
    length = samples // 8 * 1000 * _KBPS[version == 3][kbps] // sr + (head[2] >> 1 & 1)
    return _Frame(version, sr, 1 if head[3] >> 6 == 3 else 2, length, samples)


def read_mp3(fd: int, start: int, size: int) -> Header | None:
    """The header of an MP3; None if the first frame is not followed by a second one.

    The number of frames comes from libsndfile if there is a Xing header, or else from counting them.
    """
    head = os.pread(fd, 256, start)
    first = _frame(head[:4])
    if first is None:
        return None
    second = _frame(os.pread(fd, 4, start + first.length))
    if start + first.length < size and (second is None or second.sr != first.sr):
        return None
    side = {(3, 2): 32, (3, 1): 17}.get((first.version, first.channels), 17 if first.channels == 2 else 9)
    tag, flags = struct.unpack_from(">4sI", head, 4 + side)
    counted = tag in (b"Xing", b"Info") and flags & 1
    return Header(Codec.MP3, first.sr, first.channels, None if counted else _samples(fd, start, size))


def _samples(fd: int, start: int, size: int) -> int | None:
    """Samples of an MP3, from the headers of all frames; None if other data follows them.

    libsndfile would use the bit rate of the first frame for all frames. If the bit rate is not constant, the
    result can be wrong by a factor of several.
    """
    samples, position = 0, start
    for _ in range(MAX_FRAMES):
        head = os.pread(fd, 4, position)
        frame = _frame(head)
        if frame is None:
            return samples if len(head) < 4 or head[:3] == b"TAG" or head == b"APET" else None
        position += frame.length
        samples += frame.samples if position <= size else 0
    return None
