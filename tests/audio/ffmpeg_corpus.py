"""Files in formats that libsndfile lacks, encoded by PyAV."""

import functools
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from tests.audio.whole_files_corpus import pure


@dataclass(frozen=True)
class Encoding:
    """A container, a codec, and the name of the format in messages."""

    container: str
    codec: str
    message: str
    sr: int = 44100


ENCODINGS = (
    Encoding("ipod", "aac", "M4A or MP4 (AAC or ALAC)"),
    Encoding("mp4", "aac", "M4A or MP4 (AAC or ALAC)", 48000),
    Encoding("ipod", "alac", "M4A or MP4 (AAC or ALAC)"),
    Encoding("asf", "wmav2", "WMA (ASF)"),
    Encoding("adts", "aac", "AAC (ADTS)"),
    Encoding("matroska", "aac", "Matroska or WebM"),
    Encoding("webm", "libopus", "Matroska or WebM", 48000),
    Encoding("ogg", "flac", "an OGG stream"),
    Encoding("caf", "alac", "CAF"),
    Encoding("wav", "adpcm_ms", "WAV format"),
    Encoding("wv", "wavpack", "WavPack"),
    Encoding("mp2", "mp2", "MPEG layer 2"),
    Encoding("mpegts", "aac", "MPEG transport stream"),
)
"""The formats that people have, and one for each demuxer that behaves differently."""


@functools.cache
def made(
    encoding: Encoding, seconds: float, pitch: float, channels: int = 1, *, faststart: bool = False
) -> bytes:
    """The bytes of a file with a tone; `faststart` puts the index of an MP4 first."""
    return encoded(encoding, pure(seconds, pitch, encoding.sr, channels), faststart=faststart)


def encoded(encoding: Encoding, y: npt.NDArray[np.float32], *, faststart: bool = False) -> bytes:
    """The bytes of a file with a signal of shape (frames, channels)."""
    layout = "stereo" if y.shape[1] == 2 else "mono"
    options = {"movflags": "faststart"} if faststart else {}
    with (
        tempfile.NamedTemporaryFile() as out,  # FFmpeg opens it again to move the index
        av.open(out.name, "w", format=encoding.container, options=options) as container,
    ):
        stream = cast(av.AudioStream, container.add_stream(encoding.codec, rate=encoding.sr, layout=layout))
        stream.bit_rate = 128_000
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(y.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = encoding.sr, 0, Fraction(1, encoding.sr)
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.codec_context.format, layout, encoding.sr, size)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
        container.close()
        return Path(out.name).read_bytes()
