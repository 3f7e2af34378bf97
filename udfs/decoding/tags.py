"""Tags (ID3, APE, Lyrics3) at the start, at the end and between the parts of an audio file."""

import re

from genremill.udfs.decoding.segments import FileView

_ID3V1_BYTES, _EXTENDED_ID3V1_BYTES = 128, 227
_APE_HEADER = 32
_LYRICS_END = re.compile(rb"LYRICS200|LYRICSEND")
_MOST_LYRICS = 1 << 20


def end_of_tags(view: FileView, position: int) -> int:
    """Where the tags end that begin at a position; the position itself if no tag begins there."""
    while (end := _end_of_tag(view, position)) > position:
        position = end
    return position


def _end_of_tag(view: FileView, position: int) -> int:
    head = view.read(position, _APE_HEADER)
    if head[:3] == b"ID3" and len(head) >= 10:
        footer = 10 if head[5] & 0x10 else 0
        return position + 10 + footer + _id3_size(head[6:10])
    if head[:8] == b"APETAGEX" and len(head) == _APE_HEADER:
        is_header = head[23] & 0x20
        return position + _APE_HEADER + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head[:4] == b"TAG+":
        return position + _EXTENDED_ID3V1_BYTES
    if head[:3] == b"TAG":
        return position + _ID3V1_BYTES
    if head[:11] == b"LYRICSBEGIN":
        last = min(position + _MOST_LYRICS, view.size)
        return next((end + 9 for end in view.matches(_LYRICS_END, position, last)), position)
    return position


def _id3_size(size: bytes) -> int:
    """Bytes after the first ten of an ID3v2 tag: seven bits per byte, but some writers use all eight."""
    if max(size) < 0x80:
        return size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3]
    return int.from_bytes(size, "big")
