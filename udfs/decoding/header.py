"""The header of an audio file (codec, rate, channels, frames), read before a decoder runs.

Only these formats are accepted: WAV (PCM of 8 to 32 bits, float, double; RF64 too), FLAC, MP3, OGG Vorbis and
Opus. Decoders of other containers and codecs have more vulnerabilities. File names and media types do not
matter.
"""

import enum
import os
import struct
from dataclasses import dataclass
from typing import NamedTuple

from genremill.infra.audio.faults import AudioReason, AudioRejected

_PARTS = 1000
"""Most chunks of a RIFF file, or pages of an OGG file, before the audio."""
_UNKNOWN_SIZE = 0x7FFF0000
"""RIFF data sizes from here on are placeholders of a writer that could not seek back (ffmpeg, sox)."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_REFUSED = {
    b"FORM": "AIFF or another IFF",
    b"FRM8": "DSDIFF",
    b"caff": "CAF",
    **dict.fromkeys((b".snd", b"dns."), "AU"),
    b"riff": "Wave64",
    b"RIFX": "big-endian WAV",
    b"MThd": "MIDI",
    b"wvpk": "WavPack",
    b"MAC ": "Monkey's Audio",
    b"TTA1": "True Audio",
    b"DSD ": "DSF",
    **dict.fromkeys((b"MPCK", b"MP+\x07"), "Musepack"),
    b"NIST": "NIST Sphere",
    b"Crea": "Creative Voice",
    b"#!AM": "AMR",
    b"0&\xb2u": "ASF or WMA",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    **dict.fromkeys((b"\xff\xf1", b"\xff\xf9"), "AAC"),
    **dict.fromkeys((b"\xff\xfc", b"\xff\xfd", b"\xff\xf4", b"\xff\xf5"), "MPEG layer 2"),
}
"""First bytes of known audio formats that are not accepted."""
_MP3_FRAMES = 250_000
"""Most frames of an MP3 that are counted one by one if no header declares them: 1.8 hours at 44.1 kHz."""
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page."""
_FIRST_SECONDS = 10
"""The first page with audio ends before this time if the stream begins at frame 0."""


class Codec(enum.StrEnum):
    """A supported format; its value is `container/codec`."""

    WAV = "wav/pcm"
    FLAC = "flac/flac"
    MP3 = "mp3/layer3"
    VORBIS = "ogg/vorbis"
    OPUS = "ogg/opus"


@dataclass(frozen=True)
class AudioHeader:
    """The declarations of a header, before any check against a budget."""

    codec: Codec
    sr: int
    """Sample rate in Hz; 48,000 for Opus, which decodes at this rate or a fraction of it."""
    channels: int
    frames: int | None
    """Samples per channel; None if only libsndfile can count them."""


def read(fd: int) -> AudioHeader:
    """The header of a file; the position of the descriptor does not change.

    Raises `AudioRejected` with `empty`, `not_audio` or `codec_refused`, or with `decode_failed` if the header
    is incomplete.
    """
    if not (size := os.fstat(fd).st_size):
        raise AudioRejected(AudioReason.EMPTY)
    start = _after_id3(fd)
    magic = os.pread(fd, 12, start)
    try:
        if magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
            return _wav(fd, start, size)
        if magic[:4] == b"fLaC":
            return _flac(os.pread(fd, 42, start))
        if magic[:4] == b"OggS":
            return _ogg(fd, start, size)
        if mp3 := _mp3(fd, start, size):
            return mp3
    except (struct.error, IndexError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, "the header is incomplete") from err
    refused = "MP4" if magic[4:8] == b"ftyp" else _REFUSED.get(magic[:4]) or _REFUSED.get(magic[:2])
    if refused:
        raise AudioRejected(AudioReason.CODEC_REFUSED, refused)
    raise AudioRejected(AudioReason.NOT_AUDIO, f"the first bytes are {magic!r}")


def _after_id3(fd: int) -> int:
    """Start of the audio, after ID3v2 tags, whose length has seven bits per byte."""
    start = 0
    while (tag := os.pread(fd, 10, start))[:3] == b"ID3" and len(tag) == 10:
        footer = 10 if tag[5] & 0x10 else 0
        start += 10 + footer + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    return start


def _wav(fd: int, start: int, size: int) -> AudioHeader:
    """A RIFF/WAVE or RF64 header: `fmt `, and the size that `data` (or `ds64`) declares."""
    sr = channels = frame_bytes = 0
    long_size = None
    position = start + 12
    for _ in range(_PARTS):
        name, length = struct.unpack("<4sI", os.pread(fd, 8, position))
        if name == b"ds64":
            (long_size,) = struct.unpack("<8xQ", os.pread(fd, 16, position + 8))
        elif name == b"fmt " and not frame_bytes:
            sr, channels, frame_bytes = _wav_format(fd, position + 8)
        elif name == b"data":
            if long_size is not None and length == 0xFFFFFFFF:
                length = long_size
            elif length >= _UNKNOWN_SIZE:
                length = size - position - 8
            return AudioHeader(Codec.WAV, sr, channels, length // frame_bytes if frame_bytes else 0)
        position += 8 + length + length % 2
    raise AudioRejected(AudioReason.DECODE_FAILED, f"no samples after {_PARTS} chunks")


def _wav_format(fd: int, position: int) -> tuple[int, int, int]:
    """Rate, channels and bytes per frame of a `fmt ` chunk."""
    tag, channels, sr, _, _, bits = struct.unpack("<HHIIHH", os.pread(fd, 16, position))
    if tag == _EXTENSIBLE:
        tag, tail = struct.unpack("<H14s", os.pread(fd, 16, position + 24))
        tag = tag if tail == _SUBFORMAT_TAIL else _EXTENSIBLE
    if (tag, bits) not in {*((_PCM, b) for b in (8, 16, 24, 32)), (_FLOAT, 32), (_FLOAT, 64)}:
        raise AudioRejected(AudioReason.CODEC_REFUSED, f"WAV format {tag:#06x} with {bits} bits")
    return sr, channels, channels * bits // 8


def _flac(head: bytes) -> AudioHeader:
    """STREAMINFO: 20 bits of rate, 3 of channels, 5 of sample size, 36 of frames (0: unknown)."""
    (packed,) = struct.unpack_from(">Q", head, 18)
    return AudioHeader(Codec.FLAC, packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1 or None)


class _Mp3Frame(NamedTuple):
    """The header of one frame of MPEG audio, layer 3."""

    version: int
    sr: int
    channels: int
    length: int
    samples: int


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    """A frame header from its four bytes; None if they are not a frame header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate == 3 or kbps in (0, 15):
        return None
    sr, samples = _RATES[version][rate], 1152 if version == 3 else 576
    length = samples // 8 * 1000 * _KBPS[version == 3][kbps] // sr + (head[2] >> 1 & 1)
    return _Mp3Frame(version, sr, 1 if head[3] >> 6 == 3 else 2, length, samples)


def _mp3(fd: int, start: int, size: int) -> AudioHeader | None:
    """The header of an MP3; None if the first frame is not followed by a second one.

    The number of frames comes from libsndfile if there is a Xing header, or else from counting them.
    """
    head = os.pread(fd, 256, start)
    first = _mp3_frame(head[:4])
    if first is None:
        return None
    second = _mp3_frame(os.pread(fd, 4, start + first.length))
    if start + first.length < size and (second is None or second.sr != first.sr):
        return None
    side = {(3, 2): 32, (3, 1): 17}.get((first.version, first.channels), 17 if first.channels == 2 else 9)
    tag, flags = struct.unpack_from(">4sI", head, 4 + side)
    counted = tag in (b"Xing", b"Info") and flags & 1
    return AudioHeader(
        Codec.MP3, first.sr, first.channels, None if counted else _mp3_samples(fd, start, size)
    )


def _mp3_samples(fd: int, start: int, size: int) -> int | None:
    """Samples of an MP3, from the headers of all frames; None if other data follows them.

    libsndfile would use the bit rate of the first frame for all frames. If the bit rate is not constant, the
    result can be wrong by a factor of several.
    """
    samples, position = 0, start
    for _ in range(_MP3_FRAMES):
        head = os.pread(fd, 4, position)
        frame = _mp3_frame(head)
        if frame is None:
            return samples if len(head) < 4 or head[:3] == b"TAG" or head == b"APET" else None
        position += frame.length
        samples += frame.samples if position <= size else 0
    return None


def _ogg(fd: int, start: int, size: int) -> AudioHeader:
    """The header in the first packet of the first page, after the table of segments."""
    page = os.pread(fd, 512, start)
    packet = page[27 + page[26] :]
    if packet.startswith(b"\x01vorbis"):
        channels, sr = struct.unpack_from("<BI", packet, 11)
        return AudioHeader(Codec.VORBIS, sr, channels, _ogg_frames(fd, start, size, sr))
    if packet.startswith(b"OpusHead"):
        (skipped,) = struct.unpack_from("<H", packet, 10)
        frames = _ogg_frames(fd, start, size, 48000)
        return AudioHeader(Codec.OPUS, 48000, packet[9], frames and max(0, frames - skipped))
    raise AudioRejected(AudioReason.CODEC_REFUSED, f"an OGG stream that begins with {packet[:8]!r}")


def _ogg_frames(fd: int, start: int, size: int, sr: int) -> int | None:
    """Frames up to the end of the last page, even if it is damaged; None if there is no such page.

    Decoders skip damaged pages, so with damaged pages at the end a file would look shorter. A stream that was
    recorded from the radio begins at any frame; only the frames after its first page with audio count.
    """
    serial = os.pread(fd, 4, start + 14)
    first, position = 0, start
    for _ in range(_PARTS):
        page = os.pread(fd, 27 + 255, position)
        first = _ogg_position(page, 0, serial)
        if first > 0 or len(page) < 27:
            break
        position += 27 + page[26] + sum(page[27 : 27 + page[26]])
    tail = os.pread(fd, 2 * _PAGE, max(start, size - 2 * _PAGE))
    page_start = len(tail)
    while first > 0 and (page_start := tail.rfind(b"OggS", 0, page_start)) >= 0:
        if (last := _ogg_position(tail, page_start, serial)) > 0:
            return last if first < _FIRST_SECONDS * sr else last - first
    return None


def _ogg_position(data: bytes, start: int, serial: bytes) -> int:
    """Frames up to the end of a page; -1 if no frame ends in it, or if it is not a page of the stream."""
    page = data[start : start + 27]
    if len(page) < 27 or page[:4] != b"OggS" or page[14:18] != serial:
        return -1
    return int.from_bytes(page[6:14], "little", signed=True)
