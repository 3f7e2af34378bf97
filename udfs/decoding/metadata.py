"""What an audio file says about itself: title, artists, album, genres, year, ids and duration.

mutagen reads the tags, in the child process of `sandbox`, where a malicious file does no harm. mutagen has
the license GPL-2.0-or-later, so it is no dependency: it is only imported if a user has installed it.
"""

import contextlib
import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from genremill.infra import extras
from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import formats
from genremill.udfs.decoding.segments import FileView, Range, SplicedFile

REVISION = 1
"""Increase it if files give other metadata than before; they are then read again."""
MODULES = tuple(
    f"mutagen.{name}"
    for name in (
        *("aac", "ac3", "aiff", "apev2", "asf", "dsdiff", "dsf", "flac", "id3", "monkeysaudio", "mp3", "mp4"),
        *("musepack", "oggflac", "oggopus", "oggspeex", "oggtheora", "oggvorbis", "optimfrog", "smf", "tak"),
        *("trueaudio", "wave", "wavpack"),
    )
)
"""What mutagen imports late; the child cannot import it after it has given up the right to open files."""
FAULTS = (EOFError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError, struct.error)
"""What mutagen raises for some damaged files besides its own error."""
MOST_CHARACTERS, MOST_VALUES = 300, 20
"""Longest text, and most artists or genres of a file; the rest is cut off."""
MOST_SECONDS = 864_000.0
"""A longer duration, more than ten days, counts as unknown."""
SEPARATOR = ";"
"""Separates several artists or genres in one text."""
_KEYS = {
    "title": ("TIT2", "\xa9nam", "title", "Title"),
    "artists": ("TPE1", "\xa9ART", "artist", "Author"),
    "album": ("TALB", "\xa9alb", "album", "WM/AlbumTitle"),
    "genres": ("TCON", "\xa9gen", "genre", "WM/Genre"),
    "original_year": ("TDOR", "originaldate", "originalyear", "WM/OriginalReleaseYear"),
    "year": ("TDRC", "\xa9day", "date", "year", "WM/Year"),
    "isrc": ("TSRC", "----:com.apple.iTunes:ISRC", "isrc", "WM/ISRC"),
    "musicbrainz_id": (
        *("UFID:http://musicbrainz.org", "----:com.apple.iTunes:MusicBrainz Track Id"),
        *("musicbrainz_trackid", "MusicBrainz/Track Id"),
    ),
}
"""The names of each field in ID3, MP4, Vorbis and APE, and ASF."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_YEAR = re.compile(r"(1[0-9]{3}|20[0-9]{2})(?![0-9])")
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Metadata:
    """What a file says about itself; None and empty where it says nothing."""

    title: str | None = None
    album: str | None = None
    artists: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    year: int | None = None
    """The year of the first release, or else of this release."""
    isrc: str | None = None
    """The International Standard Recording Code: 12 letters and digits without hyphens."""
    musicbrainz_id: str | None = None
    """The id of the recording at MusicBrainz, a UUID."""
    duration_s: float | None = None
    """Seconds, as the headers say."""
    fault: str | None = None
    """Why the tags cannot be read."""

    def __post_init__(self) -> None:
        """Raises `ValueError` on values that `read` never gives: the child may have been taken over."""
        texts = [text for text in (self.title, self.album, self.fault) if text is not None]
        texts += (*self.artists, *self.genres)
        if not all(isinstance(text, str) and len(text) <= MOST_CHARACTERS for text in texts):
            raise ValueError("expected short texts")
        "".join(texts).encode()  # raises an error for an unpaired surrogate, which no table can hold
        if max(len(self.artists), len(self.genres)) > MOST_VALUES:
            raise ValueError(f"expected at most {MOST_VALUES} artists and genres")
        if self.year is not None and not (isinstance(self.year, int) and 1000 <= self.year < 2100):
            raise ValueError("expected a year")
        for pattern, text in ((_ISRC, self.isrc), (_UUID, self.musicbrainz_id)):
            if text is not None and not pattern.fullmatch(text):
                raise ValueError("expected an ISRC and a UUID")
        if self.duration_s is not None and not (
            isinstance(self.duration_s, float) and 0 < self.duration_s <= MOST_SECONDS
        ):
            raise ValueError("expected a duration")

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> "Metadata":
        """Metadata from a JSON object; raises `ValueError` or `TypeError` if it is none."""
        lists = {name: tuple(fields.get(name, ())) for name in ("artists", "genres")}
        return cls(**(fields | lists))


class InHole(BaseException):
    """Bytes are needed that were not fetched. No library catches it, because it is no `Exception`."""


def require(flag: str) -> None:
    """Raises `UsageError` if mutagen is not installed; `flag` is what needs it."""
    extras.require(flag, "mutagen", "mutagen (license GPL-2.0-or-later)", "tag")


def read(fd: int, suffix: str, hole: Range) -> Metadata | None:
    """The metadata of an open file; None if bytes in the hole are needed, which is empty if there is none.

    `suffix` is the end of its name, such as `.mp3`, for files that begin like several formats. Raises
    `AudioRejected` with `empty` or `not_audio`. Damaged tags are a `fault`.
    """
    is_whole = not hole[0] < hole[1]
    try:
        _check_format(fd)
        found = _read(_PartialFile(fd, suffix, hole))
    except InHole:
        return None
    except AudioRejected:
        if is_whole:
            raise
        return None
    return found if is_whole or found.duration_s else None


def _check_format(fd: int) -> None:
    """Raises `AudioRejected` if a file is empty or of no known format; decoding finds out the rest."""
    try:
        next(formats.segments(FileView(fd), 0.0), None)
    except AudioRejected as err:
        if err.reason in (AudioReason.EMPTY, AudioReason.NOT_AUDIO):
            raise


def _read(file: "_PartialFile") -> Metadata:
    import mutagen

    try:
        audio = mutagen.File(io.BufferedReader(file))
        if audio is None:
            return Metadata()
        found = {name: _values(audio.tags, keys) for name, keys in _KEYS.items()}
        length = getattr(audio.info, "length", 0)
    except (mutagen.MutagenError, RecursionError, *FAULTS) as err:
        return Metadata(fault=_clean(f"{type(err).__name__}: {err}") or type(err).__name__)
    years = [match[0] for text in (*found["original_year"], *found["year"]) if (match := _YEAR.match(text))]
    return Metadata(
        title=_first(found["title"]),
        album=_first(found["album"]),
        artists=_parts(found["artists"]),
        genres=_parts(found["genres"]),
        year=int(years[0]) if years else None,
        isrc=_code(_ISRC, found["isrc"], lambda text: re.sub(r"[\s-]", "", text).upper()),
        musicbrainz_id=_code(_UUID, found["musicbrainz_id"], str.lower),
        duration_s=float(length) if 0 < length <= MOST_SECONDS else None,
    )


def _values(tags: Any, keys: tuple[str, ...]) -> list[str]:  # noqa: ANN401 (mutagen has no type in common)
    """The texts of the first of some keys that tags have."""
    for key in keys if tags is not None else ():
        with contextlib.suppress(KeyError, ValueError):  # Vorbis comments refuse names that are not ASCII
            if texts := [clean for text in _texts(tags[key]) if (clean := _clean(text))]:
                return texts
    return []


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 (mutagen has no type in common)
    """The texts in a value of any of mutagen's types."""
    if isinstance(value, str):
        yield from value.split("\0")
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)
    else:
        # Genres of ID3 (with the names of their numbers), texts of ID3, owners' ids, values of APE and ASF.
        names = ("genres", "text", "data", "value")
        inner = next((getattr(value, name) for name in names if hasattr(value, name)), None)
        yield from [str(value)] if inner is None else _texts(inner)


def _clean(text: str) -> str:
    """A text without control characters and unpaired surrogates, cut off."""
    valid = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub(" ", valid)[:MOST_CHARACTERS].strip()


def _first(texts: list[str]) -> str | None:
    return texts[0] if texts else None


def _parts(texts: list[str]) -> tuple[str, ...]:
    """The different names in some texts."""
    parts = (part.strip() for text in texts for part in text.split(SEPARATOR))
    return tuple(dict.fromkeys(filter(None, parts)))[:MOST_VALUES]


def _code(pattern: re.Pattern[str], texts: list[str], change: Callable[[str], str]) -> str | None:
    """The first text that is a code after a change."""
    return next((code for text in texts if pattern.fullmatch(code := change(text))), None)


class _PartialFile(SplicedFile):
    """A file of which some bytes were not fetched; reading them raises `InHole`."""

    def __init__(self, fd: int, suffix: str, hole: Range) -> None:
        super().__init__(fd, ((0, FileView(fd).size),))
        self.name = f"file{suffix}"
        self._hole = hole

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Reads the next bytes, as `SplicedFile` does; raises `InHole` if some of them are in the hole."""
        start, end = self._hole
        position = self.tell()
        if start < end and position < end and position + len(buffer) > start:
            if position >= start:
                raise InHole
            buffer = memoryview(buffer)[: start - position]
        return super().readinto(buffer)
