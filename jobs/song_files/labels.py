"""The labels of an audio file, and what every tagger offers."""

import enum
from dataclasses import dataclass
from typing import Protocol

from genremill.infra.audio.faults import AudioReason
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier

MOST_LABELS = 5


class Status(enum.StrEnum):
    """What became of a file."""

    TAGGED = "tagged"
    ABSTAINED = "abstained"  # no label is likely enough
    OUTLIER = "outlier"  # the file is unlike everything that the model was trained on
    REJECTED = "rejected"  # the file could not be read


@dataclass(frozen=True)
class Label:
    """A label, with a probability from 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Tags:
    """The result for a file."""

    status: Status
    labels: tuple[Label, ...] = ()
    """The likeliest labels, falling."""
    genre: str | None = None
    """The genre that `--write-tags` writes; None if there is none."""
    reason: AudioReason | None = None
    """Why a file was rejected."""
    detail: str = ""


@dataclass(frozen=True)
class Reading:
    """How audio files are read."""

    store: AudioStore
    ffmpeg: bool
    barrier: Barrier


class Tagger(Protocol):
    """A trained model or the published tagger, ready to use."""

    @property
    def note(self) -> str:
        """What a user must know about its labels; empty if there is nothing."""

    def tags(self, sandbox: Sandbox, audio: AudioObject) -> Tags:
        """The tags of a file; raises `AudioRejected` if it is bad."""
