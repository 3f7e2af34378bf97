"""Files that play as a whole, although their headers say something else: joined, tagged, cut at the start.

All files hold tones, so that a test can hear which part is where. Nothing is longer than 8 seconds.
"""

import functools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.audio.audio_faults_corpus import encoded

LOW, HIGH = 440.0, 1000.0
"""Pitch of a first and of a second part in Hz."""


@dataclass(frozen=True)
class Whole:
    """A file, and what is heard in it: the seconds and the pitch of each part."""

    name: str
    make: Callable[[], bytes]
    parts: tuple[tuple[float, float], ...]


def pure(seconds: float, pitch: float, sr: int = 44100, channels: int = 1) -> npt.NDArray[np.float32]:
    """A tone, equal in all channels; shape (frames, channels)."""
    y = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * sr)) / sr)
    return np.repeat(y[:, None], channels, axis=1).astype(np.float32)


@functools.cache
def made(
    container: str, seconds: float, pitch: float, sr: int = 44100, channels: int = 1, **kw: Any
) -> bytes:
    """The bytes of a file with a tone."""
    return encoded(pure(seconds, pitch, sr, channels), sr, container, **kw)


def constant(seconds: float, pitch: float, sr: int = 44100, channels: int = 1) -> bytes:
    """An MP3 of constant bit rate without a Xing header."""
    mp3 = made("MP3", seconds, pitch, sr, channels, bitrate_mode="CONSTANT", compression_level=0.5)
    return mp3[frame_length(mp3) :]


def free_format(seconds: float, pitch: float) -> bytes:
    """An MP3 in free format: its headers do not say the bit rate."""
    mp3 = bytearray(constant(seconds, pitch, 48000))
    for at in range(0, len(mp3) - 3, frame_length(bytes(mp3))):
        mp3[at + 2] &= 0x0D
    return bytes(mp3)


def variable(seconds: float, pitch: float) -> bytes:
    """An MP3 of variable bit rate without a Xing header; its second half is soft."""
    y = pure(seconds, pitch)
    y[len(y) // 2 :] *= 0.02
    y += 0.1 * np.random.default_rng(0).standard_normal(y.shape).astype(np.float32) * (y > 0.25)
    mp3 = encoded(y, 44100, "MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    return mp3[frame_length(mp3) :]


def frame_length(mp3: bytes) -> int:
    """Bytes of the first frame."""
    is_1 = mp3[1] >> 3 & 3 == 3
    rates = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
    kbps = (0, *((32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320) if is_1 else ()))
    kbps = kbps if is_1 else (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    rate = rates[mp3[1] >> 3 & 3][mp3[2] >> 2 & 3]
    return int((144 if is_1 else 72) * 1000 * kbps[mp3[2] >> 4] // rate + (mp3[2] >> 1 & 1))


def xing(mp3: bytes, frames: int | None, size: int | None = None) -> bytes:
    """The same MP3 with another number of frames, and of bytes, in its Xing header; None for no number."""
    at = min(at for at in (mp3.find(b"Xing", 0, 100), mp3.find(b"Info", 0, 100)) if at > 0)
    _, count, old = struct.unpack_from(">III", mp3, at + 4)
    new = struct.pack(">II", count if frames is None else frames, old if size is None else size)
    return mp3[: at + 8] + new + mp3[at + 16 :]


def vbri(mp3: bytes, frames: int, size: int) -> bytes:
    """The same MP3 after a frame with the header of Fraunhofer's encoder."""
    length = frame_length(mp3)
    tag = b"VBRI" + struct.pack(">HHHIIHHHH", 1, 0, 0, size, frames, 0, 1, 2, 1)
    return (mp3[:4] + bytes(32) + tag).ljust(length, b"\0") + mp3


def id3(size: bytes, content: bytes) -> bytes:
    """An ID3v2 tag with any bytes as its size."""
    return b"ID3\x03\0\0" + size + content


def id3_of(content: bytes) -> bytes:
    """A correct ID3v2 tag."""
    size = len(content)
    return id3(bytes(size >> shift & 127 for shift in (21, 14, 7, 0)), content)


def ape(content: bytes, *, is_header: bool) -> bytes:
    """An APE tag with header and footer; it starts with the header."""

    def end(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII8x", 2000, len(content) + 32, 1, flags)

    return (end(0xA0000000) if is_header else b"") + content + end(0x80000000)


def id3v1() -> bytes:
    """The tag at the end of a file."""
    return b"TAG" + b"Title".ljust(125, b"\0")


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    """A chunk of WAV or AIFF, padded."""
    return name + struct.pack(f"{order}I", len(content)) + content + b"\0" * (len(content) % 2)


def with_data_size(wav: bytes, size: int) -> bytes:
    """The same WAV with another size in `data`, and in `RIFF`."""
    at = wav.index(b"data") + 4
    return (
        wav[:4] + struct.pack("<I", size and 0xFFFFFFFF) + wav[8:at] + struct.pack("<I", size) + wav[at + 4 :]
    )


def stream_rf64(wav: bytes) -> bytes:
    """The same WAV as RF64 whose writer could not seek back."""
    ds64 = chunk(b"ds64", bytes(28))
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + with_data_size(wav, 0xFFFFFFFF)[12:]


JUNK = np.random.default_rng(1).bytes(40_000)
JPEG = b"\xff\xd8\xff\xe0" + JUNK[:30_000] + b"\xff\xfb\x90\x64" * 2 + b"\xff\xd9"
"""Looks like a picture in a tag; a frame header stands in it twice."""
LOW_3, HIGH_4 = made("MP3", 3, LOW), made("MP3", 4, HIGH)
STEREO_4 = made("MP3", 4, HIGH, 44100, 2)
BOTH = ((3, LOW), (4, HIGH))
ONE = ((4, HIGH),)

WHOLE = (
    Whole("zeros.mp3", lambda: bytes(3000) + HIGH_4, ONE),
    Whole("id3-then-zeros.mp3", lambda: id3_of(bytes(500)) + bytes(70_000) + HIGH_4, ONE),
    Whole("id3-then-junk.mp3", lambda: id3_of(JPEG) + JUNK[:9] + HIGH_4, ONE),
    Whole("junk.mp3", lambda: JUNK + constant(4, HIGH), ONE),
    Whole("id3-with-plain-size.mp3", lambda: id3(struct.pack(">I", 30_080), bytes(80) + JPEG) + HIGH_4, ONE),
    Whole("id3-with-plain-size-below-128.mp3", lambda: id3(b"\0\0\x01\x2c", bytes(300)) + HIGH_4, ONE),
    Whole("id3-longer-than-the-file.mp3", lambda: id3(b"\x7f\0\0\0", bytes(300)) + HIGH_4, ONE),
    Whole("id3-with-plain-size.flac", lambda: id3(b"\0\0\1\xf4", bytes(500)) + made("FLAC", 4, HIGH), ONE),
    Whole("cut-start.mp3", lambda: HIGH_4[700:], ONE),
    Whole("cut-start-constant.mp3", lambda: constant(4, HIGH)[333:], ONE),
    Whole("cut-start-variable.mp3", lambda: variable(4, HIGH)[100:], ONE),
    Whole("ape-first.mp3", lambda: ape(bytes(300), is_header=True) + HIGH_4, ONE),
    Whole("ape-and-id3-first.mp3", lambda: id3_of(JPEG) + ape(JPEG, is_header=True) + constant(4, HIGH), ONE),
    Whole("tags-last.mp3", lambda: HIGH_4 + ape(JPEG, is_header=True) + id3v1(), ONE),
    Whole("tags-last-constant.mp3", lambda: constant(4, HIGH) + ape(JPEG, is_header=True) + id3v1(), ONE),
    Whole(
        "lyrics-last.mp3",
        lambda: constant(4, HIGH) + b"LYRICSBEGIN" + b"la" * 9000 + b"LYRICS200" + id3v1(),
        ONE,
    ),
    Whole("free-format.mp3", lambda: free_format(4, HIGH), ONE),
    Whole("variable.mp3", lambda: variable(4, HIGH), ONE),
    Whole("xing-too-few.mp3", lambda: xing(HIGH_4, 20), ONE),
    Whole("xing-too-few-bytes-too.mp3", lambda: xing(HIGH_4, 20, 8000), ONE),
    Whole("xing-zero.mp3", lambda: xing(HIGH_4, 0), ONE),
    Whole("xing-too-many.mp3", lambda: xing(HIGH_4, 5000), ONE),
    Whole("vbri-too-few.mp3", lambda: vbri(variable(4, HIGH), 30, 9000), ONE),
    Whole("joined.mp3", lambda: LOW_3 + HIGH_4, BOTH),
    Whole("three-joined.mp3", lambda: LOW_3 + HIGH_4 + LOW_3, (*BOTH, (3, LOW))),
    Whole("joined-constant.mp3", lambda: constant(3, LOW) + constant(4, HIGH), BOTH),
    Whole("joined-to-constant.mp3", lambda: LOW_3 + constant(4, HIGH), BOTH),
    Whole("joined-constant-first.mp3", lambda: constant(3, LOW) + HIGH_4, BOTH),
    Whole("joined-vbri.mp3", lambda: vbri(constant(3, LOW), 115, 50_000) + HIGH_4, BOTH),
    Whole("joined-with-tags.mp3", lambda: LOW_3 + id3v1() + id3_of(JPEG) + HIGH_4 + id3v1(), BOTH),
    Whole("joined-with-ape.mp3", lambda: LOW_3 + ape(JPEG, is_header=True) + id3v1() + HIGH_4, BOTH),
    Whole("mono-then-stereo.mp3", lambda: LOW_3 + STEREO_4, BOTH),
    Whole("stereo-then-mono.mp3", lambda: made("MP3", 3, LOW, 44100, 2) + constant(4, HIGH), BOTH),
    Whole("44100-then-48000.mp3", lambda: LOW_3 + made("MP3", 4, HIGH, 48000), BOTH),
    Whole("22050-then-44100.mp3", lambda: constant(3, LOW, 22050) + constant(4, HIGH, 44100, 2), BOTH),
    Whole("joined.ogg", lambda: made("OGG", 3, LOW) + made("OGG", 4, HIGH), BOTH),
    Whole("joined-twice.ogg", lambda: made("OGG", 4, HIGH) * 2, (*ONE, *ONE)),
    Whole("other-channels.ogg", lambda: made("OGG", 3, LOW) + made("OGG", 4, HIGH, 44100, 2), BOTH),
    Whole("other-rate.ogg", lambda: made("OGG", 3, LOW, 48000) + made("OGG", 4, HIGH, 22050), BOTH),
    Whole(
        "joined.opus",
        lambda: made("OGG", 3, LOW, 48000, subtype="OPUS") + made("OGG", 4, HIGH, 48000, 2, subtype="OPUS"),
        BOTH,
    ),
    Whole(
        "other-rate.opus",
        lambda: made("OGG", 3, LOW, 16000, subtype="OPUS") + made("OGG", 4, HIGH, 48000, subtype="OPUS"),
        BOTH,
    ),
    Whole(
        "vorbis-then-opus.ogg",
        lambda: made("OGG", 3, LOW) + made("OGG", 4, HIGH, 48000, subtype="OPUS"),
        BOTH,
    ),
    Whole("tag-last.ogg", lambda: made("OGG", 4, HIGH) + id3v1(), ONE),
    Whole("joined.flac", lambda: made("FLAC", 3, LOW) + made("FLAC", 4, HIGH, 48000, 2), BOTH),
    Whole("behind-id3.flac", lambda: id3_of(JPEG) + made("FLAC", 4, HIGH) + id3v1(), ONE),
    Whole("behind-zeros.flac", lambda: id3_of(b"") + bytes(100) + made("FLAC", 4, HIGH), ONE),
    Whole("joined.wav", lambda: made("WAV", 3, LOW) + made("WAV", 4, HIGH, 22050, 2), BOTH),
    Whole("size-0.wav", lambda: with_data_size(made("WAV", 4, HIGH), 0), ONE),
    Whole(
        "size-0-stereo-float.wav",
        lambda: with_data_size(made("WAV", 4, HIGH, 8000, 2, subtype="FLOAT"), 0),
        ONE,
    ),
    Whole("size-ffffffff.wav", lambda: with_data_size(made("WAV", 4, HIGH), 0xFFFFFFFF), ONE),
    Whole("size-7fffffff.wav", lambda: with_data_size(made("WAV", 4, HIGH), 0x7FFFFFFF), ONE),
    Whole(
        "streams-joined.wav",
        lambda: with_data_size(made("WAV", 3, LOW), 0xFFFFFFFF) + made("WAV", 4, HIGH),
        BOTH,
    ),
    Whole(
        "zero-sizes-joined.wav", lambda: with_data_size(made("WAV", 3, LOW), 0) + made("WAV", 4, HIGH), BOTH
    ),
    Whole("rf64.wav", lambda: made("RF64", 4, HIGH), ONE),
    Whole("stream-rf64.wav", lambda: stream_rf64(made("WAV", 4, HIGH)), ONE),
    Whole(
        "more-chunks.wav",
        lambda: (
            made("WAV", 4, HIGH)[:12]
            + chunk(b"bext", bytes(603))
            + made("WAV", 4, HIGH)[12:]
            + chunk(b"LIST", b"INFOISFT" + bytes(9))
            + chunk(b"id3 ", id3_of(JPEG))
        ),
        ONE,
    ),
    Whole("whole.aiff", lambda: made("AIFF", 4, HIGH, 44100, 2, subtype="PCM_24"), ONE),
    Whole("float.aifc", lambda: made("AIFF", 4, HIGH, 48000, subtype="FLOAT"), ONE),
    Whole("joined.aiff", lambda: made("AIFF", 3, LOW) + made("AIFF", 4, HIGH, 22050), BOTH),
)
"""Files that must be decoded as a whole."""
