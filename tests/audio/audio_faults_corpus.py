"""Bad audio files of every kind, and the expected result of each."""

import functools
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from genremill.infra.audio.faults import AudioReason

SR = 22050
FRAMES = 3 * SR


@dataclass(frozen=True)
class Fault:
    """One file: its name, how its bytes are made, and the expected result."""

    name: str
    make: Callable[[], bytes]
    reason: AudioReason | None = None
    """Why it is rejected; None if it is decoded."""
    coverage: float = 1.0
    """Share of the audio that is decoded, if it is decoded."""


def tone(frames: int = FRAMES, sr: int = SR, channels: int = 1) -> npt.NDArray[np.float32]:
    """Two partials and some noise; each channel has another pitch; shape (frames, channels)."""
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * np.outer(np.arange(frames) / sr, 220.0 * np.arange(2, 2 + channels))
    y = 0.3 * np.sin(phase) + 0.2 * np.sin(1.5 * phase) + 0.02 * rng.standard_normal(phase.shape)
    return y.astype(np.float32)


def encoded(y: npt.NDArray[np.float32], sr: int = SR, container: str = "WAV", **options: Any) -> bytes:
    """The bytes of a file that soundfile writes."""
    out = io.BytesIO()
    soundfile.write(out, y, sr, format=container, **options)
    return out.getvalue()


@functools.cache
def good(container: str) -> bytes:
    """A file of three seconds, mono, at 22,050 Hz."""
    return encoded(tone(), container=container)


def wav(
    data: bytes = b"",
    *,
    sr: int = SR,
    channels: int = 1,
    tag: int = 1,
    bits: int = 16,
    declared: int | None = None,
) -> bytes:
    """A WAV file with any header, also a wrong one."""
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", tag, channels, sr, sr * frame & 0xFFFFFFFF, frame & 0xFFFF, bits)
    size = len(data) if declared is None else declared
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def flipped(data: bytes, bits: int, seed: int = 0, start: int = 500) -> bytes:
    """The same file with `bits` random bits inverted, none of them in the first `start` bytes."""
    rng, damaged = np.random.default_rng(seed), bytearray(data)
    for position in rng.integers(start, len(data), bits):
        damaged[position] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def long_flac(hours: float = 6, level: int = 0, sr: int = 44100) -> bytes:
    """Hours of stereo FLAC in about 200 kB: its blocks are constant, `level` and `-level` in turn."""
    block = 65535
    blocks = int(hours * 3600 * sr) // block
    info = struct.pack(">HH", block, block) + bytes(6)
    info += struct.pack(">Q", sr << 44 | 1 << 41 | 15 << 36 | blocks * block) + bytes(16)
    frames = [_flac_block(number, block, level if number % 2 else -level) for number in range(blocks)]
    return b"fLaC\x80\x00\x00\x22" + info + b"".join(frames)


def recorded(ogg: bytes, frame: int) -> bytes:
    """The same OGG file, as if it were recorded from a stream that started `frame` frames earlier."""
    pages, start = [], 0
    while start < len(ogg):
        length = 27 + ogg[start + 26] + sum(ogg[start + 27 : start + 27 + ogg[start + 26]])
        page = bytearray(ogg[start : start + length])
        (end,) = struct.unpack_from("<q", page, 6)
        page[6:14] = struct.pack("<q", end + frame if end > 0 else end)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _crc(bytes(page), 0x04C11DB7, 32))
        pages.append(bytes(page))
        start += length
    return b"".join(pages)


def _flac_block(number: int, size: int, value: int) -> bytes:
    coded = chr(number).encode("utf-8", "surrogatepass")  # FLAC encodes block numbers like UTF-8
    # Sync code, fixed block size; a 16-bit block size follows; rate of STREAMINFO; 2 channels, 16 bits.
    head = b"\xff\xf8\x70\x18" + coded + struct.pack(">H", size - 1)
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + 2 * (b"\x00" + struct.pack(">h", value))
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    table = _crc_table(polynomial, bits)
    crc, mask = 0, (1 << bits) - 1
    for byte in data:
        crc = (crc << 8 & mask) ^ table[(crc >> bits - 8) ^ byte]
    return crc


@functools.cache
def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1) ^ (polynomial if crc >> bits - 1 else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return table


def without_xing(mp3: bytes) -> bytes:
    """The same MP3 file without its first frame, which holds the number of frames."""
    return mp3[mp3.index(mp3[:2], 100) :]


def id3(data: bytes) -> bytes:
    """The same file after an ID3v2 tag of 300 bytes."""
    return b"ID3\x04\x00\x00" + bytes([0, 0, 300 >> 7, 300 & 127]) + bytes(300) + data


def constant_rate_mp3() -> bytes:
    """An MP3 file of constant bit rate, without its length in the header."""
    return encoded(tone(), container="MP3", bitrate_mode="CONSTANT", compression_level=0.5)


def _poisoned(value: float) -> bytes:
    y = tone()
    y[5000] = value
    return encoded(y, subtype="FLOAT")


def _noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


HTML = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>" + b"<p>gone</p>" * 200
SILENT_PCM = bytes(2 * FRAMES)
DC_PCM = struct.pack("<h", 12000) * FRAMES

FAULTS = (
    Fault("empty.mp3", bytes, AudioReason.EMPTY),
    Fault("error-page.mp3", lambda: HTML, AudioReason.NOT_AUDIO),
    Fault("random.mp3", lambda: _noise(50_000), AudioReason.NOT_AUDIO),
    Fault("one-byte.wav", lambda: b"R", AudioReason.NOT_AUDIO),
    Fault("utf-16.mp3", lambda: HTML.decode().encode("utf-16"), AudioReason.NOT_AUDIO),
    Fault("header-only.wav", lambda: good("WAV")[:30], AudioReason.DECODE_FAILED),
    Fault("zero-frames.wav", lambda: wav(), AudioReason.TOO_SHORT),
    Fault("rate-2-31.wav", lambda: wav(SILENT_PCM, sr=2**31 - 1), AudioReason.HEADER_OVER_BUDGET),
    Fault("rate-0.wav", lambda: wav(SILENT_PCM, sr=0), AudioReason.HEADER_OVER_BUDGET),
    Fault("rate-1.wav", lambda: wav(SILENT_PCM, sr=1), AudioReason.HEADER_OVER_BUDGET),
    Fault("channels-0.wav", lambda: wav(SILENT_PCM, channels=0), AudioReason.HEADER_OVER_BUDGET),
    Fault("channels-1024.wav", lambda: wav(SILENT_PCM, channels=1024), AudioReason.HEADER_OVER_BUDGET),
    Fault("100-samples.wav", lambda: encoded(tone(100)), AudioReason.TOO_SHORT),
    Fault("silence.wav", lambda: wav(SILENT_PCM), AudioReason.SILENT),
    Fault("dc.wav", lambda: wav(DC_PCM), AudioReason.SILENT),
    Fault("dc-44k.wav", lambda: wav(DC_PCM, sr=2 * SR), AudioReason.SILENT),
    Fault("out-of-phase.wav", lambda: encoded(tone() * np.array([1, -1], np.float32)), AudioReason.SILENT),
    Fault("samples-of-integers.wav", lambda: encoded(tone() * 32768, subtype="FLOAT"), AudioReason.TOO_LOUD),
    Fault("one-huge-sample.wav", lambda: _poisoned(3e16), AudioReason.TOO_LOUD),
    Fault("over-full-scale.wav", lambda: encoded(tone() * 4, subtype="FLOAT"), coverage=1.0),
    Fault("cut.wav", lambda: good("WAV")[: len(good("WAV")) // 3], AudioReason.TRUNCATED),
    Fault("cut-late.wav", lambda: good("WAV")[: len(good("WAV")) * 19 // 20], coverage=0.95),
    Fault("cut-to-header.wav", lambda: good("WAV")[:44], AudioReason.TRUNCATED),
    Fault("unknown-length.wav", lambda: wav(good("WAV")[44:], declared=0xFFFFFFFF)),
    Fault("cut.mp3", lambda: good("MP3")[: len(good("MP3")) // 3], AudioReason.TRUNCATED),
    Fault("flipped-20.mp3", lambda: flipped(good("MP3"), 20)),
    Fault("flipped-200.mp3", lambda: flipped(good("MP3"), 200), AudioReason.TRUNCATED),
    Fault("no-xing.mp3", lambda: without_xing(constant_rate_mp3())),
    Fault("flipped.flac", lambda: flipped(good("FLAC"), 1), AudioReason.DECODE_FAILED),
    Fault("flipped-100.flac", lambda: flipped(good("FLAC"), 100), AudioReason.DECODE_FAILED),
    Fault("cut.flac", lambda: good("FLAC")[: len(good("FLAC")) // 3], AudioReason.DECODE_FAILED),
    Fault("cut.ogg", lambda: good("OGG")[: len(good("OGG")) // 2], AudioReason.TRUNCATED),
    Fault("flipped.ogg", lambda: flipped(good("OGG"), 20, start=5000), AudioReason.TRUNCATED),
    Fault("six-hours-of-silence.flac", long_flac, AudioReason.SILENT),
    Fault("six-hours.flac", lambda: long_flac(level=8000)),
    Fault("nan.wav", lambda: _poisoned(np.nan), AudioReason.NON_FINITE),
    Fault("inf.wav", lambda: _poisoned(-np.inf), AudioReason.NON_FINITE),
    Fault("flac-named.mp3", lambda: good("FLAC")),
    Fault("behind-id3.flac", lambda: id3(good("FLAC"))),
    Fault("whole.aiff", lambda: good("AIFF")),
    Fault("cut.aiff", lambda: good("AIFF")[: len(good("AIFF")) // 3], AudioReason.TRUNCATED),
    Fault("behind-id3.mp3", lambda: id3(good("MP3"))),
    Fault("behind-id3.caf", lambda: id3(good("CAF")), AudioReason.CODEC_REFUSED),
    Fault("rare.caf", lambda: good("CAF"), AudioReason.CODEC_REFUSED),
    Fault(
        "mu-law.aiff", lambda: encoded(tone(), container="AIFF", subtype="ULAW"), AudioReason.CODEC_REFUSED
    ),
    Fault("rare.au", lambda: good("AU"), AudioReason.CODEC_REFUSED),
    Fault("rare.w64", lambda: good("W64"), AudioReason.CODEC_REFUSED),
    Fault("rare.m4a", lambda: b"\0\0\0\x20ftypM4A " + bytes(500), AudioReason.CODEC_REFUSED),
    Fault("rare.aac", lambda: b"\xff\xf1\x50\x80" + bytes(500), AudioReason.CODEC_REFUSED),
    Fault(
        "flac-in.ogg", lambda: b"OggS" + bytes(22) + b"\1\x33\x7fFLAC" + bytes(99), AudioReason.CODEC_REFUSED
    ),
    Fault("ms-adpcm.wav", lambda: encoded(tone(), subtype="MS_ADPCM"), AudioReason.CODEC_REFUSED),
    Fault("ima-adpcm.wav", lambda: encoded(tone(), subtype="IMA_ADPCM"), AudioReason.CODEC_REFUSED),
    Fault("gsm.wav", lambda: encoded(tone(), subtype="GSM610"), AudioReason.CODEC_REFUSED),
    Fault("mu-law.wav", lambda: encoded(tone(), subtype="ULAW"), AudioReason.CODEC_REFUSED),
)
"""All bad files; faults of the storage (deleted, replaced, slow objects) are tested elsewhere."""


def write(folder: Path) -> dict[str, Path]:
    """Writes each bad file to `folder`; the paths by name."""
    written = {fault.name: folder / fault.name for fault in FAULTS}
    for fault in FAULTS:
        written[fault.name].write_bytes(fault.make())
    return written
