"""A network of the user, from the audio to the tags."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.synthetic.clips import clip, style_of
from genremill.udfs.feature_sets import registry
from tests.audio import onnx_networks

CLIPS, SECONDS = 16, 2.0
RATE = 8000
"""The sample rate of the network, so that nothing is resampled."""


def test_features_of_a_network_are_extracted_trained_on_and_scored(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(CLIPS):
        y = clip(style_of(number % 2, 2), np.random.default_rng(number), SECONDS)
        sf.write(tmp_path / f"{number}.wav", y, RATE)
    lines = [f"t{number},g{number % 2},artist {number},{number}.wav" for number in range(CLIPS)]
    table = "\n".join(["track_id,track_genre,artists,audio_uri", *lines])
    (tmp_path / "tracks.csv").write_text(f"{table}\n")
    network = onnx_networks.loudness(tmp_path)
    where = ["--warehouse", str(tmp_path / "wh")]
    assert cli.main(["ingest", *where, "--tracks", str(tmp_path / "tracks.csv")]) == 0
    extract = ["extract", *where, "--audio-root", str(tmp_path), "--features", f"onnx:{network}"]
    assert cli.main(extract) == 0
    warehouse = Warehouse.at(str(tmp_path / "wh"))
    (cached,) = feature_cache.filled_sets(warehouse)
    assert (cached.name, cached.shape, cached.settings["pooling"]) == ("onnx:loudness", (12,), "max")
    rows = {row["track_id"]: row["values"] for row in cached.read(spark).collect()}
    assert len(rows) == CLIPS
    y, _ = sf.read(tmp_path / "3.wav", dtype="float32")
    expected = registry.named(f"onnx:{network}").values(y)
    np.testing.assert_allclose(rows["t3"], expected, atol=1e-4)

    capsys.readouterr()
    assert cli.main(extract) == 0
    assert "0 clips decoded" in capsys.readouterr().out
    train = ["train", *where, "--model", "linear", "--inputs", "onnx:loudness", "--labels", "genre"]
    assert cli.main([*train, "--epochs", "3"]) == 0
    assert cli.main(["score", *where]) == 0
    assert cli.main(["publish", *where]) == 0
    tags = spark.read.parquet(warehouse.path(warehouse.require("tags", "").path)).collect()
    assert {tuple(row["inputs"]) for row in tags} == {("onnx:loudness",)}

    yaml = Path(network).with_suffix(".yaml")
    yaml.write_text(yaml.read_text().replace("window: 1", "window: 0.02"))
    capsys.readouterr()
    assert cli.main(extract) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "loudness.onnx" in error
    assert "Traceback" not in error
