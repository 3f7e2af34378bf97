"""`extract` on good and bad files, and after a job was killed."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from genremill.jobs.features import cache as feature_cache, set_extraction
from genremill.jobs.synthetic.clips import SR, clip, style_of
from genremill.udfs.feature_sets import registry
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
from tests.audio.ffmpeg_corpus import ENCODINGS, made
from tests.e2e.feature_rows import newest_set
from tests.e2e.test_kills import killed_when

GOOD, MANY = 8, 150
BAD = {"html.mp3": "not_audio", "cut.wav": "truncated", "short.wav": "too_short", "gone.wav": "missing"}
OUTSIDE = "../../etc/passwd"


class Audio:
    """A warehouse with tracks, and their clips."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], spark: SparkSession) -> None:
        self.clips, self.uri = folder / "clips", str(folder / "warehouse")
        self.warehouse = Warehouse.at(self.uri)
        self.flags = ["--warehouse", self.uri, "--audio-root", str(self.clips)]
        self.capsys, self.spark, self.log = capsys, spark, ""

    def extract(self, *flags: str, exit_code: int = 0) -> dict[str, Any]:
        self.capsys.readouterr()
        assert cli.main(["extract", *self.flags, "--json", *flags]) == exit_code
        out, self.log = self.capsys.readouterr()
        return json.loads(out)["features"]["gtzan57"] if out else {}

    def features(self, fingerprint: str) -> dict[tuple[str, int], list[float]]:
        """Values by track and window, as other jobs read them."""
        tracks = self.spark.read.parquet(self.warehouse.path(self.warehouse.require("tracks", "").path))
        rows = feature_cache.rows_of(self.spark, self.warehouse, fingerprint)
        found = feature_cache.windows_by_track(tracks, rows).collect()
        return {(row["track_id"], at): one for row in found for at, one in enumerate(row["windows"])}

    def rejects(self) -> dict[str, str]:
        rows = feature_cache.rejects(self.spark, self.warehouse).where("stage = 'extract'").collect()
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row["reason"] for row in rows}

    def files(self) -> set[str]:
        return {str(path) for path in Path(self.uri).rglob("*.parquet")}


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tracks with good and with bad clips, without any features."""
    folder = tmp_path_factory.mktemp("audio")
    clips = folder / "clips"
    clips.mkdir()
    for at in range(GOOD):
        y = clip(style_of(at % 4, 4), np.random.default_rng(at))[: 3 * SR]
        sf.write(clips / f"{at}.{'flac' if at % 2 else 'wav'}", y, SR)
    (clips / "html.mp3").write_text("<html>503</html>")
    (clips / "cut.wav").write_bytes((clips / "0.wav").read_bytes()[:20_000])
    sf.write(clips / "short.wav", np.ones(100) / 2, SR)
    names = [f"{at}.{'flac' if at % 2 else 'wav'}" for at in range(GOOD)]
    lines = ["track_id,track_genre,artists,audio_uri"]
    lines += [f"t{at},g{at % 4},artist {at},{name}" for at, name in enumerate(names)]
    lines += [f"again,g0,artist 0,{names[0]}", "silent,g1,artist 1,"]
    lines += [f"{name},g0,artist x{at},{name}" for at, name in enumerate((*BAD, OUTSIDE))]
    (folder / "tracks.csv").write_text("\n".join(lines) + "\n")
    where = ["--warehouse", str(folder / "warehouse"), "--tracks", str(folder / "tracks.csv")]
    assert cli.main(["ingest", *where]) == 0
    return folder


@pytest.fixture
def audio(ingested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spark: SparkSession) -> Audio:
    folder = Path(shutil.copytree(ingested, tmp_path / "copy"))
    return Audio(folder, capsys, spark)


def test_each_track_has_features_or_a_reject_and_a_second_night_adds_nothing(audio: Audio) -> None:
    found = audio.extract(exit_code=3)
    expected = BAD | {OUTSIDE: "path_refused"}
    assert audio.rejects() == expected
    values = audio.features(found["fingerprint"])
    assert set(values) == {(f"t{at}", 0) for at in range(GOOD)} | {("again", 0)}
    assert values["again", 0] == values["t0", 0]
    assert all(len(vector) == 57 and np.isfinite(vector).all() for vector in values.values())
    assert (found["tracks"], found["without"]) == (GOOD + 1 + len(expected), len(expected))
    assert sum(found["rejected"].values()) == len(expected)
    assert f"extract gtzan57: {found['decoded']} of {found['decoded']} clips" in audio.log
    assert "rejected: 1 " in audio.log
    before = audio.files()
    again = audio.extract("--max-rejects", "0.4")
    assert (again["decoded"], again["copied"], again["rejected"]) == (0, 0, {})
    assert audio.files() == before


def test_only_changed_and_repaired_audio_is_decoded_again(audio: Audio) -> None:
    found = audio.extract("--max-rejects", "1")
    before = audio.features(found["fingerprint"])
    shutil.copy(audio.clips / "1.flac", audio.clips / "0.wav")
    shutil.copy(audio.clips / "2.wav", audio.clips / "short.wav")
    again = audio.extract("--max-rejects", "1")
    assert (again["decoded"], again["copied"]) == (2, 0)
    after = audio.features(found["fingerprint"])
    assert after["t0", 0] == after["again", 0] == before["t1", 0]
    assert after["short.wav", 0] == before["t2", 0]
    assert {key: after[key] for key in before if key[0] not in ("t0", "again")} == {
        key: before[key] for key in before if key[0] not in ("t0", "again")
    }


def test_a_file_with_many_paths_is_decoded_once(audio: Audio) -> None:
    os.link(audio.clips / "0.wav", audio.clips / "hard.wav")
    (audio.clips / "soft.wav").symlink_to("0.wav")
    paths = ["0.wav", "./0.wav", ".//0.wav", "hard.wav", "soft.wav", f"{audio.clips}/0.wav"]
    paths += [f"file://{audio.clips}/%30.wav", "2.wav"]
    table = audio.clips.parent / "paths.csv"
    lines = [f"p{at},g{at % 2},artist {at},{path}" for at, path in enumerate(paths)]
    table.write_text("\n".join(["track_id,track_genre,artists,audio_uri", *lines]) + "\n")
    flags = ["--warehouse", audio.uri, "--tracks", str(table), "--max-vanished", "1"]
    assert cli.main(["ingest", *flags]) == 0
    found = audio.extract()
    assert found["decoded"] == 2
    values = audio.features(found["fingerprint"])
    assert {key for key in values if key[0].startswith("p")} == {(f"p{at}", 0) for at in range(len(paths))}
    assert all(values[f"p{at}", 0] == values["p0", 0] for at in range(len(paths) - 1))
    assert audio.extract()["decoded"] == 0


def test_a_format_that_needs_ffmpeg_is_tried_again_when_ffmpeg_is_turned_on(audio: Audio) -> None:
    (audio.clips / "html.mp3").write_bytes(made(ENCODINGS[0], 3, 440.0))
    found = audio.extract("--max-rejects", "1")
    assert found["rejected"]["codec_refused"] == 1
    (detail,) = feature_cache.rejects(audio.spark, audio.warehouse).where("key = 'html.mp3'").collect()
    assert "M4A" in detail["detail"]
    assert "--ffmpeg" in detail["detail"]
    bad = len(BAD) - 1  # one file is missing
    with_ffmpeg = audio.extract("--max-rejects", "1", "--ffmpeg")
    assert with_ffmpeg["fingerprint"] == found["fingerprint"]
    assert (with_ffmpeg["decoded"], with_ffmpeg["without"]) == (bad, found["without"] - 1)
    assert ("html.mp3", 0) in audio.features(found["fingerprint"])
    before = audio.files()
    for flags in (["--ffmpeg"], []):
        assert audio.extract("--max-rejects", "1", *flags)["decoded"] == 0
    assert audio.files() == before


def test_what_an_earlier_version_rejected_is_tried_again_once(audio: Audio) -> None:
    found = audio.extract("--max-rejects", "1")
    (run,) = audio.warehouse.run_ids("rejects")
    folder = Path(audio.uri) / "rejects" / f"run={run}"
    earlier = audio.spark.read.parquet(str(folder)).drop("decoder").toPandas()
    shutil.rmtree(folder)
    audio.spark.createDataFrame(earlier).write.parquet(str(folder))
    assert audio.extract("--max-rejects", "1")["decoded"] == len(BAD) - 1
    assert audio.extract("--max-rejects", "1")["decoded"] == 0
    assert found["decoded"] == GOOD + len(BAD) - 1


def test_a_plan_counts_the_audio_of_a_table_before_it_is_ingested(audio: Audio, tmp_path: Path) -> None:
    flags = ["--warehouse", str(tmp_path / "new"), "--tracks", str(tmp_path / "copy" / "tracks.csv")]
    flags += ["--audio-root", str(audio.clips), "--extract.augment", "noise", "--json"]
    audio.capsys.readouterr()
    assert cli.main(["plan", *flags]) == 0
    planned = json.loads(audio.capsys.readouterr().out)["clips"]
    readable = GOOD + len(BAD) - 1  # one file is missing, and a file outside the audio root is not read
    assert planned["decode"] == 2 * readable


def test_other_settings_have_another_fingerprint_and_the_change_is_logged(audio: Audio) -> None:
    whole = audio.extract("--max-rejects", "1")
    windows = audio.extract("--max-rejects", "1", "--windows", "1")
    assert "windows: whole → 1.0" in audio.log
    assert windows["fingerprint"] != whole["fingerprint"]
    assert windows["decoded"] == whole["decoded"]
    # The newest set is the one whose settings were used last, even if that run extracted nothing.
    assert newest_set(audio.warehouse, "gtzan57").fingerprint == windows["fingerprint"]
    time.sleep(1)  # the record's time has a resolution of one second
    assert audio.extract("--max-rejects", "1")["decoded"] == 0
    assert newest_set(audio.warehouse, "gtzan57").fingerprint == whole["fingerprint"]
    keys = {window for track, window in audio.features(windows["fingerprint"]) if track == "t0"}
    assert keys == {0, 1, 2}


def test_the_next_run_continues_a_killed_extraction(audio: Audio) -> None:
    names = [f"{at}.wav" for at in (0, 2, 4)]
    lines = ["track_id,track_genre,artists,audio_uri"]
    for at in range(MANY):
        shutil.copy(audio.clips / names[at % 3], audio.clips / f"many{at}.wav")
        lines.append(f"m{at},g{at % 3},artist {at},many{at}.wav")
    table = audio.clips.parent / "many.csv"
    table.write_text("\n".join(lines) + "\n")
    flags = ["--warehouse", audio.uri, "--tracks", str(table), "--max-vanished", "1"]
    assert cli.main(["ingest", *flags]) == 0
    done = Path(audio.uri) / "features"
    killed_when(lambda: len(list(done.rglob("_pending/*/part-*.parquet"))) >= 2, "extract", *audio.flags)
    resumed = audio.extract()
    assert 0 < resumed["decoded"] < MANY - set_extraction.OBJECTS_A_TASK / 2
    whole = [Gtzan57().values(sf.read(audio.clips / name, dtype="float32")[0]) for name in names]
    found = audio.features(resumed["fingerprint"])
    assert set(found) == {(f"m{at}", 0) for at in range(MANY)}
    # The last bit depends on the number of BLAS threads, which differs between this process and a worker.
    assert all(np.allclose(found[f"m{at}", 0], whole[at % 3], rtol=1e-5) for at in range(MANY))


def test_a_missing_audio_root_and_tracks_without_audio_are_errors(audio: Audio, tmp_path: Path) -> None:
    assert cli.main(["extract", "--warehouse", audio.uri]) == 2
    assert "--audio-root" in audio.capsys.readouterr().err
    assert cli.main(["extract", "--warehouse", audio.uri, "--audio-root", str(tmp_path / "gone")]) == 2
    assert "gone" in audio.capsys.readouterr().err
    assert cli.main(["extract", *audio.flags, "--features", "gtzan58"]) == 2
    assert "gtzan57" in audio.capsys.readouterr().err
    assert cli.main(["extract", *audio.flags, "--windows", "60"]) == 2
    assert "--windows" in audio.capsys.readouterr().err


def test_no_result_is_lost_if_a_worker_is_killed(audio: Audio, tmp_path: Path) -> None:
    marker = str(tmp_path / "killed")

    class Deadly(Gtzan57):
        """Kills its worker at the first signal."""

        def values(self, y: Any) -> Any:
            if not os.path.exists(marker):
                open(marker, "w").close()
                os.kill(os.getpid(), 9)
            return super().values(y)

    named = registry.FEATURE_SETS
    before = dict(named)
    named["gtzan57"] = Deadly
    try:
        found = audio.extract("--max-rejects", "1")
    finally:
        named.update(before)
    assert os.path.exists(marker)
    assert len(audio.features(found["fingerprint"])) == GOOD + 1
    assert audio.rejects() == BAD | {OUTSIDE: "path_refused"}
