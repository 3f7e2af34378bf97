"""`tag`: labels of audio files end to end, with the published tagger and hostile files."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile as sf
from mutagen.id3 import ID3, TCON, TIT2

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.jobs import cli, nightly, tag
from genremill.jobs.flags import declared as flags_of
from genremill.jobs.nights import steps
from genremill.jobs.song_files import file_tags, model_sets
from genremill.jobs.song_files.published import NOT_GENRES, PREFIX
from genremill.jobs.synthetic.clips import FORMATS, SR, clip, style_of
from genremill.udfs.decoding import metadata
from genremill.udfs.feature_sets import registry
from tests.audio.ffmpeg_corpus import ENCODINGS, encoded
from tests.conftest import real_data

TagFiles = Callable[..., dict[str, Any]]


def write_clip(path: Path, genre: int = 3, kind: str = "") -> None:
    kind = kind or path.suffix[1:]
    y = clip(style_of(genre, 30), np.random.default_rng(genre))
    sf.write(path, y, SR, format=kind, subtype=FORMATS[kind])


@pytest.fixture
def tag_files(capsys: pytest.CaptureFixture[str]) -> TagFiles:
    """The JSON document of `tag` by path."""

    def run(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
        assert cli.main(["tag", "--json", *arguments]) == exit_code
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        document = json.loads(out)
        assert list(document) == ["files"]
        return {file["path"]: file for file in document["files"]}

    return run


def test_a_file_gets_labels_of_the_published_tagger(tmp_path: Path, tag_files: TagFiles) -> None:
    path = str(tmp_path / "song.wav")
    write_clip(Path(path))
    file = tag_files(path)[path]
    assert (file["reason"], file["status"]) == (None, "tagged")
    probabilities = [label["probability"] for label in file["labels"]]
    assert 1 <= len(probabilities) <= 5
    assert probabilities == sorted(probabilities, reverse=True)
    assert min(probabilities) >= 0.1

    features = registry.named("musicnn")
    named = {name.removeprefix(PREFIX).replace("_", " ") for name in features.value_names}
    assert {label["label"] for label in file["labels"]} <= named
    assert named >= NOT_GENRES


def test_the_start_of_a_command_imports_no_spark_and_no_torch() -> None:
    code = (
        "import sys\nfrom genremill.jobs import cli\n"
        "assert cli.main(['tag', '/none.mp3']) == 2\n"
        "print([name for name in ('pyspark', 'torch', 'numba', 'pandas', 'mutagen') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "/none.mp3: no such file or folder" in done.stderr


def test_a_tagged_file_needs_no_spark(tmp_path: Path) -> None:
    write_clip(tmp_path / "song.wav")
    code = (
        "import sys\nfrom genremill.jobs import cli\n"
        f"assert cli.main(['tag', '--csv', {str(tmp_path)!r}]) == 0\n"
        "assert 'pyspark' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_bad_files_and_hostile_names_cost_themselves_only(
    tmp_path: Path, tag_files: TagFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ["a\nb.wav", "\x1b[31mred.wav", '=1+1,"x".wav', "50% off?*.wav", "-x.wav"]
    for name in hostile:
        write_clip(tmp_path / name)
    raw = os.fsencode(tmp_path) + b"/\xff.wav"
    os.link(os.fsencode(tmp_path) + b"/-x.wav", raw)
    (tmp_path / "page.mp3").write_text("<html>503 Slow Down</html>")
    (tmp_path / "empty.flac").touch()
    data = (tmp_path / "-x.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 3])
    outside = tmp_path.parent / f"{tmp_path.name}-outside.wav"
    write_clip(outside)
    (tmp_path / "link.wav").symlink_to(outside)
    (tmp_path / "notes.txt").write_text("no audio")
    (tmp_path / ".hidden.wav").write_bytes(data)

    found = tag_files(str(tmp_path), exit_code=3)
    reasons = {path.removeprefix(f"{tmp_path}/"): file["reason"] for path, file in found.items()}
    expected = {"page.mp3": "not_audio", "empty.flac": "empty", "cut.wav": "truncated"}
    assert reasons == dict.fromkeys([*hostile, "\udcff.wav"]) | expected | {"link.wav": "path_refused"}
    assert all(bool(file["labels"]) == (file["reason"] is None) for file in found.values())
    assert tag_files(str(tmp_path / "link.wav"))  # a user who names the link means its target

    for form in ([], ["--csv"]):
        assert cli.main(["tag", *form, str(tmp_path)]) == 3
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err
        assert "published tagger" in (shown.err if form else shown.out)
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert {row["path"].removeprefix(f"{tmp_path}/") for row in rows if row["rank"] in ("", "1")} == {
        *(name.replace("\n", "·").replace("\x1b", "·") for name in hostile),
        "·.wav",
        *expected,
        "link.wav",
    }


def test_wrong_usage_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    cases = {
        ("--json", "--csv", "x.mp3"): "expected at most one of them",
        (str(tmp_path),): f"{tmp_path}: found no audio files",
        ("https://host/a.mp3",): "only file: and s3a: URIs",
        ("--model", str(tmp_path), str(tmp_path)): f"{tmp_path}: found no audio files",
    }
    for arguments, message in cases.items():
        assert cli.main(["tag", *arguments]) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert shown.out == ""


def test_only_local_files_can_be_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage, "is_object", lambda uri: True)
    assert cli.main(["tag", "--write-tags", "s3://bucket/a.mp3"]) == 2
    assert "expected local files only, found s3://bucket/a.mp3" in capsys.readouterr().err


def test_many_files_need_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tag_files: TagFiles
) -> None:
    monkeypatch.setattr(tag, "MOST_FILES", 1)
    for name in "ab":
        write_clip(tmp_path / f"{name}.wav")
    assert cli.main(["tag", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "genremill nightly" in err
    assert "use --all" in err
    assert len(tag_files("--all", str(tmp_path))) == 2


def test_the_batch_jobs_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[list[str]] = []

    def main(flags: list[str]) -> int:
        got.append(flags)
        return 3

    monkeypatch.setattr(nightly, "main", main)
    monkeypatch.setattr(model_sets, "model_at", lambda location: (f"file:///{location}", None))
    flags = ["--batch", "wh", "--model", "m", "--sandbox", "require", "--ffmpeg", "--json"]
    assert cli.main(["tag", *flags, "my music"]) == 3
    expected = ["--warehouse", "wh", "--tracks-from-audio", "my music", "--score.model", "file:///m"]
    assert got == [[*expected, "--extract.ffmpeg", "--extract.sandbox", "require", "--json"]]
    for wrong, message in (
        (["a", "b"], "--batch: expected one folder, found 2 paths"),
        (["--csv", "a"], "expected neither --csv nor --write-tags"),
    ):
        assert cli.main(["tag", "--batch", "wh", *wrong]) == 2
        assert message in capsys.readouterr().err
    # `nightly` has all these flags.
    declared = flags_of(steps.Config)
    assert {flag.removeprefix("--") for flag in expected if flag.startswith("--")} - {"warehouse"} <= {
        *declared
    }


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "wav", "m4a"])
def test_the_genre_is_written_and_the_old_file_is_kept(
    kind: str, tmp_path: Path, tag_files: TagFiles
) -> None:
    path = tmp_path / f"song.{kind}"
    if kind == "m4a":
        y = clip(style_of(3, 30), np.random.default_rng(3))
        path.write_bytes(encoded(ENCODINGS[0], np.repeat(y, 2)[:, None]))
    else:
        write_clip(path)
    before = path.read_bytes()
    path.chmod(0o640)
    flags = ["--write-tags", "--ffmpeg", str(path)]
    labels = [label["label"] for label in tag_files(*flags)[str(path)]["labels"]]
    genre = next(label for label in labels if label not in NOT_GENRES)
    backup = tmp_path / f"song.{kind}.bak"
    assert backup.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o640
    written = mutagen.File(str(path), easy=kind != "wav")
    assert (written.tags["TCON"].genres if kind == "wav" else written["genre"]) == [genre]

    # The second time, nothing changes; the audio is the same, so the labels are too.
    after = path.read_bytes()
    assert [label["label"] for label in tag_files(*flags)[str(path)]["labels"]] == labels
    assert path.read_bytes() == after
    assert sorted(os.listdir(tmp_path)) == sorted([path.name, backup.name])


def test_other_tags_and_the_version_of_id3_stay(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    write_clip(path)
    tags = ID3()
    tags.add(TIT2(encoding=1, text=["Title"]))
    tags.add(TCON(encoding=1, text=["Noise"]))
    tags.save(path, v2_version=3)
    assert file_tags.write_genre(str(path), "jazz") == f"{path}.bak"
    assert file_tags.write_genre(str(path), "rock") == f"{path}.bak2"
    written = ID3(path)
    assert (written.version[:2], str(written["TIT2"]), written["TCON"].genres) == ((2, 3), "Title", ["rock"])
    assert ID3(f"{path}.bak")["TCON"].genres == ["Noise"]


def test_a_file_whose_tags_cannot_be_written_stays_as_it_is(tmp_path: Path, tag_files: TagFiles) -> None:
    path = tmp_path / "song.bin"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(file_tags.NotWritten, match="expected MP3, FLAC"):
        file_tags.write_genre(str(path), "jazz")
    assert os.listdir(tmp_path) == ["song.bin"]
    assert path.read_bytes() == b"\x00" * 100


def test_a_failed_write_is_reported_by_the_exit_code(
    tmp_path: Path, tag_files: TagFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "song.wav")

    def refuse(path: str, genre: str) -> str:
        raise file_tags.NotWritten(f"{path}: the folder is read-only")

    monkeypatch.setattr(file_tags, "write_genre", refuse)
    assert tag_files("--write-tags", str(tmp_path), exit_code=3)


def test_without_mutagen_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mutagen", None)
    with pytest.raises(UsageError, match=r"genremill\[tag\]"):
        metadata.require("--write-tags")
    assert cli.main(["tag", "--write-tags", "song.mp3"]) == 2
    assert "GPL-2.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    [
        *("198-209-0000.ogg", "3436-172162-0000.ogg", "5703-47212-0000.ogg", "pibble.ogg"),
        *("456440__inspectorj__bird-whistling-robin-single-13.ogg", "glacier-bay-humpback.ogg"),
    ],
)
def test_speech_and_animals_get_no_likely_genre(name: str, tag_files: TagFiles) -> None:
    path = str(real_data(f"audio/librosa-examples/{name}"))
    file = tag_files(path)[path]
    assert file["reason"] is None
    assert max((label["probability"] for label in file["labels"]), default=0.0) < 0.5


def test_hip_hop_is_hip_hop(tag_files: TagFiles) -> None:
    path = str(real_data("audio/fma-clips/000005.mp3"))
    best = tag_files(path)[path]["labels"][0]
    assert best["label"] == "hip hop"
    assert best["probability"] > 0.8
