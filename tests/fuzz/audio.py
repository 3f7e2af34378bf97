"""Audio files and Spotify analyses: our parsers of headers in this process, the decoder in its sandbox."""

import functools
import io
import json
import os
import struct

import numpy as np
import soundfile
from hypothesis import strategies as st

from genremill.udfs.decoding import formats, spotify_analysis
from genremill.udfs.decoding.child_process import DecodingLimits
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.segments import FileView, SplicedFile
from genremill.udfs.decoding.settings import DecodeSettings, Offset
from tests.audio.ffmpeg_corpus import ENCODINGS, made
from tests.fuzz.harness import Target
from tests.fuzz.mutations import Strategy, documents, mutated

SR = 22050
_CONTAINERS = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("AIFF", "PCM_16")),
    *(("AIFF", "DOUBLE"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")),
)
_TAGS = (
    b"ID3\x04\0\0\0\0\x02\x2c" + bytes(300),
    b"ID3\x04\0\x10\x7f\x7f\x7f\x7f",
    b"TAG" + bytes(125),
    b"TAG+" + bytes(223),
    b"APETAGEX" + struct.pack("<4I", 2000, 0x7FFFFFFF, 1, 1 << 29) + bytes(8),
    b"LYRICSBEGIN" + b"x" * 50 + b"000050LYRICS200",
)
_CHUNKS = (
    *(b"RIFF\xff\xff\xff\xffWAVE", b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + b"\xff" * 28),
    *(b"fmt \x10\0\0\0", b"data\xff\xff\xff\xff", b"data\0\0\0\0", b"LIST\0\0\0\0", b"FORM\0\0\0\0AIFC"),
    *(b"COMM\0\0\0\x12",),
    *(b"fLaC\0\0\0\x22", b"OggS\0\x02", b"OggS\0\x04", b"\x01vorbis", b"OpusHead", b"\xff\xfb\x90\x00"),
    *(b"Xing\0\0\0\x0f",),
    *(b"VBRI" + b"\xff" * 18, b"ftypM4A ", b"moov", b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11"),
)
SETTINGS = (
    DecodeSettings(sr=SR, seconds=2),
    DecodeSettings(sr=16000, seconds=1, offset=Offset.MIDDLE),
    DecodeSettings(sr=SR, seconds=2, ffmpeg=True),
)


def _written(container: str, subtype: str, channels: int) -> bytes:
    out = io.BytesIO()
    y = 0.3 * np.sin(np.outer(np.arange(SR // 3), 0.05 * np.arange(1, channels + 1)))
    rate = 48000 if subtype == "OPUS" else SR
    soundfile.write(out, y, rate, format=container, subtype=subtype)
    return out.getvalue()


@functools.cache
def seeds() -> tuple[bytes, ...]:
    """Short valid files of all formats, some of them joined or after a tag."""
    files = [_written(*form, channels) for form in _CONTAINERS for channels in (1, 2)]
    joined = [files[at] + files[at] for at in range(0, len(files), 3)]
    tagged = [tag + files[-1] + _TAGS[2] for tag in _TAGS]
    return (*files, *joined, *tagged)


@functools.cache
def ffmpeg_seeds() -> tuple[bytes, ...]:
    """Short files in formats that only FFmpeg decodes."""
    return tuple(made(encoding, 0.3, 440.0) for encoding in ENCODINGS)


def inputs() -> Strategy:
    return mutated(seeds(), (*_TAGS, *_CHUNKS))


def opened(data: bytes) -> int:
    """A descriptor of a file in memory."""
    fd = os.memfd_create("audio")
    os.write(fd, data)
    return fd


def read_headers(data: bytes) -> None:
    """Reads the headers and the first bytes of all segments, as the decoder would."""
    fd = opened(data)
    try:
        for number, segment in enumerate(formats.segments(FileView(fd), 30.0)):
            assert segment.frames is None or segment.frames >= 0
            assert number < 100_000
            if number < 100:
                SplicedFile(fd, segment.pieces or ((0, len(data)),), segment.prefix).read(1 << 16)
    finally:
        os.close(fd)


@functools.cache
def _sandbox() -> Sandbox:
    return Sandbox(DecodingLimits(seconds=10.0))


def decode(data: bytes) -> None:
    """Decodes a file with the settings that its length chooses."""
    fd = opened(data)
    try:
        decoded = _sandbox().decode(fd, SETTINGS[len(data) % len(SETTINGS)])
        assert 0 < decoded.coverage <= 1
        assert decoded.y.dtype == np.float32
        assert np.isfinite(decoded.y).all()
    finally:
        os.close(fd)


ANALYSIS = {
    "track": {"duration": 1.5},
    "segments": [
        {"start": number / 2, "duration": 0.5, "timbre": [1.5] * 12, "pitches": [0.5] * 12}
        for number in range(3)
    ],
}


def read_analysis(data: bytes) -> None:
    fd = opened(data)
    try:
        spotify_analysis.is_analysis(fd)
        steps = spotify_analysis.read(fd, 100, np.zeros(24 * 100, np.float32)).y
        assert np.isfinite(steps).all()
    finally:
        os.close(fd)


def targets() -> list[Target]:
    anything = st.one_of(inputs(), mutated(ffmpeg_seeds(), (*_TAGS, *_CHUNKS)))
    return [
        Target("audio_headers", inputs(), read_headers, megabytes=200, examples=3000),
        Target("decoder", anything, decode, seconds=60.0, megabytes=200, examples=1000),
        Target("analysis", documents([json.dumps(ANALYSIS).encode()]), read_analysis, examples=1000),
    ]
