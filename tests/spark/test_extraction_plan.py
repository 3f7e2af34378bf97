import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession, types as T

from genremill.infra.audio import faults, paths as audio_paths
from genremill.infra.errors import StorageError
from genremill.jobs.contracts import FEATURES, REJECTS
from genremill.jobs.features import cache as feature_cache, missing

OBJECTS = "audio_uri string, etag string, size long, file string, reason string, detail string"
ROWS = T.StructType([*FEATURES.schema.fields, T.StructField("run", T.StringType())])
ROW: dict[str, Any] = {
    "track_id": "t0",
    "window": 0,
    "window_start_s": 0.0,
    "audio_uri": "file:///a/0.wav",
    "etag": "e0",
    "size": 10,
    "content_hash": "h",
    "values": [1.0],
    "coverage": 1.0,
    "seconds_decoded": 30.0,
    "run": "r1",
}
Frame = Callable[..., DataFrame]


@pytest.fixture
def tracks(spark: SparkSession) -> Frame:
    return lambda *rows: spark.createDataFrame(list(rows), "track_id string, audio_uri string")


@pytest.fixture
def objects(spark: SparkSession) -> Frame:
    return lambda *rows: spark.createDataFrame(
        [
            (*row[:3], row[3] if row[3:] else ("" if row[0].startswith("s3") else row[0]), None, None)
            for row in rows
        ],
        OBJECTS,
    )


@pytest.fixture
def rows(spark: SparkSession) -> Frame:
    return lambda *overrides: spark.createDataFrame(
        [tuple((ROW | override).values()) for override in overrides], ROWS
    )


@pytest.fixture
def rejects(spark: SparkSession) -> Frame:
    return lambda *known: spark.createDataFrame(
        [
            ("extract", *reject[:2], reject[3] if reject[3:] else "", reject[2], "f", "r0", "d")
            for reject in known
        ],
        REJECTS.schema,
    )


def ids(df: DataFrame) -> list[str]:
    return sorted(row["track_id"] for row in df.collect())


def test_only_new_and_changed_audio_is_missing(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    names = ("same", "changed", "moved", "new")
    here = tracks(*((name, f"file:///a/{name}.wav") for name in names))
    there = objects(*((f"file:///a/{name}.wav", "e1", 10) for name in names))
    known = rows(
        {"track_id": "same", "audio_uri": "file:///a/same.wav", "etag": "e1"},
        {"track_id": "changed", "audio_uri": "file:///a/changed.wav", "etag": "e0"},
        {"track_id": "moved", "audio_uri": "file:///b/moved.wav", "etag": "e1"},
    )
    assert ids(missing.missing(here, there, known, rejects())) == ["changed", "moved", "new"]


def test_a_bad_file_is_tried_again_only_when_it_changes(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    names = ("bad", "mended", "slow", "elsewhere", "longer")
    here = tracks(*((name, f"file:///a/{name}.wav") for name in names))
    there = objects(*((f"file:///a/{name}.wav", "e0", 1) for name in names))
    known = rejects(
        ("bad", "silent", "e0", "file:///a/bad.wav: peak"),
        ("mended", "silent", "e1", "file:///a/mended.wav: peak"),
        ("slow", "decode_timeout", "e0", "file:///a/slow.wav: 20 s"),
        ("elsewhere", "silent", "e0", "file:///b/elsewhere.wav: peak"),
        ("longer", "silent", "e0", "file:///a/longer.wav.bak: peak"),
    )
    assert ids(missing.missing(here, there, rows(), known)) == ["elsewhere", "longer", "mended", "slow"]


def test_features_of_an_earlier_version_of_the_audio_are_copied_without_decoding(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    known = rows({"etag": "e0"}, {"etag": "e1", "run": "r2", "values": [2.0]})
    lack = missing.missing(
        tracks(("t0", ROW["audio_uri"])), objects((ROW["audio_uri"], "e0", 10)), known, rejects()
    )
    assert ids(lack) == ["t0"]
    assert [row["values"] for row in missing.copies(lack, known).collect()] == [[1.0]]


def test_tracks_of_one_object_have_one_source(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    here = tracks(("a", "file:///a/0.wav"), ("b", "file:///a/0.wav"), ("c", "file:///a/1.wav"))
    there = objects(("file:///a/0.wav", "e", 1), ("file:///a/1.wav", "e", 1))
    found = missing.missing(here, there, rows(), rejects()).collect()
    assert len({row["source"] for row in found}) == 2


def test_on_s3_equal_etag_and_size_are_one_audio(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    here = tracks(("a", "s3://b/0.mp3"), ("b", "s3a://b/copy.mp3"), ("c", "s3://b/2.mp3"))
    there = objects(("s3://b/0.mp3", "e", 5), ("s3a://b/copy.mp3", "e", 5), ("s3://b/2.mp3", "e", 6))
    found = missing.missing(here, there, rows(), rejects()).collect()
    assert len({row["source"] for row in found}) == 2


def test_all_paths_of_a_file_have_one_source(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    here = tracks(*((name, f"/a/{name}.wav") for name in ("one", "link", "copy", "newer")))
    there = objects(
        ("/a/one.wav", "e", 5, "1-7"),
        ("/a/link.wav", "e", 5, "1-7"),
        ("/a/copy.wav", "e", 5, "1-8"),
        ("/a/newer.wav", "e2", 5, "1-7"),
    )
    lack = missing.missing(here, there, rows(), rejects())
    sources = {row["track_id"]: row["source"] for row in lack.collect()}
    assert sources["one"] == sources["link"] == "/a/link.wav"
    assert len(set(sources.values())) == 3
    extracted = objects(("/a/link.wav", "e", 5)).drop("file")
    assert ids(missing.of_tracks(extracted, lack)) == ["link", "one"]


@pytest.mark.parametrize(
    ("denied", "of", "fails"), [(0, 0, False), (1, 2, False), (2, 3, True), (1, 1, True)]
)
def test_denied_access_ends_the_job_only_if_most_objects_are_denied(
    denied: int, of: int, fails: bool
) -> None:
    expected = pytest.raises(StorageError, match=f"access denied to {denied} of {of} audio objects: why")
    with expected if fails else contextlib.nullcontext():
        faults.check_allowed(denied, of, "why")


def test_known_audio_is_copied_with_all_its_windows_once(
    tracks: Frame, objects: Frame, rows: Frame, rejects: Frame
) -> None:
    audio = {"audio_uri": "s3://b/old.mp3", "etag": "e", "size": 5}
    known = rows(
        *({**audio, "window": at, "values": [float(at)]} for at in (0, 0, 1)),
        {**audio, "track_id": "other", "run": "r0", "values": [9.0]},
    )
    here = tracks(("new", "s3://b/new.mp3"))
    lack = missing.missing(here, objects(("s3://b/new.mp3", "e", 5)), known, rejects())
    found = missing.copies(lack, known).collect()
    got = sorted((row["track_id"], row["audio_uri"], row["window"], row["values"]) for row in found)
    assert got == [("new", "s3://b/new.mp3", 0, [0.0]), ("new", "s3://b/new.mp3", 1, [1.0])]


def test_a_reject_is_written_only_once(spark: SparkSession, rejects: Frame) -> None:
    before = rejects(
        ("a", "missing", None, "'/a/a.wav': no such file"),
        ("b", "silent", "e0", "/a/b.wav: peak"),
        ("c", "silent", "e0", "/a/c.wav: peak"),
        ("moved", "silent", "e0", "/a/moved.wav: peak"),
    )
    now = spark.createDataFrame(
        [
            ("a", "/a/a.wav", None, "missing"),
            ("a", "/a/a.wav", None, "path_refused"),
            ("b", "/a/b.wav", "e1", "silent"),
            ("c", "/a/c.wav", "e0", "silent"),
            ("moved", "/b/moved.wav", "e0", "silent"),
            ("well", "/a/well.wav", "e0", None),
        ],
        "track_id string, audio_uri string, etag string, reason string",
    )
    found = sorted((row["track_id"], row["reason"]) for row in missing.new_rejects(now, before).collect())
    assert found == [("a", "path_refused"), ("b", "silent"), ("moved", "silent")]


def test_a_refused_uri_is_written_without_its_secrets(spark: SparkSession) -> None:
    uri = "https://ada:secret@host/a.mp3?X-Amz-Signature=secret"
    refused = audio_paths.refused(uri, "https: is not read")
    found = spark.createDataFrame(
        [("t", uri, None, refused.reason.value, refused.detail), ("b", "/b.wav", "e", "silent", "peak 0")],
        "track_id string, audio_uri string, etag string, reason string, detail string",
    )
    known = {row["key"]: row["detail"] for row in missing.rejects_of(found, "f", "d", "r").collect()}
    assert known == {"t": "'https://…@host/a.mp3?…': https: is not read", "b": "/b.wav: peak 0"}


def test_windows_come_from_the_newest_run_for_the_current_audio(tracks: Frame, rows: Frame) -> None:
    known = rows(
        *({"window": at, "values": [1.0 + at]} for at in (2, 0, 1)),
        *({"run": "r2", "window": at, "values": [5.0 + at]} for at in (1, 0, 0)),
        {"run": "r3", "audio_uri": "file:///a/former.wav", "values": [9.0]},
    )
    here = tracks(("t0", "file:///a/0.wav"), ("t1", "file:///a/0.wav"))
    found = feature_cache.windows_by_track(here, known).collect()
    assert [(row["track_id"], row["windows"]) for row in found] == [("t0", [[5.0], [6.0]])]
