"""The audio files below a folder or an S3 prefix, recognized by the ends of their names."""

import os
from collections.abc import Iterator
from pathlib import PurePosixPath

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.stores.local import described
from genremill.infra.stores.objects import StoredObject

SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".wav", ".wave"}
    | {".aac", ".alac", ".amr", ".ape", ".au", ".caf", ".m4a", ".m4b", ".mka", ".mp2", ".mp4", ".webm"}
    | {".wma", ".wv"}
)
"""Ends of the names that count as audio, in lower case."""


def audio_files(uri: str) -> list[StoredObject]:
    """The audio files below a full URI, sorted by name; raises `UsageError` if there is no such folder.

    Hidden files and folders are left out, and links to folders are not followed.
    """
    if storage.is_object(uri):
        raise UsageError(f"{uri}: expected a folder, found a file")
    if storage.is_s3(uri):
        found = list(storage.objects(uri))
        if not found:
            raise UsageError(f"{uri}: no such object or prefix")
    else:
        folder = str(storage.local_path(uri))
        if not os.path.isdir(folder):
            raise UsageError(f"{uri}: no such folder")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise UsageError(f"{uri}: no permission to read this folder")
        found = list(_on_disk(folder))
    return sorted((file for file in found if is_audio(file.name)), key=lambda file: file.name)


def is_audio(name: str) -> bool:
    """Whether a relative path ends like audio, and no name in it is hidden.

    >>> is_audio("a/Song.MP3"), is_audio("a/.song.mp3"), is_audio(".a/song.mp3"), is_audio("song.txt")
    (True, False, False, False)
    """
    path = PurePosixPath(name)
    return not any(part.startswith(".") for part in path.parts) and path.suffix.lower() in SUFFIXES


def _on_disk(root: str) -> Iterator[StoredObject]:
    for folder, folders, names in os.walk(root, onerror=_warn):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                # Of a broken link, the link itself: reading it says what is wrong.
                status = os.stat(path) if os.path.exists(path) else os.lstat(path)
            except FileNotFoundError:  # removed while the folder was listed
                continue
            except OSError as err:  # in a folder that may be listed, but not entered
                _warn(err)
                break
            yield described(status, os.path.relpath(path, root))


def _warn(err: OSError) -> None:
    LOGGER.warning("cannot read the folder %s: %s", err.filename, err.strerror)
