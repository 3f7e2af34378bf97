"""The training set on disk: pairs as Parquet shards with equal row groups, one row a window."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.model_inputs import ModelInputs
from genremill.jobs.splits import unit_hash
from genremill.models import shards

ROWS_A_GROUP = 16_384
"""Rows of a row group at most."""
GROUPS_A_WORKER = 4
"""Row groups of a worker at least; all workers have as many, so that their shares are as good as equal."""
ROWS_A_FILE = 4_000_000
ROWS_A_RANK = 2
"""Train rows of a rank at least: batch normalisation learns nothing from one."""
FIT_ROWS, FIT_VALUES = 1_000_000, 32_000_000
"""Train rows, and values in them, that an encoder is fitted on at most; the shards lie in hash order, so
these are a sample."""


@dataclass(frozen=True)
class TrainingSet:
    """Shards on disk, and what they hold."""

    classes: tuple[str, ...]
    inputs: ModelInputs
    train: str
    validation: str | None
    rows: dict[str, int]
    """(track, genre) pairs by split."""
    class_rows: dict[str, int]
    """Train pairs by class."""
    train_rows: int
    """Rows trained on: a pair has one for each window."""
    digests: tuple[str, ...]


def write_training_set(
    spark: SparkSession, work: command.Run, pairs: DataFrame, inputs: ModelInputs, workers: int
) -> TrainingSet:
    """Train and validation pairs as Parquet with equal row groups, in an order drawn by hash."""
    windows = F.lit(1) if inputs.table_alone else F.size(inputs.column)
    counts = {
        (row["split"], row["class"]): (row["pairs"], row["rows"])
        for row in pairs.groupBy("split", "class")
        .agg(F.count("*").alias("pairs"), F.sum(windows).alias("rows"))
        .collect()
    }
    classes = tuple(sorted({name for split, name in counts if split == Split.TRAIN}))
    if len(classes) < 2:
        raise UsageError(
            f"training needs 2 classes or more; the train split has {len(classes)}: {list(classes)} "
            f"(tracks that have {' and '.join(inputs.names)})"
        )
    label = spark.createDataFrame(list(enumerate(classes)), "label long, class string")
    examples = _examples(pairs.join(F.broadcast(label), "class", "inner"), inputs)
    rows, windows_of = (
        {
            part.value: sum(n[at] for (split, name), n in counts.items() if split == part and name in classes)
            for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
        }
        for at in (0, 1)
    )
    if windows_of[Split.TRAIN] < ROWS_A_RANK * workers:
        raise UsageError(
            f"--workers {workers}: there are {windows_of[Split.TRAIN]} rows to train on; expected "
            f"{ROWS_A_RANK * workers} or more"
        )
    folders = {
        part: work.warehouse.tmp(work.run_id, "shards", part) for part in (Split.TRAIN, Split.VALIDATION)
    }
    # Each worker validates a part; where there are not as many rows as workers, nothing is validated.
    parts = [Split.TRAIN, Split.VALIDATION] if windows_of[Split.VALIDATION] >= workers else [Split.TRAIN]
    digests = tuple(
        _write_part(examples.where(F.col("split") == part.value), folders[part], windows_of[part], workers)
        for part in parts
    )
    validation = folders[Split.VALIDATION] if Split.VALIDATION in parts else None
    class_rows = {name: counts[Split.TRAIN.value, name][0] for name in classes}
    train_rows = windows_of[Split.TRAIN]
    return TrainingSet(
        classes, inputs, folders[Split.TRAIN], validation, rows, class_rows, train_rows, digests
    )


def _examples(pairs: DataFrame, inputs: ModelInputs) -> DataFrame:
    """The rows of the shards: a column for each input, label, split, place in the order, hash of the row."""
    window = [] if inputs.table_alone else ["window"]
    key = ["track_id", "genre", *window]
    values = ["table_features"] if inputs.table_alone else inputs.names
    return inputs.rows(pairs).select(
        *inputs.names,
        "label",
        "split",
        unit_hash("order", 0, *key).alias("order"),
        F.xxhash64(*key, "label", *values).alias("row_hash"),
    )


def _write_part(examples: DataFrame, folder: str, rows: int, workers: int) -> str:
    """Writes one split's shards and their manifest; gives a digest of their rows."""
    groups = workers * max(-(-rows // (workers * ROWS_A_GROUP)), GROUPS_A_WORKER)
    group = -(-rows // groups)
    files = -(-rows // ROWS_A_FILE)
    file = F.floor(F.col("order") * files).cast("int")
    numbers = F.lit(hashed_to(examples.sparkSession, files))
    by_file = examples.repartition(files, F.element_at(numbers, file + 1))
    ordered = by_file.sortWithinPartitions("order", "row_hash")
    shard_rows = ordered.drop("split", "order", "row_hash")
    # Parquet counts rows from Spark 4.1 on; before, each row group is a file.
    counts_rows = tuple(map(int, examples.sparkSession.version.split(".")[:2])) >= (4, 1)
    limit = "parquet.block.row.count.limit" if counts_rows else "maxRecordsPerFile"
    shard_rows.write.option(limit, group).parquet(folder)
    row = examples.agg(F.count("*"), F.sum(F.col("row_hash") % (1 << 31))).first()
    digest = f"{row[0]}-{row[1]}" if row else "empty"
    shards.write_manifest(folder, shards.manifest_of(folder, digest))
    return digest


def hashed_to(spark: SparkSession, partitions: int) -> list[int]:
    """For each partition in turn, a number that a repartition into so many sends there.

    Spark's `repartitionById` needs no such detour, but Spark 4.0 has none.
    """
    numbers = spark.range(partitions * (10 + partitions.bit_length()))
    partition = F.pmod(F.hash(F.col("id").cast("int")), F.lit(partitions)).alias("partition")
    rows = numbers.groupBy(partition).agg(F.min("id").alias("id")).orderBy("partition").collect()
    return [row["id"] for row in rows]


def sample(data: TrainingSet) -> npt.NDArray[np.float32]:
    """Raw features of the first train rows, all inputs joined in order, shape (rows, features)."""
    rows = min(FIT_ROWS, FIT_VALUES // len(data.inputs.features))
    names = list(data.inputs.names)
    store, folder = storage.arrow(data.train)
    with shards.storage_errors(data.train):
        table = ds.dataset(folder, filesystem=store, format="parquet").head(rows, columns=names)
    flat = [table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False) for name in names]
    values: npt.NDArray[np.float32] = np.hstack([one.reshape(len(table), -1) for one in flat])
    return values
