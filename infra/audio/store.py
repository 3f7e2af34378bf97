"""Audio objects by URI, only from the folders and S3 prefixes that `--audio-root` allows."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from genremill.infra.audio import local_files, paths as audio_paths, s3_objects
from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Location, redacted
from genremill.infra.audio.s3_objects import Hole
from genremill.infra.errors import UsageError
from genremill.infra.stores.s3_client import RetrySettings

MAX_BYTES = 1 << 30
"""Larger objects are not opened; 100 minutes of 16-bit stereo at 44.1 kHz are smaller."""


@dataclass(frozen=True)
class AudioObject:
    """An object at the time of its listing; an equal etag means equal bytes. The size is in bytes."""

    uri: str
    etag: str
    size: int
    file: str = field(default="", compare=False)
    """Host, device and inode, which are equal for all paths of a file on a host; empty on S3."""


@dataclass(frozen=True)
class OpenedAudio:
    """The bytes of an object: a file descriptor at their start, and their hash."""

    fd: int
    etag: str
    size: int
    content_hash: str


class AudioStore:
    """Reads audio objects under a list of roots; can be pickled."""

    def __init__(
        self, roots: Sequence[str], *, max_bytes: int = MAX_BYTES, retries: RetrySettings | None = None
    ) -> None:
        self.roots: tuple[Location, ...] = tuple(map(audio_paths.parse_root, roots))
        self.max_bytes = max_bytes
        self.retries = retries or RetrySettings()
        for root in self.roots:
            if not root.bucket and not os.path.isdir(root.path):
                raise UsageError(f"--audio-root {root}: no such folder")

    def stat(self, uri: str) -> AudioObject:
        """The object at a URI; raises `AudioRejected` if it does not exist or must not be read."""
        result = self.stats([uri])[0]
        if isinstance(result, AudioRejected):
            raise result
        return result

    def stats(self, uris: Sequence[str]) -> list[AudioObject | AudioRejected]:
        """The object at each of many URIs, or why there is none; S3 needs fewer requests than with `stat`."""
        located = [self._located(uri) for uri in uris]
        on_s3 = s3_objects.states([item for item in located if isinstance(item, Location)], self.retries)
        states: list[tuple[str, int] | tuple[str, int, str] | AudioRejected] = [
            on_s3[item] if isinstance(item, Location) else item for item in located
        ]
        return [
            state if isinstance(state, AudioRejected) else AudioObject(uri, *state)
            for uri, state in zip(uris, states, strict=True)
        ]

    def _located(self, uri: str) -> Location | tuple[str, int, str] | AudioRejected:
        """The location of an object on S3; the state of a local file; or why it must not be read."""
        try:
            root, location = audio_paths.locate(uri, self.roots)
            return location if location.bucket else local_files.state(root, location, uri)
        except AudioRejected as err:
            return err

    @contextlib.contextmanager
    def ends(self, audio: AudioObject) -> Iterator[tuple[int, Hole]]:
        """A descriptor of an object's start and end, and the hole between them, where zeros stand for bytes.

        Start and end of the hole are equal if the object is local or small: then nothing is missing. Raises
        the same errors as `open`.
        """
        root, location = audio_paths.locate(audio.uri, self.roots)
        if location.bucket:
            copy, hole = s3_objects.fetch_ends(location, audio.etag, audio.size, self.retries)
            with copy:
                yield copy.fileno(), hole
        else:
            with local_files.opened(root, location, audio.uri, audio.etag) as fd:
                yield fd, (0, 0)

    @contextlib.contextmanager
    def open(self, audio: AudioObject) -> Iterator[OpenedAudio]:
        """The bytes of an object, if it has not changed since `stat`.

        Raises `AudioRejected` if it is missing or has changed; also at the end of the block, if a local file
        was written to in the meantime. Raises `StorageError` if the storage fails.
        """
        root, location = audio_paths.locate(audio.uri, self.roots)
        if audio.size > self.max_bytes:
            detail = f"{redacted(audio.uri)}: {audio.size} bytes, expected at most {self.max_bytes}"
            raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)
        if location.bucket:
            copy, digest = s3_objects.fetch(location, audio.etag, audio.size, self.retries)
            with copy:
                yield OpenedAudio(copy.fileno(), audio.etag, audio.size, digest)
        else:
            with local_files.opened(root, location, audio.uri, audio.etag) as fd:
                digest = local_files.sha256(fd, audio.uri, audio.etag)
                yield OpenedAudio(fd, audio.etag, audio.size, digest)
