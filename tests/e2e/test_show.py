"""`genremill show` on a warehouse of three tracks that the test writes itself."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from genremill.jobs.contracts import FEATURES, REJECTS, TAGS, TRACKS, Table
from genremill.jobs.features import set_record

SR = 22050
ESCAPE = "\x1b[2J\x9b31m$x^{"
PRINT = "0123456789abcdef"
TOP = {"rock": 0.75, "pop": 0.125, "jazz": 0.0625, "folk": 0.03125, "soul": 0.03125}
PANELS = {"waveform": 210, "mel spectrogram": 490, "chromagram": 780, "tempogram": 1030}
"""A row of pixels inside each panel; the picture has 1210 rows."""


class ShownWarehouse:
    """A warehouse, and the output of `show` on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.warehouse = Warehouse.at(str(folder / "warehouse"))
        self.audio = folder / "audio"
        self._capsys = capsys

    def show(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self._capsys.readouterr()
        assert cli.main(["show", "--warehouse", self.warehouse.uri, *arguments]) == code
        out, err = self._capsys.readouterr()
        assert "\x1b" not in out + err
        assert "\x9b" not in out + err
        return out, err

    def local(self, path: str) -> Path:
        return Path(self.warehouse.uri.removeprefix("file://")) / path

    def document(self, *arguments: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.show(*arguments, "--json")[0])
        return document


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    warehouse = Warehouse.at(str(folder / "warehouse"))
    (folder / "audio").mkdir()
    clip, page, truncated = (f"{folder}/audio/{name}" for name in ("clip.wav", "page.mp3", "cut.wav"))
    sf.write(clip, _beat(), SR)
    Path(page).write_text("<html>503 Slow Down</html>")
    sf.write(truncated, _beat(), SR)
    Path(truncated).write_bytes(Path(truncated).read_bytes()[:50_000])
    tracks = [
        _track(
            "t1", title=f"Drum{ESCAPE}", artists=["Ada", "Bo"], genres=["rock"], audio_uri=f"file://{clip}"
        ),
        _track("../up/t2", title=None, artists=None, album=None, duration_s=None, table_features=[]),
        _track("t3", audio_uri=f"file://{page}"),
    ]
    features = [{"name": name} for name in ("energy", "tempo\x1b[1m")]
    split = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}
    details = {"features": features, "split": split, "with_audio": 2}
    _publish(warehouse, TRACKS, tracks, details)
    top = [{"label": label, "probability": share} for label, share in TOP.items()]
    tag = {"track_id": "t1", "label": "rock", "confidence": 0.75, "top": top, "cluster_id": 2}
    tag |= {"status": "tagged", "inputs": ["table"], "model_version": "linear/1", "tracks_run": "r1"}
    tag |= {"clusters": [{"cluster_id": 2, "probability": 0.78}], "blend": "rock 78 %"}
    _publish(warehouse, TAGS, [tag], {})
    rows = [_features("t1", f"file://{clip}", window, [0.1 + window, 2.0]) for window in (0, 1)]
    cache = set_record.folder_of(warehouse, PRINT)
    _write(f"{cache}/run=r1", FEATURES, rows)
    record = {
        "name": "gtzan57",
        "values": ["rms_mean", "tempo"],
        "shape": [2],
        "created_at": "2026-01-01T00:00:00Z",
    }
    (folder / "warehouse" / "features" / f"fingerprint={PRINT}" / set_record.RECORD).write_text(
        json.dumps(record)
    )
    reject = {"stage": "extract", "key": "t3", "reason": "not_audio", "detail": "HTML", "run_id": "r1"}
    _write(warehouse.run_path("rejects", "r1"), REJECTS, [reject | {"fingerprint": PRINT}])
    return folder


@pytest.fixture
def shown(spark: SparkSession, written: Path, capsys: pytest.CaptureFixture[str]) -> ShownWarehouse:
    return ShownWarehouse(written, capsys)


def _beat() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Four seconds of a chord with 120 clicks per minute."""
    t = np.arange(4 * SR) / SR
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.2, 329.6)) / 6
    noise = np.random.default_rng(0).normal(size=len(t))
    return np.asarray(0.9 * chord + 0.1 * noise * np.exp(-40 * (t % 0.5)))


def _track(track_id: str, **overrides: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "recording_id": track_id,
        "artist_id": track_id,
        "title": "Title",
        "album": "Album",
    }
    base |= {"artists": ["Cy"], "genres": [], "popularity": 5.0, "duration_s": 4.0, "audio_uri": None}
    base |= {"track_id": track_id, "table_features": [0.1, 120.5], "split": "train", "source_rows": 1}
    return base | overrides


def _features(track_id: str, uri: str, window: int, values: list[float]) -> dict[str, Any]:
    base = {"window_start_s": 2.0 * window, "etag": "e", "size": 1, "content_hash": "", "coverage": 1.0}
    return base | {
        "track_id": track_id,
        "audio_uri": uri,
        "window": window,
        "values": values,
        "seconds_decoded": 4.0,
    }


def _write(uri: str, table: Table, rows: list[dict[str, Any]]) -> None:
    folder = Path(uri.removeprefix("file://"))
    folder.mkdir(parents=True)
    columns = pa.Table.from_pylist(rows, schema=to_arrow_schema(table.schema))
    pq.write_table(columns, folder / "part-0.parquet")


def _publish(warehouse: Warehouse, table: Table, rows: list[dict[str, Any]], details: dict[str, Any]) -> None:
    _write(warehouse.run_path(table.name, "r1"), table, rows)
    snapshot = Snapshot("r1", f"{table.name}/run=r1", len(rows), "", {}, "", "2026-01-01T00:00:00Z", details)
    warehouse.finish(table.name, snapshot)
    warehouse.publish(table.name, snapshot)


def _pixels(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(matplotlib.image.imread(path, format="png"))


def test_row_tag_features_and_picture_of_a_track_are_shown(shown: ShownWarehouse) -> None:
    text, _ = shown.show("t1", "--audio-root", str(shown.audio))
    for part in (
        "Drum·[2J",
        "Ada, Bo",
        "rock (75 %)",
        "linear/1",
        "energy",
        "0.1",
        "rms_mean",
        "soul 3.1 %",
        "rock 78 %",
    ):
        assert part in text
    assert "the first of 2 windows" in text
    assert shown.warehouse.path("reports", "show", "t1.png") in text
    pixels = _pixels(shown.local("reports/show/t1.png"))
    assert pixels.shape == (1210, 1320, 4)
    for name, row in PANELS.items():
        assert pixels[row - 20 : row + 20, 110:1190, :3].std() > 0.05, name


def test_json_has_the_same_data_and_the_path_of_the_picture(shown: ShownWarehouse, tmp_path: Path) -> None:
    uri = f"file://{shown.audio}/clip.wav"
    out = tmp_path / "own name.png"
    part = ("--offset", "middle", "--seconds", "2")
    document = shown.document(uri, "--audio-root", str(shown.audio), "--out", str(out), *part)
    track = document["track"]
    assert (track["track_id"], track["title"], track["split"]) == ("t1", f"Drum{ESCAPE}", "train")
    assert track["table_features"] == {"energy": 0.1, "tempo\x1b[1m": 120.5}
    assert track["tag"]["top"] == TOP
    assert (track["tag"]["clusters"], track["tag"]["blend"]) == ({"2": 0.78}, "rock 78 %")
    windows = [{"rms_mean": 0.1, "tempo": 2.0}, {"rms_mean": 1.1, "tempo": 2.0}]
    assert track["audio_features"] == [
        {"name": "gtzan57", "fingerprint": PRINT, "windows": windows, "reason": None}
    ]
    picture = document["picture"]
    assert picture["path"] == f"file://{out}"
    assert picture["seconds_decoded"] == pytest.approx(2)
    assert picture["tempo"] == pytest.approx(120, abs=5)
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_missing_values_of_a_track_are_named(shown: ShownWarehouse) -> None:
    text, _ = shown.show("../up/t2")
    for part in (
        "the track has no label",
        "no table features",
        "not tagged yet",
        "the track has no audio",
        "no audio_uri",
    ):
        assert part in text
    document = shown.document("../up/t2")
    assert (document["picture"], document["track"]["tag"], document["track"]["audio_features"]) == (
        None,
        None,
        [],
    )


def test_a_track_with_rejected_audio_is_shown_without_a_picture(shown: ShownWarehouse) -> None:
    assert "none: the audio is not read without --audio-root" in shown.show("t3")[0]
    text, _ = shown.show("t3", "--audio-root", str(shown.audio))
    assert "gtzan57     none: not_audio: HTML" in text  # the reason that extract recorded
    assert "picture     none: not_audio" in text
    assert not shown.local("reports/show/t3.png").exists()


def test_audio_without_a_track_is_drawn(shown: ShownWarehouse, tmp_path: Path) -> None:
    other, out = shown.audio / "other.flac", tmp_path / "x.png"
    sf.write(other, _beat(), SR)
    arguments = (f"file://{other}", "--audio-root", str(shown.audio), "--out", str(out))
    assert f"would be written to file://{out}" in shown.show(*arguments, "--dry-run")[0]
    assert not out.exists()
    document = shown.document(*arguments)
    assert (document["track"], document["picture"]["path"]) == (None, f"file://{out}")
    assert _pixels(out).shape == (1210, 1320, 4)


def test_rejected_audio_without_a_track_is_a_usage_error(shown: ShownWarehouse, tmp_path: Path) -> None:
    truncated = f"{shown.audio}/cut.wav"
    assert "truncated" in shown.show(truncated, "--audio-root", str(shown.audio), code=2)[1]
    assert "path_refused" in shown.show(truncated, "--audio-root", str(tmp_path), code=2)[1]
    assert "--audio-root is missing" in shown.show(truncated, code=2)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "no track 'nobody'"),
        (["\x1b[2J"], r"no track '\x1b[2J'"),
        (["t1", "--out", "x.jpg"], "ends in .png"),
        (["t1", "--out", "/tmp"], "ends in .png"),
        (["t1", "--seconds", "0"], "expected 0.1 to 600"),
        (["t1", "--second", "3"], "did you mean --seconds"),
        (["--track", "t1"], "no flag --track"),
        (["--", "--t1"], "no track '--t1'"),
    ],
)
def test_wrong_arguments_are_usage_errors(shown: ShownWarehouse, arguments: list[str], message: str) -> None:
    assert message in shown.show(*arguments, code=2)[1]
