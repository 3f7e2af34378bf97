"""Segments that libsndfile decodes."""

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import soundfile

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.segments import Codec, FileView, Segment, SplicedFile
from genremill.udfs.decoding.source import BLOCK, Block

_UNKNOWN_FRAMES = 2**63 - 1
"""libsndfile's number of frames for a FLAC whose writer could not seek back."""
_PCM = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_READS_AS = {
    Codec.WAV: (("WAV", "WAVEX", "RF64"), _PCM),
    Codec.AIFF: (("AIFF",), _PCM),
    Codec.FLAC: (("FLAC",), ("PCM_S8", "PCM_16", "PCM_24")),
    Codec.MP3: (("MP3",), ("MPEG_LAYER_III",)),
    Codec.VORBIS: (("OGG",), ("VORBIS",)),
    Codec.OPUS: (("OGG",), ("OPUS",)),
}
"""The formats and subtypes that libsndfile must find in a file with the codec."""
_MP3_TOLERANCE = 2 * 1152
"""Samples that libsndfile may find less than there are frames, before it is told their number."""


class LibsndfileSource:
    """An opened segment."""

    def __init__(self, file: "_Sequential", frames: int | None) -> None:
        self._file = file
        self.sr: int = file.samplerate
        self.channels: int = file.channels
        self.frames = frames
        self.lost = 0

    def blocks(self, start: int, frames: int) -> Iterator[Block]:
        """At most `frames` frames from `start` on; the next block overwrites the one before."""
        if start >= self._file.frames:
            return
        if start:
            self._file.seek(start)
        buffer = np.empty((min(BLOCK, frames), self.channels), np.float32)
        while frames:
            block = self._file.read(min(BLOCK, frames), out=buffer[:frames])
            if not len(block):
                return
            frames -= len(block)
            yield block


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is only read forward.

    soundfile seeks after each read of a seekable file. That takes time, and it changes the samples of a codec
    that depends on earlier frames (Opus).
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def opened(view: FileView, segment: Segment, seconds: float) -> Iterator[LibsndfileSource]:
    """A segment whose first `seconds` are needed; raises `AudioRejected` if libsndfile cannot decode it."""
    try:
        file = _whole(view, segment, seconds)
        is_spliced = file is None
        with file or _Sequential(SplicedFile(view.fd, segment.pieces, segment.prefix)) as file:
            _check_agreement(file, segment)
            yield LibsndfileSource(file, _frames(file, segment, is_spliced))
    except soundfile.LibsndfileError as err:
        detail = err.error_string or f"libsndfile error {err.code}"
        raise AudioRejected(AudioReason.DECODE_FAILED, detail) from err


def _whole(view: FileView, segment: Segment, seconds: float) -> _Sequential | None:
    """The file as it is, if libsndfile then finds all of the segment; faster than reading pieces of it."""
    if not segment.is_file:
        return None
    os.lseek(view.fd, 0, os.SEEK_SET)
    try:
        # A copy: libsndfile 1.2.0 closes the descriptor of a file that it does not understand.
        file = _Sequential(os.dup(view.fd))
    except soundfile.LibsndfileError:  # for example, it does not skip APE tags
        return None
    needed = min(seconds * segment.sr, segment.frames or 0)
    if segment.codec is Codec.MP3 and file.frames + _MP3_TOLERANCE < needed:
        file.close()
        return None
    return file


def _frames(file: _Sequential, segment: Segment, is_spliced: bool) -> int | None:
    """Frames that an opened segment should have, at the rate at which it is decoded."""
    if segment.frames is None or (segment.codec is Codec.MP3 and is_spliced):
        return None if file.frames == _UNKNOWN_FRAMES else int(file.frames)
    frames = int(segment.frames * file.samplerate / segment.sr)
    # Only libsndfile knows how long the first page of a recording of a running stream is.
    knows_more = segment.codec in (Codec.VORBIS, Codec.OPUS) and file.frames != _UNKNOWN_FRAMES
    return max(frames, int(file.frames)) if knows_more else frames


def _check_agreement(file: _Sequential, segment: Segment) -> None:
    """Checks that libsndfile finds what our code has found, so that it decodes what was checked."""
    formats, subtypes = _READS_AS[segment.codec]
    same_format = file.format in formats and file.subtype in subtypes
    same_rate = file.samplerate == segment.sr or segment.codec is Codec.OPUS
    if not (same_format and same_rate and file.channels == segment.channels):
        found = f"{file.format} {file.subtype}, {file.samplerate} Hz, {file.channels} channels"
        expected = f"{segment.codec}, {segment.sr} Hz, {segment.channels} channels"
        detail = f"libsndfile finds {found}, but the headers declare {expected}"
        raise AudioRejected(AudioReason.DECODE_FAILED, detail)
