"""Audio files with tags, in each format that has tags."""

from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import soundfile
from mutagen.asf import ASF
from mutagen.id3 import ID3, TALB, TCON, TDRC, TIT2, TPE1, TSRC, UFID
from mutagen.mp4 import MP4, MP4FreeForm

from tests.audio.ffmpeg_corpus import ENCODINGS, made

SR = 22050
SOUNDFILE = ("wav", "aiff", "flac", "ogg", "opus", "mp3")
KINDS = (*SOUNDFILE, "m4a", "wma")
"""The formats, by the end of the name of a file."""
_BY_FFMPEG = {"m4a": "ipod", "wma": "asf"}
_VORBIS = {
    "title": "title",
    "artists": "artist",
    "album": "album",
    "genres": "genre",
    "year": "date",
    "isrc": "isrc",
    "musicbrainz_id": "musicbrainz_trackid",
}
_ASF = dict(
    zip(
        _VORBIS,
        ("Title", "Author", "WM/AlbumTitle", "WM/Genre", "WM/Year", "WM/ISRC", "MusicBrainz/Track Id"),
        strict=True,
    )
)
_MP4 = {"title": "\xa9nam", "artists": "\xa9ART", "album": "\xa9alb", "genres": "\xa9gen", "year": "\xa9day"}
_MP4_FREE = {"isrc": "ISRC", "musicbrainz_id": "MusicBrainz Track Id"}


def write_audio(path: Path, seconds: float = 1.0, pitch: float = 440.0) -> Path:
    """Writes a tone in the format that the name of the file ends with."""
    kind = path.suffix[1:]
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in _BY_FFMPEG:
        encoding = next(each for each in ENCODINGS if each.container == _BY_FFMPEG[kind])
        path.write_bytes(made(encoding, seconds, pitch))
        return path
    sr = 48000 if kind == "opus" else SR
    y = 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * sr)) / sr)
    kinds: dict[str, dict[str, Any]] = {"opus": {"format": "OGG", "subtype": "OPUS"}}
    soundfile.write(path, y, sr, **kinds.get(kind, {}))
    return path


def write_tagged(path: Path, seconds: float = 1.0, pitch: float = 440.0, **fields: Any) -> Path:
    """Writes a tone with tags. The fields have the names of `Metadata`; artists and genres are lists."""
    write_audio(path, seconds, pitch)
    audio: Any = mutagen.File(str(path))
    if audio.tags is None:
        audio.add_tags()
    for name, value in fields.items():
        values = list(value) if isinstance(value, (list, tuple)) else [str(value)]
        if isinstance(audio.tags, ID3):
            audio.tags.add(_frame(name, values))
        elif isinstance(audio, MP4):
            if name in _MP4:
                audio.tags[_MP4[name]] = values
            else:
                free = [MP4FreeForm(text.encode()) for text in values]
                audio.tags[f"----:com.apple.iTunes:{_MP4_FREE[name]}"] = free
        else:
            audio.tags[(_ASF if isinstance(audio, ASF) else _VORBIS)[name]] = values
    audio.save()
    return path


def _frame(name: str, values: list[str]) -> Any:
    kinds: dict[str, Any] = {"title": TIT2, "artists": TPE1, "album": TALB, "genres": TCON}
    kinds |= {"year": TDRC, "isrc": TSRC}
    if name == "musicbrainz_id":
        return UFID(owner="http://musicbrainz.org", data=values[0].encode())
    return kinds[name](encoding=3, text=values)
