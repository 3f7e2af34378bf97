"""A folder of audio files is a catalog: one track for each file, from what the file says about itself."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from genremill.infra.audio import listing
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from tests.audio.tagged_files import write_tagged
from tests.e2e.s3_server import OWNER, S3Server, running_s3

MBID = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
BUCKET = "music"


class Folder:
    """A folder of audio files, a warehouse beside it, and a method to run jobs on them."""

    def __init__(self, spark: SparkSession, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.spark, self.capsys, self.log = spark, capsys, ""
        self.root, self.warehouse = root / "music", root / "warehouse"
        self.uri = str(self.root)

    def run(self, job: str, *flags: str, exit_code: int = 0) -> dict[str, Any]:
        """The JSON document of a job, if it succeeds; `log` is what it printed besides."""
        self.capsys.readouterr()
        where = ["--warehouse", str(self.warehouse), "--json"]
        assert cli.main([job, *where, *flags]) == exit_code
        captured = self.capsys.readouterr()
        self.log = captured.err
        return {} if exit_code else json.loads(captured.out)

    def ingest(self, *flags: str, exit_code: int = 0) -> dict[str, Any]:
        """Runs `ingest` on the folder."""
        return self.run("ingest", "--tracks-from-audio", self.uri, *flags, exit_code=exit_code)

    def tracks(self) -> dict[str, Row]:
        """The current tracks by the name of their file."""
        path = Warehouse.at(str(self.warehouse)).require("tracks", "ingest").path
        rows = self.spark.read.parquet(str(self.warehouse / path)).collect()
        return {row["audio_uri"].removeprefix(f"{self.uri}/"): row for row in rows}


@pytest.fixture
def folder(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Folder:
    return Folder(spark, tmp_path, capsys)


def id_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:20]


def test_each_file_is_a_track_with_what_its_tags_say(folder: Folder) -> None:
    write_tagged(
        folder.root / "a" / "Ünï 100%20.mp3",
        seconds=2.0,
        title="Title",
        artists=["Ada", "Bo"],
        album="Album",
        genres=["Jazz", "Blues"],
        year="1987-03-04",
        isrc="us-rc1-76-07839",
    )
    write_tagged(folder.root / "b.flac", musicbrainz_id=MBID.upper())
    write_tagged(folder.root / "c.ogg")
    (folder.root / "cover.jpg").write_bytes(b"no audio")
    write_tagged(folder.root / ".hidden.mp3")
    (folder.root / "page.mp3").write_text("<html>" * 100)
    (folder.root / "empty.wav").touch()
    summary = folder.ingest()
    assert summary["format"] == "5 audio files"
    assert summary["rejected"] == {"empty": 1, "not_audio": 1}
    tracks = folder.tracks()
    assert {name: row["track_id"] for name, row in tracks.items()} == {
        "a/Ünï 100%20.mp3": "USRC17607839",
        "b.flac": MBID,
        "c.ogg": id_of("c.ogg"),
    }
    full = tracks["a/Ünï 100%20.mp3"]
    assert (full["title"], full["album"], full["artists"]) == ("Title", "Album", ["Ada", "Bo"])
    assert (sorted(full["genres"]), full["year"], full["isrc"]) == (["Blues", "Jazz"], 1987, "USRC17607839")
    assert full["duration_s"] == pytest.approx(2.0, abs=0.1)
    assert tracks["b.flac"]["musicbrainz_id"] == MBID
    assert (tracks["c.ogg"]["title"], tracks["c.ogg"]["genres"]) == (None, [])
    rejects = folder.spark.read.parquet(str(folder.warehouse / "rejects"))
    found = {(row["key"], row["reason"]) for row in rejects.collect()}
    assert found == {(f"{folder.uri}/page.mp3", "not_audio"), (f"{folder.uri}/empty.wav", "empty")}


def test_names_of_files_and_folders_stay_as_they_are(folder: Folder) -> None:
    folder.root = folder.root.parent / "100%20hits"
    folder.uri = str(folder.root)
    names = [unicodedata.normalize("NFD", "Beyoncé.flac"), "a  b.flac", "a b.flac", "x&amp;y.flac", "#?.flac"]
    for number, name in enumerate(names):
        write_tagged(folder.root / name, title=f"Title {number}", genres="Jazz")
    folder.ingest()
    assert {name: row["title"] for name, row in folder.tracks().items()} == {
        name: f"Title {number}" for number, name in enumerate(names)
    }
    extracted = folder.run("extract", "--audio-root", folder.uri)["features"]["gtzan57"]
    assert (extracted["decoded"], extracted["rejected"]) == (5, {})


def test_a_folder_that_cannot_be_entered_is_left_out(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tagged(folder.root / "a.flac")
    write_tagged(folder.root / "closed" / "b.flac")
    stat = os.stat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if "closed/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refused)
        patch.setattr(os, "lstat", refused)
        found = listing.audio_files(f"file://{folder.root}")
    assert [file.name for file in found] == ["a.flac"]


def test_columns_of_a_folder_can_be_ignored(folder: Folder) -> None:
    write_tagged(folder.root / "a.flac", title="Title", album="Album", genres="Jazz", year="1999")
    folder.ingest("--columns.ignore", "year", "album_name", "track_genre")
    row = folder.tracks()["a.flac"].asDict()
    assert (row["title"], row["album"], row["genres"]) == ("Title", None, [])
    assert {"isrc", "musicbrainz_id"} <= row.keys()
    assert "year" not in row


def test_files_that_share_an_id_stay_tracks_of_their_own(folder: Folder) -> None:
    for name in ("m.flac", "b.flac", "z.flac"):
        write_tagged(folder.root / name, isrc="USRC17607839")
    folder.ingest()
    expected = {"b.flac": "USRC17607839", "m.flac": id_of("m.flac"), "z.flac": id_of("z.flac")}
    assert {name: row["track_id"] for name, row in folder.tracks().items()} == expected


def test_only_new_and_changed_files_are_read_again(folder: Folder) -> None:
    for name in "abc":
        write_tagged(folder.root / f"{name}.flac", title=name)
    folder.ingest()
    write_tagged(folder.root / "b.flac", title="other title")
    write_tagged(folder.root / "d.flac", title="d")
    summary = folder.ingest()
    assert "2 new or changed audio files" in folder.log
    assert summary["changes"] == {"before": 3, "new": 1, "changed": 1, "vanished": 0}
    titles = {name: row["title"] for name, row in folder.tracks().items()}
    assert titles == {"a.flac": "a", "b.flac": "other title", "c.flac": "c", "d.flac": "d"}


def test_tags_that_cannot_be_read_cost_only_the_names(folder: Folder) -> None:
    write_tagged(folder.root / "good.flac", title="Good")
    (folder.root / "bad.flac").write_bytes(b"fLaC" + bytes(100))
    folder.ingest()
    assert "tags that cannot be read: 1 files, such as bad.flac" in folder.log
    assert {name: row["title"] for name, row in folder.tracks().items()} == {
        "bad.flac": None,
        "good.flac": "Good",
    }


def test_a_file_whose_name_is_not_text_is_left_out(folder: Folder) -> None:
    write_tagged(folder.root / "a.flac")
    shutil.copy(os.fsencode(folder.root / "a.flac"), os.fsencode(folder.root) + b"/\xff.flac")
    folder.ingest()
    assert "1 audio files are left out" in folder.log
    assert list(folder.tracks()) == ["a.flac"]


def test_a_link_that_leads_out_of_the_folder_is_no_track(folder: Folder, tmp_path: Path) -> None:
    write_tagged(folder.root / "a.flac")
    write_tagged(tmp_path / "outside.flac", title="Secret")
    (folder.root / "link.flac").symlink_to(tmp_path / "outside.flac")
    (folder.root / "broken.flac").symlink_to(tmp_path / "none.flac")
    assert sum(folder.ingest()["rejected"].values()) == 2
    assert list(folder.tracks()) == ["a.flac"]


def test_a_dry_run_shows_the_columns_and_writes_nothing(folder: Folder) -> None:
    write_tagged(folder.root / "a.flac", title="Title", genres="Jazz")
    summary = folder.ingest("--dry-run")
    examples = {use["column"]: use["examples"] for use in summary["columns"]}
    assert (examples["track_name"], examples["track_genre"]) == (["Title"], ["Jazz"])
    assert not folder.warehouse.exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "expected --tracks TABLE or --tracks-from-audio FOLDER, and found none of them"),
        (("--tracks", "t.csv", "--tracks-from-audio", "x"), "found --tracks and --tracks-from-audio"),
        (("--tracks-from-audio", "none"), "none: no such folder"),
        (("--tracks-from-audio", __file__), "expected a folder, found a file"),
        (("--tracks-from-audio", str(Path(__file__).parent)), "found no audio files; expected names such as"),
    ],
)
@pytest.mark.parametrize("job", ["ingest", "nightly", "plan"])
def test_wrong_flags_are_one_clear_error(
    job: str, flags: tuple[str, ...], message: str, folder: Folder
) -> None:
    folder.run(job, *flags, exit_code=2)
    assert message in folder.log
    assert "Traceback" not in folder.log
    assert not (folder.warehouse / "tracks").exists()


def test_without_mutagen_nothing_starts(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tagged(folder.root / "a.flac")
    monkeypatch.setitem(sys.modules, "mutagen", None)
    folder.ingest(exit_code=2)
    assert "pip install 'genremill[tag]'" in folder.log


def test_a_night_trains_on_the_genres_in_the_tags(folder: Folder) -> None:
    for number in range(36):
        genre, pitch = (("Drone", 110.0), ("Lead", 880.0), ("Bell", 3520.0))[number % 3]
        write_tagged(
            folder.root / f"{number:02d}.flac",
            pitch=pitch * 1.01 ** (number // 3),
            title=f"Title {number}",
            artists=f"Artist {number // 3}",
            genres=genre,
        )
    flags = ["--tracks-from-audio", folder.uri]
    fast = ["--train.epochs", "20", "--cluster.clusters", "2", "--train.workers", "1"]
    steps = folder.run("plan", *flags)["clips"]
    assert steps["decode"] == 36
    night = folder.run("nightly", *flags, *fast)["steps"]
    assert night["extract"]["features"]["gtzan57"]["decoded"] == 36
    assert night["evaluate"]["metrics"]["any_label"]["value"] > 0.6
    tags = folder.spark.read.parquet(night["score"]["path"])
    assert tags.where("status = 'tagged'").count() > 20
    assert {"year", "isrc", "musicbrainz_id"} <= {*tags.columns}
    assert {*folder.run("nightly", *flags, *fast)["steps"].values()} == {"skipped"}
    assert folder.run("plan", *flags)["clips"]["decode"] == 0

    # Without genres, a model by name is needed.
    other = Folder(folder.spark, folder.root.parent / "other", folder.capsys)
    write_tagged(other.root / "a.flac", pitch=110.0)
    other.run("nightly", "--tracks-from-audio", other.uri, exit_code=2)
    assert "no file has a genre in its tags" in other.log
    assert "--score.model" in other.log
    assert f"genremill tag {other.uri}" in other.log
    model = str(folder.warehouse / "models" / night["train"]["model_version"])
    night = other.run("nightly", "--tracks-from-audio", other.uri, "--score.model", model)["steps"]
    assert other.spark.read.parquet(night["score"]["path"]).first()["label"] == "Drone"  # type: ignore[index]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


def test_a_prefix_on_s3_is_a_catalog(folder: Folder, server: S3Server, tmp_path: Path) -> None:
    small = write_tagged(tmp_path / "small.flac", title="Small", genres="Jazz")
    large = write_tagged(tmp_path / "large.wav", seconds=60.0, title="Large")  # its tags are at the end
    assert large.stat().st_size > 2 << 20
    for key, path in {"in/a b/ü.flac": small, "in/large.wav": large, "out/c.flac": small}.items():
        server.client().put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
    server.client().put_object(Bucket=BUCKET, Key="in/page.m4a", Body=b"<html>no song</html>" * 150_000)
    folder.uri = f"s3a://{BUCKET}/in"
    # A process of its own: the workers of the session have another environment.
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-m", "genremill.jobs.cli", "ingest", "--tracks-from-audio", folder.uri]
    subprocess.run(
        [*command, "--warehouse", str(folder.warehouse)],
        env=own | OWNER.environment | {"AWS_ENDPOINT_URL_S3": server.endpoint},
        check=True,
    )
    tracks = folder.tracks()
    assert {name: (row["title"], row["track_id"]) for name, row in tracks.items()} == {
        "a b/ü.flac": ("Small", id_of("a b/ü.flac")),
        "large.wav": ("Large", id_of("large.wav")),
    }
    assert tracks["large.wav"]["duration_s"] == pytest.approx(60.0)
    rejects = folder.spark.read.parquet(str(folder.warehouse / "rejects")).collect()
    assert [(row["key"], row["reason"]) for row in rejects] == [(f"{folder.uri}/page.m4a", "not_audio")]
