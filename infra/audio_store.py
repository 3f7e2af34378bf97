"""Audio objects by URI, from the folders and S3 prefixes that `--audio-root` allows, and no others."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genremill.infra import audio_paths, local_files, s3_objects
from genremill.infra.audio_faults import AudioReason, AudioRejected
from genremill.infra.audio_paths import Place, shown
from genremill.infra.errors import UsageError
from genremill.infra.s3_client import Patience

MAX_BYTES = 1 << 30
"""A larger object is not opened: 100 minutes of stereo at 44.1 kHz and 16 bit fit."""


@dataclass(frozen=True)
class AudioObject:
    """An object as it was found: as long as its etag stays, so do its bytes."""

    uri: str
    etag: str
    size: int


@dataclass(frozen=True)
class OpenedAudio:
    """An object's bytes behind a descriptor that reads from their start."""

    fd: int
    etag: str
    size: int
    content_hash: str


class AudioStore:
    """Reads audio objects under a list of roots; may be sent to other processes."""

    def __init__(
        self, roots: Sequence[str], *, max_bytes: int = MAX_BYTES, patience: Patience | None = None
    ) -> None:
        self.roots: tuple[Place, ...] = tuple(map(audio_paths.root, roots))
        self.max_bytes = max_bytes
        self.patience = patience or Patience()
        for place in self.roots:
            if not place.bucket and not os.path.isdir(place.path):
                raise UsageError(f"--audio-root {place}: no such folder")

    def stat(self, uri: str) -> AudioObject:
        """What is at a URI now; `AudioRejected` if nothing is, or nothing that may be read."""
        root, place = audio_paths.locate(uri, self.roots)
        if place.bucket:
            return AudioObject(uri, *s3_objects.state(place, self.patience))
        return AudioObject(uri, *local_files.state(root, place, uri))

    @contextlib.contextmanager
    def open(self, audio: AudioObject) -> Iterator[OpenedAudio]:
        """The bytes of an object, as long as it is still the one that `stat` found.

        `AudioRejected` where it is gone or changed; at the end of the block too, if a local file was written
        to meanwhile: what was read then is worth nothing. `StorageError` where the storage fails.
        """
        root, place = audio_paths.locate(audio.uri, self.roots)
        if audio.size > self.max_bytes:
            detail = f"{shown(audio.uri)}: {audio.size} bytes, at most {self.max_bytes} are read"
            raise AudioRejected(AudioReason.HEADER_OVER_BUDGET, detail)
        if place.bucket:
            kept, digest = s3_objects.fetch(place, audio.etag, audio.size, self.patience)
            with kept:
                yield OpenedAudio(kept.fileno(), audio.etag, audio.size, digest)
        else:
            with local_files.opened(root, place, audio.uri, audio.etag) as (fd, digest):
                yield OpenedAudio(fd, audio.etag, audio.size, digest)
