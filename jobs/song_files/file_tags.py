"""Writes a genre into the tags of an audio file: ID3, Vorbis comments or MP4 atoms, with mutagen.

mutagen has the license GPL-2.0-or-later, so it is no dependency: it is only imported if a user has installed
it. It writes files without a sandbox, so it only gets files that the decoder has read.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from genremill.infra.errors import GenremillError
from genremill.udfs.decoding.metadata import FAULTS

BACKUP = ".bak"
"""Added to the name of a file for its backup, with a number from the second backup on."""
EXPECTED = "expected MP3, FLAC, OGG, Opus, M4A, WAV or AIFF"


class NotWritten(GenremillError):
    """The tags of one file could not be written; the file is unchanged."""


def write_genre(path: str, genre: str) -> str | None:
    """Writes the genre in one atomic step, and returns the path of the backup; None if it was there already.

    The backup is the file itself under another name. Raises `NotWritten` if the format has no such tags, or
    the file is damaged, changes meanwhile, or is in a folder that cannot be written.
    """
    try:
        return _written(Path(path), genre)
    except OSError as err:
        raise NotWritten(f"{path}: the genre is not written: {err.strerror or err}") from err


def _written(path: Path, genre: str) -> str | None:
    before = path.stat()
    number, name = tempfile.mkstemp(prefix=".genremill-", suffix=path.suffix, dir=path.parent)
    os.close(number)
    copy = Path(name)
    try:
        shutil.copyfile(path, copy)
        if not _edit(copy, path, genre):
            return None
        shutil.copymode(path, copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
        now = path.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise NotWritten(f"{path}: the genre is not written: the file was changed at the same time")
        backup = _backed_up(path)
        copy.replace(path)
        return backup
    finally:
        copy.unlink(missing_ok=True)


def _edit(copy: Path, path: Path, genre: str) -> bool:
    """Whether the genre was not there yet; it is now in the copy."""
    import mutagen

    try:
        audio = mutagen.File(str(copy), easy=True)
        if audio is None:
            raise NotWritten(f"{path}: the genre is not written: unknown format; {EXPECTED}")
        return _set(audio, path, genre)
    except (mutagen.MutagenError, *FAULTS) as err:
        raise NotWritten(f"{path}: the genre is not written: its tags are damaged: {err}") from err


def _set(audio: Any, path: Path, genre: str) -> bool:  # noqa: ANN401 (mutagen has no type of files in common)
    from mutagen.easymp4 import EasyMP4
    from mutagen.flac import FLAC
    from mutagen.id3 import ID3, TCON
    from mutagen.mp3 import EasyMP3
    from mutagen.ogg import OggFileType

    if audio.tags is None:
        audio.add_tags()
    value: Any = [genre]
    if isinstance(audio, (EasyMP3, EasyMP4, FLAC, OggFileType)):
        key, found = "genre", audio.tags.get("genre")
    elif isinstance(audio.tags, ID3):  # in WAV and AIFF, for which there are no easy names
        make_frame: Any = TCON
        key, value = "TCON", make_frame(encoding=3, text=[genre])
        found = [text for frame in audio.tags.getall("TCON") for text in frame.genres]
    else:
        raise NotWritten(f"{path}: the genre is not written: found {type(audio).__name__}; {EXPECTED}")
    if found == [genre]:
        return False
    audio.tags[key] = value
    # A file with ID3v2.3, which more players read, keeps that version.
    with path.open("rb") as file:
        is_v23 = file.read(4) == b"ID3\x03" or getattr(audio.tags, "version", (0, 0))[:2] == (2, 3)
    audio.save(**({"v2_version": 3} if is_v23 else {}))
    return True


def _backed_up(path: Path) -> str:
    """Gives a file a second name that does not exist yet; an earlier backup is never replaced."""
    for number in range(1, 1000):
        backup = path.with_name(f"{path.name}{BACKUP}{number if number > 1 else ''}")
        try:
            os.link(path, backup)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if backup.exists():
                continue
            shutil.copy2(path, backup)
        return str(backup)
    raise NotWritten(f"{path}: the genre is not written: there are 999 backups of it")
