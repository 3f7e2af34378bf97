"""What audio files say about themselves is read in the sandbox; hostile tags cost only their own file."""

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutagen
import pytest
from mutagen.id3 import APIC, ID3, TDOR, TDRC, TIT1, TIT2

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import metadata
from genremill.udfs.decoding.metadata import MOST_CHARACTERS, MOST_VALUES, Metadata
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.segments import Range
from tests.audio.tagged_files import KINDS, write_audio, write_tagged

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
FIELDS: dict[str, Any] = {
    "title": "Säule & Söhne 音",
    "artists": ["Ada", "Bo Diddley"],
    "album": "An Album",
    "genres": ["Jazz", "Free Jazz"],
    "year": 1987,
    "isrc": "USRC17607839",
    "musicbrainz_id": MBID,
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as made:
        yield made


def read(sandbox: Sandbox, path: Path, hole: Range = (0, 0)) -> Metadata | None:
    fd = os.open(path, os.O_RDONLY)
    try:
        return sandbox.read_metadata(fd, path.suffix, hole)
    finally:
        os.close(fd)


def fault_of(sandbox: Sandbox, path: Path) -> str:
    """Why the tags cannot be read; the next file is read as usual."""
    try:
        found = read(sandbox, path)
        fault = found.fault if found else None
    except AudioRejected as err:
        fault = str(err)
    good = write_tagged(path.with_name("good.flac"), title="Good")
    assert read(sandbox, good) == Metadata(title="Good", duration_s=1.0)
    assert fault is not None
    return fault


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_gives_all_fields(kind: str, tmp_path: Path, sandbox: Sandbox) -> None:
    found = read(sandbox, write_tagged(tmp_path / f"song.{kind}", seconds=2.0, **FIELDS))
    assert found is not None
    assert found.duration_s == pytest.approx(2.0, abs=0.1)
    expected = FIELDS | {"artists": ("Ada", "Bo Diddley"), "genres": ("Jazz", "Free Jazz")}
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.fault is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_tags_has_its_duration(kind: str, tmp_path: Path, sandbox: Sandbox) -> None:
    found = read(sandbox, write_audio(tmp_path / f"song.{kind}", seconds=2.0))
    assert found is not None
    assert found.duration_s == pytest.approx(2.0, abs=0.1)
    assert (found.artists, found.genres, found.year, found.fault) == ((), (), None, None)


@pytest.mark.parametrize(
    ("isrc", "expected"),
    [
        ("us-rc1-76-07839", "USRC17607839"),
        (" GB AYE 68 00011 ", "GBAYE6800011"),
        ("USRC1760783", None),
        ("unknown", None),
        ("123456789012", None),
    ],
)
def test_an_isrc_is_normalized_or_left_out(
    isrc: str, expected: str | None, tmp_path: Path, sandbox: Sandbox
) -> None:
    found = read(sandbox, write_tagged(tmp_path / "song.flac", isrc=isrc))
    assert found is not None
    assert found.isrc == expected


@pytest.mark.parametrize(
    ("date", "expected"),
    [("2001", 2001), ("1999-12-31", 1999), ("20010304", None), ("0000", None), ("c. 1970", None), ("", None)],
)
def test_the_year_is_the_beginning_of_a_date(
    date: str, expected: int | None, tmp_path: Path, sandbox: Sandbox
) -> None:
    found = read(sandbox, write_tagged(tmp_path / "song.flac", year=date))
    assert found is not None
    assert found.year == expected


def test_the_first_release_counts(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_audio(tmp_path / "song.mp3")
    tags = ID3()
    tags.add(TDRC(encoding=3, text=["2015"]))
    tags.add(TDOR(encoding=3, text=["1971-05-01"]))
    tags.save(path)
    found = read(sandbox, path)
    assert found is not None
    assert found.year == 1971


def test_numbers_of_genres_have_names_and_one_text_can_have_several(tmp_path: Path, sandbox: Sandbox) -> None:
    found = read(sandbox, write_tagged(tmp_path / "song.mp3", genres=["17"], artists=["Ada; Bo;", "Bo"]))
    assert found is not None
    assert (found.genres, found.artists) == (("Rock",), ("Ada", "Bo"))


def test_a_file_whose_tags_hide_its_format_is_known_by_its_name(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_tagged(tmp_path / "song.flac", title="Comment")
    tags = ID3()
    tags.add(TIT2(encoding=3, text=["Frame"]))
    tags.save(before := tmp_path / "tags")
    path.write_bytes(before.read_bytes() + path.read_bytes())
    assert read(sandbox, path) == Metadata(title="Comment", duration_s=1.0)


def test_long_and_odd_texts_are_cut_and_cleaned(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_tagged(
        tmp_path / "song.flac",
        title="a\nb\x1b[31mc " + "x" * 100_000,
        artists=[f"Artist {number}" for number in range(1000)],
        album="\u2028 ",
    )
    found = read(sandbox, path)
    assert found is not None
    assert found.title is not None
    assert found.title.startswith("a b")
    assert len(found.title) == MOST_CHARACTERS
    assert "\x1b" not in found.title
    assert found.artists == tuple(f"Artist {number}" for number in range(MOST_VALUES))
    assert found.album is None


def test_unpaired_surrogates_become_question_marks() -> None:
    assert metadata._clean("a\ud800b") == "a?b"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", AudioReason.EMPTY), (b"<html>not found</html>" * 100, AudioReason.NOT_AUDIO)],
)
def test_a_file_that_is_no_audio_is_rejected(
    content: bytes, reason: AudioReason, tmp_path: Path, sandbox: Sandbox
) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(content)
    with pytest.raises(AudioRejected) as caught:
        read(sandbox, path)
    assert caught.value.reason is reason


def test_a_compressed_frame_that_expands_without_end_is_a_fault(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_audio(tmp_path / "song.mp3")
    packed = zlib.compress(bytes(1 << 30), 9)
    data = b"\x7f\x7f\x7f\x7f" + packed  # the size after unpacking, and the packed bytes
    size = len(data)
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"TIT2" + synchsafe + b"\x00\x09" + data
    whole = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x04\x00\x00" + whole + frame + path.read_bytes())
    assert "MemoryError" in fault_of(sandbox, path)


def test_atoms_without_end_are_a_fault(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_audio(tmp_path / "song.m4a")
    count = 200_000
    atoms = b"".join(struct.pack(">I4s", 8 * (count - number), b"moov") for number in range(count))
    path.write_bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"M4A ", 0) + atoms)
    assert fault_of(sandbox, path)


def test_a_header_without_audio_is_a_fault(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "song.flac"
    path.write_bytes(b"fLaC" + bytes(100))
    assert "bytes" in fault_of(sandbox, path)


def test_bytes_that_were_not_fetched_are_asked_for(tmp_path: Path, sandbox: Sandbox) -> None:
    path = write_audio(tmp_path / "song.mp3", seconds=20.0)
    tags = ID3()
    tags.add(APIC(encoding=3, mime="image/png", type=3, desc="", data=os.urandom(300_000)))
    tags.add(TIT1(encoding=3, text=["Group"]))
    tags.add(TIT2(encoding=3, text=["Title"]))
    tags.save(path)
    size = path.stat().st_size
    assert read(sandbox, path, (100_000, size - 10_000)) is None  # the frames after the picture
    whole = read(sandbox, path)
    assert whole is not None
    assert whole.title == "Title"
    assert read(sandbox, path, (400_000, size - 10_000)) == whole


def test_without_mutagen_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(UsageError, match=r"--tracks-from-audio needs the package mutagen.*genremill\[tag\]"):
        metadata.require("--tracks-from-audio")


def test_all_late_imports_of_mutagen_are_known() -> None:
    import subprocess

    script = f"""
import importlib, io, sys
for name in {metadata.MODULES!r}: importlib.import_module(name)
import mutagen
before = set(sys.modules)
mutagen.File(io.BytesIO(bytes(1000)))
print(sorted(name for name in set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert mutagen.version >= (1, 47)
