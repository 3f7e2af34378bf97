"""Training on augmented windows in addition to the original audio; only the train split has them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession, functions as F

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli, command
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.training import sources
from genremill.jobs.training.ranks import sample
from genremill.jobs.training.settings import Config
from genremill.models.features import WINDOWS
from genremill.models.training.manifest import read_manifest
from genremill.udfs.dsp.augmentation import Variant
from tests.e2e.conftest import Catalog
from tests.e2e.feature_rows import newest_set
from tests.e2e.test_audio_training import write_features

TRACKS = 60
PLAIN, NOISY = 0.0, 100.0
CFG = Config(model="linear", inputs="gtzan57", augment=(Variant.NOISE,), epochs=1)


@pytest.fixture(scope="module")
def extracted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Tracks with one window each; the cache also has a noisy window of each track of every split."""
    folder = tmp_path_factory.mktemp("augmented")
    lines = ["track_id,artists,track_name,tempo,track_genre,audio_uri"]
    lines += [
        f"t{at},Artist {at},Title {at},{60 + at % 7},{('rock', 'jazz')[at % 2]},/clips/{at}.wav"
        for at in range(TRACKS)
    ]
    (folder / "tracks.csv").write_text("\n".join(lines))
    uri, table = str(folder / "warehouse"), str(folder / "tracks.csv")
    assert cli.main(["ingest", "--warehouse", uri, "--tracks", table]) == 0
    for name, fingerprint, level in (("gtzan57", "aa", PLAIN), ("gtzan57~noise", "bb", NOISY)):
        windows: list[tuple[int, int, Any]] = [(at, 0, [level + at % 2, at / TRACKS]) for at in range(TRACKS)]
        write_features(spark, uri, name, fingerprint, "r1", windows)
    record = folder / "warehouse" / "features" / "fingerprint=bb" / "_feature_set.json"
    described = json.loads(record.read_text()) | {"settings": {"augment": "noise"}}
    record.write_text(json.dumps(described))
    return Warehouse.at(uri)


def test_only_tracks_in_the_train_split_get_more_rows(spark: SparkSession, extracted: Warehouse) -> None:
    inputs = sources.resolve(extracted, CFG)
    data, prepared = sources.prepared(spark, command.Run(extracted, "r1"), inputs)
    assert data.validation is not None
    assert data.rows["validation"] > 0
    shards = {part: spark.read.parquet(folder) for part, folder in _folders(data).items()}
    levels = {part: _levels(rows.collect()) for part, rows in shards.items()}
    assert levels["train"] == {PLAIN: data.rows["train"], NOISY: data.rows["train"]}
    assert levels["validation"] == {PLAIN: data.rows["validation"]}
    noisy = shards["train"].where("augmented").collect()
    assert set(_levels(noisy)) == {NOISY}
    assert read_manifest(data.train).rows == 2 * data.rows["train"]
    # The statistics of the tracks and the calibration use the original audio only.
    assert np.all(sample(data)["gtzan57"] < NOISY)
    assert prepared.pairs.select(F.max(F.size(WINDOWS))).first() == (1,)


def _folders(data: Any) -> dict[str, str]:
    return {"train": data.train, "validation": data.validation}


def _levels(rows: list[Any]) -> dict[float, int]:
    found: dict[float, int] = {}
    for row in rows:
        level = NOISY if row["gtzan57"][0] >= NOISY else PLAIN
        found[level] = found.get(level, 0) + 1
    return found


def test_a_model_learns_from_augmented_windows_and_its_record_names_them(
    extracted: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog(Path(extracted.uri.removeprefix("file://")).parent, capsys)
    flags = ["--model", "linear", "--inputs", "gtzan57", "--epochs", "1"]
    trained = catalog.run("train", *flags, "--augment", "noise")
    card = json.loads((Path(trained["path"].removeprefix("file://")) / "model.json").read_text())["training"]
    assert card["history"][0]["rows"] == 2 * trained["rows"]["train"]
    assert card["made_from"]["gtzan57~noise"] == "bb: 1 runs to r1"
    assert catalog.run("evaluate")["metrics"]["rows"] == trained["rows"]["test"]


def test_a_variant_that_was_not_extracted_is_an_error(
    extracted: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = newest_set(extracted, "gtzan57")
    assert set(feature_cache.variants(extracted, plain)) == {"noise"}
    assert sources.resolve(extracted, dataclasses.replace(CFG, augment=())).variants == {}
    flags = ["train", "--warehouse", extracted.uri, "--model", "linear"]
    assert cli.main([*flags, "--inputs", "gtzan57", "--augment", "noise", "pitch"]) == 2
    error = capsys.readouterr().err
    assert "--augment pitch" in error
    assert "Run `genremill extract --features gtzan57 --augment pitch`" in error
    assert cli.main([*flags, "--inputs", "table", "--augment", "noise"]) == 2
    assert "--augment: the inputs table contain no features of audio" in capsys.readouterr().err
