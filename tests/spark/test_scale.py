"""Large catalogs: replicas of a table, and long chains of tracks that are one recording."""

import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Warehouse
from genremill.jobs import ingest, replica
from genremill.jobs.catalog.columns import Columns, resolve
from genremill.jobs.catalog.recordings import track_groups
from genremill.jobs.catalog.row_checks import checked_rows
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.table_reader import read_table
from genremill.jobs.command import Run
from tests.conftest import catalog, write_csv

COPIES = 3
CHAIN = 20_001


def _table(folder: Path) -> str:
    """40 tracks of 20 artists: two with equal features, two with equal titles, one with two genres."""
    rows = catalog(40)
    for at, row in enumerate(rows):
        row |= {"artists": f"Artist {at // 2}", "track_genre": ("rock", "rock", "pop", "jazz")[at % 4]}
    rows[1] |= {"tempo": rows[0]["tempo"], "artists": "Guest;Other"}
    rows[3] |= {"track_name": rows[2]["track_name"]}
    rows.append(rows[5] | {"track_genre": "folk"})
    return write_csv(folder / "table.csv", rows)


def _replica(folder: Path, *flags: str) -> pd.DataFrame:
    out = folder / f"replica{''.join(flags)}"
    count = str(40 * COPIES)
    assert not replica.main(
        ["--tracks", str(folder / "table.csv"), "--count", count, "--out", str(out), *flags]
    )
    return pd.read_parquet(out)


def _recordings(spark: SparkSession, folder: Path, table: str) -> Counter[int]:
    """The number of recordings by their number of tracks, after `ingest`."""
    warehouse = Warehouse.at(str(folder / "warehouse"))
    assert not ingest.main(["--warehouse", warehouse.uri, "--tracks", table])
    current = warehouse.current("tracks")
    assert current is not None
    tracks = spark.read.parquet(warehouse.path(current.snapshot.path))
    return Counter(row["count"] for row in tracks.groupBy("recording_id").count().collect())


def test_a_replica_has_the_statistics_of_its_table(spark: SparkSession, tmp_path: Path) -> None:
    table = _table(tmp_path)
    made = _replica(tmp_path)
    assert made.groupby("track_id").size().value_counts().to_dict() == {1: 39 * COPIES, 2: COPIES}
    assert (made.track_id.str.len() == 22).all()
    assert Counter(made.track_genre) == {
        genre: COPIES * count for genre, count in Counter(pd.read_csv(table).track_genre).items()
    }
    assert made.tempo.between(0.95 * 60, 60 + 40 * 0.25).all()
    assert made.drop_duplicates("track_id").tempo.nunique() == 39 * COPIES
    assert _recordings(spark, tmp_path, str(tmp_path / "replica")) == {1: 36 * COPIES, 2: 2 * COPIES}
    pd.testing.assert_frame_equal(made, _replica(tmp_path, "--seed", "0"))


def test_a_replica_can_have_a_skewed_genre_or_more_genres(spark: SparkSession, tmp_path: Path) -> None:
    _table(tmp_path)
    skewed = _replica(tmp_path, "--skew", "0.4")
    plain = _replica(tmp_path)
    changed = (skewed.track_genre != plain.track_genre).sum()
    assert set(skewed[skewed.track_genre != plain.track_genre].track_genre) == {"rock"}
    assert 0.4 * 60 - 20 < changed < 0.4 * 60 + 20  # half of the rows are rock without it
    many = _replica(tmp_path, "--genres", "40")
    kinds = ("rock", "pop", "jazz", "folk")
    assert set(many.track_genre) <= {f"{genre} {at}" for genre in kinds for at in range(10)}
    assert many.track_genre.nunique() > 20
    # An artist's rows of one genre stay together.
    assert many.groupby([many.artists, many.track_genre.str.split().str[0]]).track_genre.nunique().max() == 1


def test_a_long_chain_of_tracks_is_grouped_in_few_rounds(spark: SparkSession) -> None:
    rounds: list[str] = []

    def checkpoint(df: DataFrame, name: str) -> DataFrame:
        rounds.append(name)
        return df.localCheckpoint()

    # Tracks 2k and 2k+1 have one title, 2k+1 and 2k+2 one sound: all are one recording in the end.
    at = F.col("id")
    tracks = spark.range(CHAIN).select(
        F.concat(F.lit("t"), at).alias("track_id"),
        F.concat(F.lit("Title "), F.floor(at / 2)).alias("title"),
        F.array(F.lit("Ada")).alias("artists"),
        F.floor((at + 1) / 2).alias("sound"),
    )
    recordings, _ = track_groups(tracks, F.col("sound"), checkpoint)
    counts = recordings.agg(F.count_distinct("node"), F.count_distinct("component")).first()
    assert counts is not None
    assert tuple(counts) == (CHAIN - 1, 1)
    steps = Counter(name.rpartition("-")[0] for name in rounds)
    assert steps["recordings"] <= math.log2(CHAIN) + 4


def test_typed_and_text_columns_give_the_same_numbers(spark: SparkSession, tmp_path: Path) -> None:
    typed = pa.table(
        {
            "track_id": list("abcdefg"),
            "duration_ms": [1000, 0, 3000, -5, 5000, 6000, 7000],
            "tempo": [60.5, 70.25, float("nan"), 80.1, float("inf"), 1e39, None],
            "explicit": [True, False, True, True, None, False, True],
            "plays": [1, None, 3, 4, 5, 6, 1 << 60],
        }
    )
    text = typed.cast(pa.schema([(name, pa.string()) for name in typed.schema.names]))
    found = []
    for name, table in (("typed", typed), ("text", text)):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        work = Run(Warehouse.at(str(tmp_path / "warehouse")), "r1")
        raw = read_table(spark, work, f"file://{tmp_path}/{name}.parquet", Options()).rows
        layout = resolve(raw, Columns(features=("duration_ms", "tempo", "explicit", "plays")), name)
        checked = checked_rows(raw, layout)
        values = checked.select("track_id", "duration_s", "table_features", "problem.reason")
        found.append([str(row) for row in values.orderBy("track_id").collect()])
        names = resolve(raw, Columns(), name).features
        assert [feature.name for feature in names] == ["duration_ms", "tempo", "explicit", "plays"]
    assert found[0] == found[1]
    assert len({row.rpartition("reason=")[2] for row in found[0]}) == 4
