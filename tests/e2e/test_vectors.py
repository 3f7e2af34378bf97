"""A catalog that has only vectors, from the track table to the tags."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from genremill.infra.errors import ExitCode
from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli

TRACKS, WIDTH, GENRES = 240, 12, ("drone", "polka", "trap")


def table(path: Path, *, tracks: int = TRACKS, scale: float = 1.0, without: int = 5) -> str:
    """Vectors that tell three genres apart; one in `without` tracks has none."""
    random = np.random.default_rng(0)
    centers = 4 * random.normal(size=(len(GENRES), WIDTH))
    genre = [number % len(GENRES) for number in range(tracks)]
    vectors = [
        (scale * (centers[genre[number]] + random.normal(size=WIDTH))).tolist() for number in range(tracks)
    ]
    columns = {
        "track_id": [f"t{number:03d}" for number in range(tracks)],
        "artists": [f"artist {number // 3}" for number in range(tracks)],
        "track_genre": [GENRES[number] for number in genre],
        "clap": [None if number % without == 0 else vectors[number] for number in range(tracks)],
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_catalog_of_vectors_is_tagged_night_after_night(spark: SparkSession, tmp_path: Path) -> None:
    where = ["--warehouse", str(tmp_path / "wh")]
    flags = ["--ingest.columns.vectors", "clap", "--train.model", "mlp4"]
    flags += ["--train.inputs", "vectors:clap", "--train.epochs", "12"]
    night = ["nightly", *where, *flags, "--cluster.clusters", "2"]
    assert cli.main([*night, "--tracks", table(tmp_path / "tracks.parquet")]) == 0
    warehouse = Warehouse.at(str(tmp_path / "wh"))

    def tags() -> dict[str, tuple[str, str | None, list[str]]]:
        rows = spark.read.parquet(warehouse.path(warehouse.require("tags", "").path)).collect()
        return {row["track_id"]: (row["status"], row["label"], row["inputs"]) for row in rows}

    found = tags()
    for number in range(TRACKS):
        status, label, inputs = found[f"t{number:03d}"]
        if number % 5 == 0:
            assert (status, inputs) == ("no_features", [])
        else:
            assert inputs == ["vectors:clap"]
            assert label == GENRES[number % 3] or status != "tagged"
    # New tracks are scored with the same model; the vectors of another scale are outliers.
    assert cli.main([*night, "--tracks", table(tmp_path / "tracks.parquet", tracks=TRACKS + 6)]) == 0
    assert tags()[f"t{TRACKS + 1}"][2] == ["vectors:clap"]
    changed = table(tmp_path / "tracks.parquet", scale=1000.0)
    assert cli.main([*night, "--tracks", changed]) == ExitCode.USAGE


def test_fusion_uses_vectors_by_default_and_show_displays_them(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--warehouse", str(tmp_path / "wh")]
    tracks = table(tmp_path / "tracks.parquet")
    assert cli.main(["ingest", *where, "--tracks", tracks, "--columns.vectors", "clap"]) == 0
    assert cli.main(["train", *where, "--epochs", "4", "--labels", "genre"]) == 0
    assert cli.main(["score", *where]) == 0
    assert cli.main(["publish", *where]) == 0
    warehouse = Warehouse.at(str(tmp_path / "wh"))
    rows = spark.read.parquet(warehouse.path(warehouse.require("tags", "").path)).collect()
    by_id = {row["track_id"]: row for row in rows}
    assert by_id["t001"]["inputs"] == ["text", "vectors:clap"]
    assert by_id["t005"]["inputs"] == ["text"]
    capsys.readouterr()
    assert cli.main(["show", "t001", *where]) == 0
    assert "vectors:clap" in capsys.readouterr().out


def test_vectors_that_are_new_or_lost_do_not_stop_the_nights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--warehouse", str(tmp_path / "wh")]
    night = ["nightly", *where, "--tracks", table(tmp_path / "t.parquet"), "--train.epochs", "3"]
    night += ["--cluster.clusters", "2", "--cluster.inputs", "vectors:clap"]
    without = ["nightly", *where, "--tracks", table(tmp_path / "t.parquet"), "--train.epochs", "3"]
    numbers = pq.read_table(tmp_path / "t.parquet")
    energy = pa.array(np.random.default_rng(1).random(TRACKS))
    pq.write_table(numbers.append_column("energy", energy), tmp_path / "t.parquet")
    assert cli.main(without) == 0
    assert cli.main([*night, "--ingest.columns.vectors", "clap"]) == 0
    capsys.readouterr()
    lost = cli.main([*without, "--ingest.max-lost-columns", "1", "--train.when", "never"])
    assert lost in (ExitCode.DONE, ExitCode.USAGE)  # an audit may refuse the tags
    assert "the tracks do not have these inputs of the model, so they are missing: vectors:clap" in (
        capsys.readouterr().err
    )
