"""Audio objects by URI, from the folders and S3 prefixes that `--audio-root` allows, and no others."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genremill.infra.audio import local_files, paths as audio_paths, s3_objects
from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import Place, shown
from genremill.infra.errors import UsageError
from genremill.infra.stores.s3_client import Patience

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
        found = self.stats([uri])[0]
        if isinstance(found, AudioRejected):
            raise found
        return found

    def stats(self, uris: Sequence[str]) -> list[AudioObject | AudioRejected]:
        """What is at each of many URIs now, or why not; on S3 by fewer requests."""
        located = [self._located(uri) for uri in uris]
        places = [one for one in located if isinstance(one, Place)]
        on_s3 = s3_objects.states(places, self.patience)
        return [
            self._found(uri, on_s3[one] if isinstance(one, Place) else one)
            for uri, one in zip(uris, located, strict=True)
        ]

    def _located(self, uri: str) -> Place | tuple[str, int] | AudioRejected:
        """The place of an object on S3; etag and size of a local one; or why it may not be read."""
        try:
            root, place = audio_paths.locate(uri, self.roots)
            return place if place.bucket else local_files.state(root, place, uri)
        except AudioRejected as err:
            return err

    def _found(self, uri: str, state: tuple[str, int] | AudioRejected) -> AudioObject | AudioRejected:
        return state if isinstance(state, AudioRejected) else AudioObject(uri, *state)

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
