"""Files that FFmpeg decodes, through PyAV: formats that libsndfile lacks.

PyAV is an optional package. It is imported only here, in the child process of `sandbox`. FFmpeg is told which
demuxer to use: it would otherwise try hundreds, among them playlists that name other files.
"""

import importlib.util
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding.segments import FileView, SplicedFile
from genremill.udfs.decoding.source import BLOCK, Block

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

_DECLARES_LENGTH = ("mov", "asf", "matroska", "wav", "aiff", "w64", "caf", "wv", "ape", "tta", "dsf", "ogg")
"""Demuxers that read the length from a header or from the last page; others guess it from the bit rate."""
_RESTART = {
    "mov": re.compile(rb"\0\0\0[\x08-\x7f]ftyp"),
    "asf": re.compile(rb"0&\xb2u\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0b\xcel"),
    "matroska": re.compile(rb"\x1aE\xdf\xa3[\0-\xff]{1,40}?\x42\x82[\x80-\xff](?:webm|matroska)"),
}
"""How a file begins that was joined to another one; demuxers stop there."""
_MIN_READ = 0.9
"""Smallest share of the bytes that must be read by the end of the audio."""


def require() -> None:
    """Raises `UsageError` if PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        raise UsageError("--ffmpeg needs the package av: pip install 'genremill[ffmpeg]'")


class FfmpegSource:
    """An opened audio stream."""

    def __init__(self, container: "InputContainer", stream: "AudioStream") -> None:
        self._container, self._stream = container, stream
        self.sr: int = stream.codec_context.sample_rate
        self.channels: int = stream.codec_context.layout.nb_channels
        seconds = None
        if container.format.name.split(",")[0] in _DECLARES_LENGTH:
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / 1e6
        self.frames = None if seconds is None else round(seconds * self.sr)

    def blocks(self, start: int, frames: int) -> Iterator[Block]:
        """At most `frames` frames from `start` on, in blocks that may differ in channels."""
        waiting: list[Block] = []
        length = 0
        for block in self._decoded(start):
            if length >= min(BLOCK, frames) or (waiting and block.shape[1] != waiting[0].shape[1]):
                yield np.concatenate(waiting)[:frames]
                frames -= length
                waiting, length = [], 0
                if frames <= 0:
                    return
            waiting.append(block)
            length += len(block)
        if length:
            yield np.concatenate(waiting)[:frames]

    def _decoded(self, start: int) -> Iterator[Block]:
        """Blocks of any length from frame `start` on, at the rate of the stream."""
        import av

        begin = (self._stream.start_time or 0) * (self._stream.time_base or 0)
        if start:
            self._container.seek(int((start / self.sr + begin) * av.time_base))
        resampler, skipped = None, None
        kind: tuple[object, ...] = ()
        for frame in self._frames():
            if skipped is None:  # the first frame after the seek usually begins earlier
                skipped = (
                    max(0, start - round(((frame.time or 0.0) - float(begin)) * self.sr)) if start else 0
                )
            before, kind = kind, (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or kind != before:
                if resampler:
                    yield from _arrays(resampler.resample(None))
                resampler = av.AudioResampler(format="fltp", rate=self.sr)
            for block in _arrays(resampler.resample(frame)):
                if len(block) > skipped:
                    yield block[skipped:]
                skipped = max(0, skipped - len(block))
        if resampler:
            yield from _arrays(resampler.resample(None))

    def _frames(self) -> "Iterator[AudioFrame]":
        """The frames of the stream; damaged packets are skipped if the length shows that they are missing."""
        import av

        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                if self.frames is None:
                    raise


def _arrays(frames: "list[AudioFrame]") -> Iterator[Block]:
    for frame in frames:
        yield np.asarray(frame.to_ndarray().T, np.float32)


def sources(view: FileView, start: int, demuxer: str) -> Generator[FfmpegSource, None, None]:
    """The audio of a file from `start` on: several sources if files were joined.

    Each source must be used before the next one. Raises `AudioRejected` with `decode_failed`, and
    after the last source with `truncated` if bytes were not read.
    """
    import av

    following: int | None = start
    try:
        while following is not None:
            start = following
            file = SplicedFile(view.fd, ((start, view.size),))
            with av.open(file, "r", format=demuxer) as container:
                if not container.streams.audio:
                    raise AudioRejected(AudioReason.DECODE_FAILED, "no audio stream")
                stream = container.streams.audio[0]
                stream.codec_context.thread_count = 1
                yield FfmpegSource(container, stream)
            restart = _RESTART.get(demuxer)
            following = next(view.matches(restart, start + 1, view.size), None) if restart else None
    except av.error.FFmpegError as err:
        raise AudioRejected(AudioReason.DECODE_FAILED, err.strerror or str(err)) from err
    if (read := start + file.most_read) < _MIN_READ * view.size:
        detail = f"{read:,} of {view.size:,} bytes were read up to the end of the audio"
        raise AudioRejected(AudioReason.TRUNCATED, detail)
