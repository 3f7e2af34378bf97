"""What an audio object says of itself: codec, rate, channels and frames, read before any decoder runs.

Only these come through: WAV (PCM of 8 to 32 bits, float, double; RF64 too), FLAC, MP3, OGG Vorbis and Opus.
Other containers and codecs are where decoders' vulnerabilities live. Names and media types mean nothing.
"""

import enum
import os
import struct
from dataclasses import dataclass

from genremill.infra.audio.faults import AudioReason, AudioRejected


class Codec(enum.StrEnum):
    """What is decoded; a value is `container/codec`."""

    WAV = "wav/pcm"
    FLAC = "flac/flac"
    MP3 = "mp3/layer3"
    VORBIS = "ogg/vorbis"
    OPUS = "ogg/opus"


@dataclass(frozen=True)
class Header:
    """What the first bytes declare; nothing of it has been checked against a budget."""

    codec: Codec
    sr: int
    """Hz; 48,000 for Opus, which decodes at that rate or a fraction of it."""
    channels: int
    frames: int | None
    """Samples a channel; None where libsndfile's count has to do."""


MP3_FRAMES = 250_000
"""Frames of an MP3 that are counted one by one where no header does: 1.8 hours at 44.1 kHz."""
_CHUNKS = 1000
"""Chunks of a RIFF file that are walked to find its samples."""
_OGG_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page."""
_OGG_HEAD_PAGES = 1000
"""Pages of comments and pictures that are walked to find the first with audio."""
_OGG_FIRST_SECONDS = 10
"""What the first page with audio ends before, if the stream begins at frame 0."""
_UNKNOWN_SIZE = 0x7FFF0000
"""A RIFF data size from here on is the placeholder of a writer that could not seek back (ffmpeg, sox)."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MP3_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_REFUSED = {
    b"FORM": "AIFF or another IFF",
    b"FRM8": "DSDIFF",
    b"caff": "CAF",
    b".snd": "AU",
    b"dns.": "AU",
    b"riff": "Wave64",
    b"RIFX": "big-endian WAV",
    b"MThd": "MIDI",
    b"wvpk": "WavPack",
    b"MAC ": "Monkey's Audio",
    b"TTA1": "True Audio",
    b"DSD ": "DSF",
    b"MPCK": "Musepack",
    b"MP+\x07": "Musepack",
    b"NIST": "NIST Sphere",
    b"Crea": "Creative Voice",
    b"#!AM": "AMR",
    b"0&\xb2u": "ASF or WMA",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"\xff\xf1": "AAC",
    b"\xff\xf9": "AAC",
    b"\xff\xfc": "MPEG layer 2",
    b"\xff\xfd": "MPEG layer 2",
    b"\xff\xf4": "MPEG layer 2",
    b"\xff\xf5": "MPEG layer 2",
}
"""First bytes of audio that is known and refused."""


def read(fd: int) -> Header:
    """The header of an object, by its bytes alone; the descriptor's position stays where it is.

    Raises
    ------
    AudioRejected
        `empty`, `not_audio`, `codec_refused`; `decode_failed` where a header breaks off.
    """
    size = os.fstat(fd).st_size
    if not size:
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
        if found := _mp3(fd, start, size):
            return found
    except (struct.error, IndexError) as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, "the header breaks off") from err
    refused = "MP4" if magic[4:8] == b"ftyp" else _REFUSED.get(magic[:4]) or _REFUSED.get(magic[:2])
    if refused:
        raise AudioRejected(AudioReason.CODEC_REFUSED, refused)
    raise AudioRejected(AudioReason.NOT_AUDIO, f"the first bytes are {magic!r}")


def _after_id3(fd: int) -> int:
    """Where the audio starts: behind ID3v2 tags, whose length has seven bits a byte."""
    start = 0
    while (tag := os.pread(fd, 10, start))[:3] == b"ID3" and len(tag) == 10:
        footer = 10 if tag[5] & 0x10 else 0
        start += 10 + footer + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9])
    return start


def _wav(fd: int, start: int, size: int) -> Header:
    """A RIFF/WAVE or RF64 header: `fmt `, and how many bytes `data` (or `ds64`) declares."""
    sr = channels = frame_bytes = 0
    long_size = None
    at = start + 12
    for _ in range(_CHUNKS):
        name, length = struct.unpack("<4sI", os.pread(fd, 8, at))
        if name == b"ds64":
            (long_size,) = struct.unpack("<8xQ", os.pread(fd, 16, at + 8))
        elif name == b"fmt " and not frame_bytes:
            tag, channels, sr, _, _, bits = struct.unpack("<HHIIHH", os.pread(fd, 16, at + 8))
            if tag == _EXTENSIBLE:
                tag, tail = struct.unpack("<H14s", os.pread(fd, 16, at + 32))
                tag = tag if tail == _SUBFORMAT_TAIL else _EXTENSIBLE
            if (tag, bits) not in {*((_PCM, b) for b in (8, 16, 24, 32)), (_FLOAT, 32), (_FLOAT, 64)}:
                raise AudioRejected(AudioReason.CODEC_REFUSED, f"WAV format {tag:#06x} of {bits} bits")
            frame_bytes = channels * bits // 8
        elif name == b"data":
            if long_size is not None and length == 0xFFFFFFFF:
                length = long_size
            elif length >= _UNKNOWN_SIZE:
                length = size - at - 8
            return Header(Codec.WAV, sr, channels, length // frame_bytes if frame_bytes else 0)
        at += 8 + length + length % 2
    raise AudioRejected(AudioReason.DECODE_FAILED, f"no samples after {_CHUNKS} chunks")


def _flac(head: bytes) -> Header:
    """STREAMINFO: 20 bits of rate, 3 of channels, 5 of sample size, 36 of frames (0: not known)."""
    (packed,) = struct.unpack_from(">Q", head, 18)
    return Header(Codec.FLAC, packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1 or None)


def _ogg(fd: int, start: int, size: int) -> Header:
    """The codec's first packet, in the first page, behind its table of segments."""
    page = os.pread(fd, 512, start)
    packet = page[27 + page[26] :]
    if packet.startswith(b"\x01vorbis"):
        channels, sr = struct.unpack_from("<BI", packet, 11)
        return Header(Codec.VORBIS, sr, channels, _ogg_frames(fd, start, size, sr))
    if packet.startswith(b"OpusHead"):
        (skipped,) = struct.unpack_from("<H", packet, 10)
        frames = _ogg_frames(fd, start, size, 48000)
        return Header(Codec.OPUS, 48000, packet[9], frames and max(0, frames - skipped))
    raise AudioRejected(AudioReason.CODEC_REFUSED, f"OGG stream that begins {packet[:8]!r}")


def _ogg_frames(fd: int, start: int, size: int, sr: int) -> int | None:
    """Frames up to the end of the last page, damaged or not; None where no such page is found.

    Decoders pass over damaged pages: where the last ones are, they take the file for a shorter one. A stream
    recorded from the radio begins at any frame; of it, what follows the first page with audio is counted.
    """
    serial = os.pread(fd, 4, start + 14)
    first, at = 0, start
    for _ in range(_OGG_HEAD_PAGES):
        page = os.pread(fd, 27 + 255, at)
        first = _ogg_position(page, 0, serial)
        if first > 0 or len(page) < 27:
            break
        at += 27 + page[26] + sum(page[27 : 27 + page[26]])
    tail = os.pread(fd, 2 * _OGG_PAGE, max(start, size - 2 * _OGG_PAGE))
    found = len(tail)
    while first > 0 and (found := tail.rfind(b"OggS", 0, found)) >= 0:
        if (last := _ogg_position(tail, found, serial)) > 0:
            return last if first < _OGG_FIRST_SECONDS * sr else last - first
    return None


def _ogg_position(data: bytes, at: int, serial: bytes) -> int:
    """Frames up to the end of a page; -1 where none ends there, or it is no page of the stream."""
    if len(data) < at + 27 or data[at : at + 4] != b"OggS" or data[at + 14 : at + 18] != serial:
        return -1
    return int.from_bytes(data[at + 6 : at + 14], "little", signed=True)


@dataclass(frozen=True)
class _Frame:
    """One frame of MPEG audio, layer 3."""

    version: int
    sr: int
    channels: int
    length: int
    samples: int


def _mp3_frame(head: bytes) -> _Frame | None:
    """What the four bytes of a frame header say; None where they are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate == 3 or kbps in (0, 15):
        return None
    sr, samples = _MP3_RATES[version][rate], 1152 if version == 3 else 576
    length = samples // 8 * 1000 * _MP3_KBPS[version == 3][kbps] // sr + (head[2] >> 1 & 1)
    return _Frame(version, sr, 1 if head[3] >> 6 == 3 else 2, length, samples)


def _mp3(fd: int, start: int, size: int) -> Header | None:
    """The first frame, which must lead to a second one; its Xing header, or a count, has the frames."""
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
    return Header(Codec.MP3, first.sr, first.channels, None if counted else _mp3_samples(fd, start, size))


def _mp3_samples(fd: int, start: int, size: int) -> int | None:
    """Samples of an MP3 without a count, from its frames' headers; None where they end in something else.

    libsndfile takes the first frame's bit rate for all: exact where the rate is constant, and a guess
    that can be wrong several times over where it is not.
    """
    samples, at = 0, start
    for _ in range(MP3_FRAMES):
        head = os.pread(fd, 4, at)
        frame = _mp3_frame(head)
        if frame is None:
            return samples if len(head) < 4 or head[:3] == b"TAG" or head == b"APET" else None
        at += frame.length
        samples += frame.samples if at <= size else 0
    return None
