"""The audio files at the paths that a user names: files, folders, and objects or prefixes on S3."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.audio.listing import audio_files
from genremill.infra.audio.paths import split
from genremill.infra.errors import UsageError


@dataclass(frozen=True)
class SongFile:
    """An audio file."""

    name: str
    """The path as the user typed it; in a folder, followed by the path in the folder."""
    audio: str
    """The absolute path, or the URI on S3."""
    root: str
    """The folder or prefix that the file must be in."""


def song_files(paths: Sequence[str]) -> list[SongFile]:
    """The audio files at all paths, each once; raises `UsageError` for a path without audio files."""
    if not paths:
        raise UsageError("expected the path of an audio file or of a folder, or several; found none")
    files = [file for path in paths for file in _at(path)]
    return list({file.audio: file for file in reversed(files)}.values())[::-1]


def is_local(file: SongFile) -> bool:
    """Whether a file is on the file system."""
    return not storage.is_s3(file.audio)


def _at(path: str) -> list[SongFile]:
    uri = storage.absolute_uri(path)
    files = _on_s3(path, uri) if storage.is_s3(uri) else _on_disk(path, str(storage.local_path(uri)))
    if not files:
        raise UsageError(f"{path}: found no audio files in this folder; expected names such as song.mp3")
    return files


def _on_s3(path: str, uri: str) -> list[SongFile]:
    if storage.is_object(uri):
        return [SongFile(path, uri, uri.rpartition("/")[0])]
    return [SongFile(_joined(path, file.name), f"{uri}/{file.name}", uri) for file in audio_files(uri)]


def _on_disk(path: str, local: str) -> list[SongFile]:
    real = os.path.realpath(local)
    if not os.path.exists(real):
        raise UsageError(f"{path}: no such file or folder")
    is_folder = os.path.isdir(real)
    root = real if is_folder else os.path.dirname(real)
    if root == "/":
        raise UsageError(f"{path}: expected a folder, or a file in a folder; found the whole file system")
    if not is_folder:
        return [SongFile(path, real, root)]
    shown = path if split(path)[0] == "" else local  # a file: URI is percent-encoded
    files = audio_files(f"file://{real}")
    return [SongFile(_joined(shown, file.name), f"{real}/{file.name}", root) for file in files]


def _joined(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"
