"""Audio files as signals: the samples of `librosa.load`, or an error if a part is missing.

Decoding takes the time of libsndfile plus 4 ms for 30 s of stereo: blocks are mixed and resampled in the CPU
cache. This code runs in the child process of `sandbox`, where a malicious file does no harm. Everything that
a header declares is checked against a budget before a sample is decoded, and only the requested seconds are
decoded.
"""

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from genremill.udfs.decoding import ffmpeg, formats, libsndfile
from genremill.udfs.decoding.recording import Recording
from genremill.udfs.decoding.segments import FileView, Segment
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Offset, Signal, over_budget


def decode(
    fd: int, settings: DecodeSettings, budget: Budget | None = None, out: Signal | None = None
) -> Decoded:
    """The signal of an open, seekable file: the samples of `librosa.load(sr=…, duration=…)`.

    If a file has several segments, each of them is mixed and resampled on its own. The file stays open; its
    position changes. With `out`, a buffer of the length that `capacity` gives, the signal is a view of it.
    Raises `AudioRejected` with any reason but those of the storage and the sandbox.
    """
    budget = budget or Budget()
    if (size := os.fstat(fd).st_size) > budget.object_bytes:
        raise over_budget(f"{size:,} bytes", f"at most {budget.object_bytes:,}")
    recording = Recording(settings, budget, out)
    view = FileView(fd)
    try:
        _decode(view, settings, budget, recording)
    except formats.NotSupported as err:
        if not (settings.ffmpeg and err.demuxer):
            raise
        with contextlib.closing(ffmpeg.sources(view, err.start, err.demuxer)) as sources:
            _decode_with_ffmpeg(sources, settings, budget, recording)
    return recording.decoded()


def _decode(view: FileView, settings: DecodeSettings, budget: Budget, recording: Recording) -> None:
    middle = settings.offset == Offset.MIDDLE
    examined_s = math.inf if middle else settings.seconds
    segments: Iterable[Segment] = _checked(formats.segments(view, examined_s), settings.sr, budget)
    skipped = Fraction(0)
    if middle:
        segments = list(segments)
        skipped = _before_middle(segments, settings.seconds)
    for segment in segments:
        length = Fraction(segment.frames or 0, segment.sr)
        if not length or length > skipped:
            with libsndfile.opened(view, segment, examined_s) as source:
                recording.add(source, int(skipped * source.sr))
        skipped = max(Fraction(0), skipped - length)
        if recording.is_full:
            break


def _checked(segments: Iterable[Segment], sr: int, budget: Budget) -> Iterator[Segment]:
    """The segments; raises `AudioRejected` at one whose header declares too much."""
    for segment in segments:
        budget.check(segment.sr, segment.channels, sr)
        yield segment


def _decode_with_ffmpeg(
    sources: Iterable[ffmpeg.FfmpegSource], settings: DecodeSettings, budget: Budget, recording: Recording
) -> None:
    """If files were joined, the middle is the middle of the first one."""
    for number, source in enumerate(sources):
        budget.check(source.sr, source.channels, settings.sr)
        start = 0
        if settings.offset == Offset.MIDDLE and number == 0 and source.frames is not None:
            start = max(0, (source.frames - int(settings.seconds * source.sr)) // 2)
        recording.add(source, start)
        if recording.is_full:
            break


def _before_middle(segments: Sequence[Segment], seconds: float) -> Fraction:
    """Seconds before the requested part, in the middle; 0 if a segment does not declare its length."""
    if any(segment.frames is None for segment in segments):
        return Fraction(0)
    total = sum((Fraction(segment.frames or 0, segment.sr) for segment in segments), Fraction(0))
    requested = Fraction(int(seconds * segments[0].sr), segments[0].sr)
    return max(Fraction(0), (total - requested) / 2)
