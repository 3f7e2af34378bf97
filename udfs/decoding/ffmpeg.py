"""Files that FFmpeg decodes, through PyAV: formats that libsndfile lacks.

PyAV is an optional package. It is imported only here, in the child process of `sandbox`. FFmpeg is told which
demuxer to use: it would otherwise try hundreds, among them playlists that name other files.
"""

import importlib.util
import itertools
import re
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import ogg
from genremill.udfs.decoding.segments import FileView, SplicedFile
from genremill.udfs.decoding.source import BLOCK, Block

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, FFmpegError
    from av.container import InputContainer

MODULES = ("av", "av.subtitles.codeccontext", "av.subtitles.stream", "logging")
"""PyAV, and what it imports when it opens a file: the child has to import them while it can open files."""
_DECLARES_LENGTH = ("mov", "asf", "matroska", "wav", "aiff", "w64", "caf", "wv", "ape", "tta", "dsf", "ogg")
"""Demuxers that read the length from a header or from the last page; others guess it from the bit rate."""
_START = {
    "mov": re.compile(rb"\0\0\0[\x08-\x7f]ftyp"),
    "asf": re.compile(rb"0&\xb2u\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0b\xcel"),
    "matroska": re.compile(rb"\x1aE\xdf\xa3[\0-\xff]{1,40}?\x42\x82[\x80-\xff](?:webm|matroska)"),
}
"""How files begin; demuxers stop where another file was joined to the first one."""
_MIN_READ = 0.9
"""Smallest share of a file that must be read to decode all of its audio."""
_MOST_UNREAD = 1 << 16
"""Bytes that need not be read: in an OGG file, the position of a packet is that of its page."""


def require() -> None:
    """Raises `UsageError` if PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        raise UsageError(
            "--ffmpeg needs the package av, which is not installed here; "
            "install the extra genremill[ffmpeg], or the package itself: pip install av"
        )


class FfmpegSource:
    """An opened audio stream of a file of `size` bytes."""

    def __init__(self, container: "InputContainer", stream: "AudioStream", size: int) -> None:
        self._container, self._stream, self._size = container, stream, size
        self.sr: int = stream.codec_context.sample_rate
        self.channels: int = stream.codec_context.layout.nb_channels
        self.lost = 0
        seconds = None
        if container.format.name.split(",")[0] in _DECLARES_LENGTH:
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None:
                seconds = container.duration / 1e6
        self.frames = None if seconds is None else round(seconds * self.sr)

    def blocks(self, start: int, frames: int) -> Iterator[Block]:
        """At most `frames` frames from `start` on, in blocks that may differ in channels."""
        import av

        waiting: list[Block] = []
        length = 0
        try:
            for block in self._decoded(start):
                if length >= min(BLOCK, frames) or (waiting and block.shape[1] != waiting[0].shape[1]):
                    yield np.concatenate(waiting)[:frames]
                    frames -= length
                    waiting, length = [], 0
                    if frames <= 0:
                        return
                waiting.append(block)
                length += len(block)
        except av.error.FFmpegError as err:
            raise _failed(err) from err
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
        """The frames of the stream; raises `AudioRejected` if they end long before the file does."""
        import av

        read, samples = 0, 0
        for packet in self._container.demux(self._stream):
            if packet.pos is not None:
                read = max(read, packet.pos + packet.size)
            try:
                for frame in packet.decode():
                    samples = frame.samples
                    yield frame
            except av.error.InvalidDataError:
                self.lost += samples
        if 0 < read < _MIN_READ * self._size and self._size - read > _MOST_UNREAD:
            detail = f"the audio ends after {read:,} of {self._size:,} bytes"
            raise AudioRejected(AudioReason.TRUNCATED, detail)


def _arrays(frames: "list[AudioFrame]") -> Iterator[Block]:
    for frame in frames:
        yield np.asarray(frame.to_ndarray().T, np.float32)


def _failed(err: "FFmpegError") -> AudioRejected:
    return AudioRejected(AudioReason.DECODE_FAILED, f"FFmpeg: {err.strerror}")


def sources(view: FileView, start: int, demuxer: str) -> Generator[FfmpegSource, None, None]:
    """The audio of a file from `start` on: several sources if files were joined.

    Each source must be used before the next one. Raises `AudioRejected` with `decode_failed`.
    """
    import av

    if demuxer == "ogg":
        starts = [*ogg.starts(view, start), view.size]
    else:
        joined = view.matches(_START[demuxer], start + 1, view.size) if demuxer in _START else ()
        starts = [start, *joined, view.size]
    for piece in itertools.pairwise(starts):
        try:
            with av.open(SplicedFile(view.fd, (piece,)), "r", format=demuxer) as container:
                if not container.streams.audio:
                    raise AudioRejected(AudioReason.DECODE_FAILED, "no audio stream")
                stream = container.streams.audio[0]
                stream.codec_context.thread_count = 1
                yield FfmpegSource(container, stream, piece[1] - piece[0])
        except av.error.FFmpegError as err:
            raise _failed(err) from err
