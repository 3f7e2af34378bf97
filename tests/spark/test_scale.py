"""Large catalogs: replicas of a table, and long chains of tracks that are one recording."""

import math
from collections import Counter
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.warehouse import Warehouse
from genremill.jobs import ingest, replica
from genremill.jobs.catalog.recordings import track_groups
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
