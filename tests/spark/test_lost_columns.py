"""`ingest` of a table with bad cells, and of one whose columns are no longer what they were."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from tests.conftest import BASE_ROW, catalog, write_csv
from tests.spark.ingested import Ingested

ROWS = 304
BAD = (7, 77, 150, 300)
NUMBERS = (
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "valence",
    "tempo",
    "mode",
    "key",
)


def _rows(share: float, *names: str) -> list[dict[str, Any]]:
    """A catalog in which a share of the cells of some columns is text; the bad rows are spread evenly."""
    rows = catalog(ROWS)
    for at, row in enumerate(rows):
        if int((at + 1) * share) > int(at * share):
            row |= dict.fromkeys(names, f"bad {at}")
    return rows


def _bad_rows() -> pd.DataFrame:
    """The catalog with four bad rows, as text."""
    rows = [BASE_ROW | row for row in catalog(ROWS)]
    for at in BAD:
        rows[at] |= dict.fromkeys(NUMBERS, f"bad {at}")
    return pd.DataFrame(rows).drop(columns="").astype(str)


def _as_csv(folder: Path) -> str:
    _bad_rows().to_csv(folder / "t.csv", index=False)
    return str(folder / "t.csv")


def _as_excel(folder: Path) -> str:
    _bad_rows().to_excel(folder / "t.xlsx", index=False)
    return str(folder / "t.xlsx")


def _as_parquet(folder: Path) -> str:
    _bad_rows().to_parquet(folder / "t.parquet")
    return str(folder / "t.parquet")


def _as_lists_in_one_file(folder: Path) -> str:
    """The bad rows are in a second Parquet file, whose columns are lists."""
    table = pd.DataFrame([BASE_ROW | row for row in catalog(ROWS)]).drop(columns="")
    (folder / "in").mkdir()
    table.drop(index=[*BAD]).to_parquet(folder / "in" / "a.parquet")
    bad = table.loc[[*BAD]].astype(dict.fromkeys(NUMBERS, object))
    for name in NUMBERS:
        bad[name] = [[value] for value in bad[name]]
    bad.to_parquet(folder / "in" / "b.parquet")
    return str(folder / "in")


@pytest.mark.parametrize("written", [_as_csv, _as_excel, _as_parquet, _as_lists_in_one_file])
def test_four_bad_rows_cost_their_own_values_and_no_column(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], written: Callable[[Path], str]
) -> None:
    found = Ingested(spark, tmp_path, written(tmp_path), "--json")
    assert {*NUMBERS} <= {*found.features}
    rows = found.rows()
    for name in NUMBERS:
        at = found.features.index(name)
        missing = {track for track, row in rows.items() if row["table_features"][at] is None}
        assert missing == {f"t{number}" for number in BAD}
    assert len(json.loads(capsys.readouterr().out)["not_numbers"]) == len(NUMBERS)
    reason = found.uses()["tempo"]["reason"]
    assert reason.startswith("numbers; 4 missing because they are not numbers, such as '")
    assert reason.count("', '") == 2


def test_a_change_is_refused_and_a_few_bad_cells_are_not(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.csv"
    features = Ingested(spark, tmp_path, write_csv(table, catalog(ROWS))).features
    for share in (0.01, 0.05, 0.1):
        found = Ingested(spark, tmp_path, write_csv(table, _rows(share, "tempo")))
        assert (found.exit_code, found.features) == (0, features)
        (tempo,) = (each for each in found.current.snapshot.details["features"] if each["name"] == "tempo")
        assert tempo["missing"] == int(ROWS * share) / ROWS
    capsys.readouterr()

    before = found.current
    for share, why in (
        (0.6, "text; 59.9% of its values do not fit, such as 'bad 1', 'bad 3', 'bad 4'"),
        (
            0.2,
            "only 244 of 304 values are numbers; 19.7% of its values do not fit, such as 'bad 14', 'bad",
        ),
    ):
        refused = Ingested(spark, tmp_path, write_csv(table, _rows(share, "tempo")))
        assert refused.exit_code == 2
        assert refused.current == before
        (error,) = capsys.readouterr().err.splitlines()[-1:]
        assert f"'tempo' was a numeric feature: {why}" in error

    accepted = Ingested(spark, tmp_path, str(table), "--max-lost-columns", "1")
    assert accepted.features == [name for name in features if name != "tempo"]
    assert "accepted because of --max-lost-columns 1: 'tempo' was" in capsys.readouterr().err
    assert Ingested(spark, tmp_path, str(table)).exit_code == 0


def test_a_first_table_has_nothing_to_lose(spark: SparkSession, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    first = Ingested(spark, tmp_path, write_csv(table, _rows(0.6, "tempo")))
    features = first.features
    assert (first.exit_code, "tempo" in features) == (0, False)
    gained = Ingested(spark, tmp_path, write_csv(table, catalog(ROWS)))
    assert gained.features == [*features[:-1], "tempo", "time_signature"]
    dropped = Ingested(spark, tmp_path, str(table), "--columns.ignore", "tempo")
    assert (dropped.exit_code, dropped.features) == (0, features)
