"""The supported codecs, and the declarations of a file's header."""

import enum
from dataclasses import dataclass


class Codec(enum.StrEnum):
    """A supported format; its value is `container/codec`."""

    WAV = "wav/pcm"
    FLAC = "flac/flac"
    MP3 = "mp3/layer3"
    VORBIS = "ogg/vorbis"
    OPUS = "ogg/opus"


@dataclass(frozen=True)
class Header:
    """The declarations of a header, before any check against a budget."""

    codec: Codec
    sr: int
    """Sample rate in Hz; 48,000 for Opus, which decodes at this rate or a fraction of it."""
    channels: int
    frames: int | None
    """Samples per channel; None if only libsndfile can count them."""
