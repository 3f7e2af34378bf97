"""Implausible numbers are missing values of `tracks`, with a reason."""

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from tests.spark.ingested import Ingested

COUNT = 300
HOSTILE = {7: 1e6, 50: -3e38, 200: 3e38}
"""The tempo of some tracks by row."""


@pytest.fixture(scope="module")
def ingested(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """A table with three impossible tempos, a long tail, and a column with few values."""
    folder = tmp_path_factory.mktemp("plausible")
    rng = np.random.default_rng(0)
    tempo = rng.normal(120, 25, COUNT)
    power = rng.lognormal(7, 3, COUNT).round()
    power[3] = 1e8
    rare = np.zeros(COUNT)
    rare[:3] = 1000.0
    lines = ["track_id,artists,track_name,track_genre,tempo,power,rare"]
    lines += [
        f"t{row:03},a{row},n{row},{'rock' if row % 2 else 'pop'},{HOSTILE.get(row, tempo[row]):.7g},"
        f"{power[row]:.0f},{rare[row]:g}"
        for row in range(COUNT)
    ]
    table = folder / "tracks.csv"
    table.write_text("\n".join(lines) + "\n")
    return Ingested(spark, folder, str(table))


def test_impossible_values_are_missing_and_all_others_stay(ingested: Ingested) -> None:
    tempo = ingested.values("tempo")
    assert {name for name, value in tempo.items() if value is None} == {f"t{row:03}" for row in HOSTILE}
    assert 20 < min(value for value in tempo.values() if value is not None) < 100


def test_the_reason_gives_their_number_and_the_farthest(ingested: Ingested) -> None:
    use = ingested.uses()["tempo"]
    assert "3 missing because they are implausible, such as" in use["reason"]
    assert "e+38" in use["reason"]
    assert use["reason"].endswith("is plausible)")
    (feature,) = (one for one in ingested.current.snapshot.details["features"] if one["name"] == "tempo")
    assert feature["missing"] == pytest.approx(0.01)


def test_a_long_tail_and_a_rare_value_are_plausible(ingested: Ingested) -> None:
    assert ingested.values("power")["t003"] == pytest.approx(1e8)
    assert ingested.values("rare")["t001"] == 1000
    assert None not in {*ingested.values("power").values(), *ingested.values("rare").values()}


def test_a_column_that_a_flag_names_keeps_all_its_values(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        f"t{row:03},a{row},n{row},{'rock' if row % 2 else 'pop'},{1e6 if row == 7 else 100 + row}"
        for row in range(COUNT)
    ]
    (tmp_path / "tracks.csv").write_text(
        "\n".join(["track_id,artists,track_name,track_genre,tempo", *rows]) + "\n"
    )
    named = Ingested(spark, tmp_path, str(tmp_path / "tracks.csv"), "--columns.features", "tempo")
    assert named.values("tempo")["t007"] == 1e6
