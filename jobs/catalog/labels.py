"""Spellings of one genre: labels that differ only in case, width, dashes or blanks."""

import json
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, Window, functions as F

from genremill.udfs.cells.text import folded_label


def _fold(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Adds the key of each label, for `mapInArrow`."""
    for batch in batches:
        keys = [folded_label(label) for label in batch.column("label").to_pylist()]
        arrays = [*batch.columns, pa.array(keys, pa.string())]
        yield pa.RecordBatch.from_arrays(arrays, names=[*batch.schema.names, "key"])


def other_spellings(rows: DataFrame) -> dict[str, str]:
    """The spellings of `genres` that are not the most frequent one of their genre, each with that one."""
    labels = rows.select(F.explode("genres").alias("label")).groupBy("label").count()
    folded = labels.mapInArrow(_fold, "label string, count long, key string")
    best = F.max(F.struct("count", "label")).over(Window.partitionBy("key")).getField("label")
    others = folded.withColumn("best", best).where("label != best").select("label", "best")
    return {row["label"]: row["best"] for row in others.orderBy("label").collect()}


def with_one_spelling(rows: DataFrame, spellings: dict[str, str]) -> DataFrame:
    """The rows with each genre in its most frequent spelling."""
    if not spellings:
        return rows
    best_of = F.from_json(F.lit(json.dumps(spellings)), "map<string,string>")
    return rows.withColumn("genres", F.transform("genres", lambda genre: F.coalesce(best_of[genre], genre)))
