"""Which pairs a model is trained on, and in which split they are."""

import pytest
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.jobs.snapshot_details import SplitRule
from genremill.jobs.training.pairs import Balance, balanced, check_exact, labeled, pairs_of
from genremill.models.evaluation.split import SplitBy

RULE = SplitRule(SplitBy.ROWS, (0.8, 0.1, 0.1), seed=0)


def _tracks(spark: SparkSession, count: int) -> DataFrame:
    return spark.range(count).select(
        F.concat(F.lit("t"), "id").alias("track_id"),
        F.array(F.lit("rock"), F.when(F.col("id") % 4 == 0, "blues").otherwise("punk")).alias("genres"),
        F.lit("rows").alias("split"),
    )


def test_the_rows_split_splits_each_pair_on_its_own(spark: SparkSession) -> None:
    pairs = pairs_of(_tracks(spark, 2_000), RULE)
    share = {row["split"]: row["count"] / 4_000 for row in pairs.groupBy("split").count().collect()}
    assert abs(share["train"] - 0.8) < 0.03
    assert abs(share["test"] - 0.1) < 0.02
    splits_of_track = pairs.groupBy("track_id").agg(F.count_distinct("split").alias("splits"))
    assert splits_of_track.where("splits > 1").count() > 400


def test_exactly_balanced_classes_have_as_many_pairs_in_each_split(spark: SparkSession) -> None:
    pairs = labeled(pairs_of(_tracks(spark, 4_000), RULE), None)
    chosen = balanced(pairs, Balance(500, exactly=True)).cache()
    rows = chosen.groupBy("class", "split").count().collect()
    counts = {(row["class"], row["split"]): row["count"] for row in rows}
    expected = {"train": 400, "validation": 50, "test": 50}
    assert counts == {(name, part): n for name in ("rock", "punk", "blues") for part, n in expected.items()}
    check_exact(chosen, 500)
    whole = pairs.where("class = 'rock'").groupBy("split").count().collect()
    most = min(int(row["count"] / {"train": 0.8}.get(row["split"], 0.1)) for row in whole)
    rock = balanced(pairs, Balance(most + 10, exactly=True)).where("class = 'rock'")
    with pytest.raises(
        UsageError, match=rf"of rock in .*\. The largest possible value is --per-class {most}"
    ):
        check_exact(rock, most + 10)


def test_balanced_classes_keep_the_shares_of_the_splits(spark: SparkSession) -> None:
    # Same seed as the split: the drawn pairs must not depend on the split.
    pairs = labeled(pairs_of(_tracks(spark, 4_000), RULE), None)
    chosen = balanced(pairs, Balance(500, seed=RULE.seed)).cache()
    assert {row["class"]: row["count"] for row in chosen.groupBy("class").count().collect()} == {
        "rock": 500,
        "punk": 500,
        "blues": 500,
    }
    assert abs(chosen.where("split = 'test'").count() / 1_500 - 0.1) < 0.03
    assert abs(chosen.where("split = 'train'").count() / 1_500 - 0.8) < 0.05
