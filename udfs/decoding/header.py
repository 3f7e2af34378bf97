"""The header of an audio file (codec, rate, channels, frames), read before a decoder runs.

Only these formats are accepted: WAV (PCM of 8 to 32 bits, float, double; RF64 too), FLAC, MP3, OGG Vorbis and
Opus. Decoders of other containers and codecs have more vulnerabilities. File names and media types do not
matter.
"""

import os
import struct

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.codec import Codec, Header
from genremill.udfs.decoding.mp3_header import read_mp3
from genremill.udfs.decoding.ogg_header import read_ogg

_CHUNKS = 1000
"""Most chunks of a RIFF file before its samples."""
_UNKNOWN_SIZE = 0x7FFF0000
"""RIFF data sizes from here on are placeholders of a writer that could not seek back (ffmpeg, sox)."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
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
"""First bytes of known audio formats that are not accepted."""


def read(fd: int) -> Header:
    """The header of a file; the position of the descriptor does not change.

    Raises
    ------
    AudioRejected
        With `empty`, `not_audio` or `codec_refused`, or with `decode_failed` if the header is incomplete.
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
            return read_ogg(fd, start, size)
        if mp3 := read_mp3(fd, start, size):
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


def _wav(fd: int, start: int, size: int) -> Header:
    """A RIFF/WAVE or RF64 header: `fmt `, and the size that `data` (or `ds64`) declares."""
    sr = channels = frame_bytes = 0
    long_size = None
    position = start + 12
    for _ in range(_CHUNKS):
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
            return Header(Codec.WAV, sr, channels, length // frame_bytes if frame_bytes else 0)
        position += 8 + length + length % 2
    raise AudioRejected(AudioReason.DECODE_FAILED, f"no samples after {_CHUNKS} chunks")


def _wav_format(fd: int, position: int) -> tuple[int, int, int]:
    """Rate, channels and bytes per frame of a `fmt ` chunk."""
    tag, channels, sr, _, _, bits = struct.unpack("<HHIIHH", os.pread(fd, 16, position))
    if tag == _EXTENSIBLE:
        tag, tail = struct.unpack("<H14s", os.pread(fd, 16, position + 24))
        tag = tag if tail == _SUBFORMAT_TAIL else _EXTENSIBLE
    if (tag, bits) not in {*((_PCM, b) for b in (8, 16, 24, 32)), (_FLOAT, 32), (_FLOAT, 64)}:
        raise AudioRejected(AudioReason.CODEC_REFUSED, f"WAV format {tag:#06x} with {bits} bits")
    return sr, channels, channels * bits // 8


def _flac(head: bytes) -> Header:
    """STREAMINFO: 20 bits of rate, 3 of channels, 5 of sample size, 36 of frames (0: unknown)."""
    (packed,) = struct.unpack_from(">Q", head, 18)
    return Header(Codec.FLAC, packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1 or None)
