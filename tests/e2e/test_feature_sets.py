"""`extract` writes flat rows of every kind of feature set, also from analyses; the record has their shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.synthetic.clips import SR, clip, style_of
from genremill.udfs.feature_sets.segments import Segments
from tests.e2e.feature_rows import newest_set

SECONDS = 4.0
SETS = {"segments": ([512, 24], 1), "logmel": ([1, 96, 64], 4), "musicnn": ([250], 1)}
"""A sequence, an image and a vector: shape, and windows of a clip."""
SEGMENTS = [
    {"start": 0.3 * at, "duration": 0.3, "timbre": [at + 0.5] * 12, "pitches": [1.0] * 12}
    for at in range(600)
]


@pytest.fixture(scope="module")
def extracted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Features of two clips and of an analysis, all sets in one run."""
    folder = tmp_path_factory.mktemp("sets")
    for at in range(2):
        sf.write(folder / f"{at}.wav", clip(style_of(at, 2), np.random.default_rng(at), SECONDS), SR)
    (folder / "2.json").write_text(json.dumps({"segments": SEGMENTS}))
    names = ("0.wav", "1.wav", "2.json")
    lines = [f"t{at},g{at},artist {at},{name}" for at, name in enumerate(names)]
    (folder / "tracks.csv").write_text("\n".join(["track_id,track_genre,artists,audio_uri", *lines]) + "\n")
    where = ["--warehouse", str(folder / "warehouse")]
    (folder / "split.csv").write_text("id,split\nt0,train\nt1,test\nt2,train\n")
    flags = ["--tracks", str(folder / "tracks.csv"), "--split-file", str(folder / "split.csv")]
    assert cli.main(["ingest", *where, *flags]) == 0
    flags = ["--audio-root", str(folder), "--max-rejects", "0.5", "--features", *SETS]
    assert cli.main(["extract", *where, *flags]) == 0
    return Warehouse.at(str(folder / "warehouse"))


def values(spark: SparkSession, warehouse: Warehouse, name: str) -> dict[str, list[Any]]:
    tracks = spark.read.parquet(warehouse.path(warehouse.require("tracks", "").path))
    rows = feature_cache.rows_of(spark, warehouse, newest_set(warehouse, name).fingerprint)
    found = feature_cache.windows_by_track(tracks, rows).collect()
    return {row["track_id"]: row["windows"] for row in found}


@pytest.mark.parametrize("name", SETS)
def test_rows_are_flat_and_the_record_has_their_shape(
    extracted: Warehouse, spark: SparkSession, name: str
) -> None:
    shape, windows = SETS[name]
    cached = newest_set(extracted, name)
    assert cached.shape == tuple(shape)
    names = len(cached.values)
    assert names == (shape[-1] if len(shape) < 3 else shape[0])
    found = values(spark, extracted, name)
    assert set(found) == {"t0", "t1"} | ({"t2"} if name == "segments" else set())
    for track in ("t0", "t1"):
        assert [len(row) for row in found[track]] == [int(np.prod(shape))] * windows


def test_the_rows_have_the_values_that_the_feature_set_computes(
    extracted: Warehouse, spark: SparkSession
) -> None:
    y = clip(style_of(0, 2), np.random.default_rng(0), SECONDS)
    as_written = np.rint(y * 32768).clip(-32768, 32767).astype(np.float32) / np.float32(32768)
    [found] = values(spark, extracted, "segments")["t0"]
    assert np.allclose(found, Segments().values(as_written), rtol=1e-3, atol=0.05)


def test_the_first_segments_of_an_analysis_are_extracted(extracted: Warehouse, spark: SparkSession) -> None:
    [found] = values(spark, extracted, "segments")["t2"]
    steps = np.reshape(found, (512, 24))
    assert steps[:, 0].tolist() == [at + 0.5 for at in range(512)]
    assert (steps[:, 12:] == 1).all()
    rejects = feature_cache.rejects(spark, extracted).where("key = 't2'").collect()
    assert {row["reason"] for row in rejects} == {"not_audio"}
    assert len(rejects) == len(SETS) - 1


def test_windows_that_a_set_does_not_support_are_an_error(
    extracted: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--warehouse", extracted.uri, "--audio-root", "/", "--features", "logmel", "--windows", "whole"]
    assert cli.main(["extract", *flags]) == 2
    assert "--windows 0.975" in capsys.readouterr().err


def test_augmented_rows_are_a_separate_set_and_only_of_the_train_split(
    extracted: Warehouse, spark: SparkSession
) -> None:
    plain = newest_set(extracted, "segments")
    before = values(spark, extracted, "segments")
    root = str(Path(extracted.uri.removeprefix("file://")).parent)
    flags = ["--warehouse", extracted.uri, "--audio-root", root, "--max-rejects", "0.5"]
    assert cli.main(["extract", *flags, "--features", "segments", "--augment", "noise"]) == 0
    assert newest_set(extracted, "segments") == plain
    assert values(spark, extracted, "segments") == before
    assert {cached.name for cached in feature_cache.filled_sets(extracted)} == set(SETS)
    [(variant, cached)] = feature_cache.variants(extracted, plain).items()
    assert (variant, cached.name) == ("noise", "segments~noise")
    rows = feature_cache.rows_of(spark, extracted, cached.fingerprint).collect()
    assert {row["track_id"] for row in rows} == {"t0"}
    assert rows[0]["values"] != before["t0"][0]
    assert feature_cache.variants(extracted, newest_set(extracted, "logmel")) == {}
