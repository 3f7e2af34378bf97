"""The training set on disk: pairs as Parquet shards with equal row groups, and what they hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.splits import unit_hash
from genremill.jobs.training_pairs import TableInputs
from genremill.models import shards

ROWS_A_GROUP = 16_384
"""Rows of a row group at most."""
GROUPS_A_WORKER = 4
"""Row groups of a worker at least; all workers have as many, so that their shares are as good as equal."""
ROWS_A_FILE = 4_000_000
FIT_ROWS = 1_000_000
"""Train rows that an encoder is fitted on at most; the shards lie in hash order, so these are a sample."""


@dataclass(frozen=True)
class TrainingSet:
    """Shards on disk, and what they hold."""

    classes: tuple[str, ...]
    inputs: TableInputs
    train: str
    validation: str | None
    rows: dict[str, int]
    digests: tuple[str, ...]


def write_training_set(
    spark: SparkSession, work: command.Run, pairs: DataFrame, table: TableInputs, workers: int
) -> TrainingSet:
    """Train and validation pairs as Parquet with equal row groups, in an order drawn by hash."""
    counts = {
        (row["split"], row["class"]): row["count"]
        for row in pairs.groupBy("split", "class").count().collect()
    }
    classes = tuple(sorted({name for split, name in counts if split == Split.TRAIN}))
    if len(classes) < 2:
        raise UsageError(
            f"training needs 2 classes or more; the train split has {len(classes)}: {list(classes)}"
        )
    label = spark.createDataFrame(list(enumerate(classes)), "label long, class string")
    examples = pairs.join(F.broadcast(label), "class", "inner").select(
        table.column().alias("table"),
        "label",
        "split",
        unit_hash("order", 0, "track_id", "genre").alias("order"),
        F.xxhash64("track_id", "genre", "label", "table_features").alias("row_hash"),
    )
    rows = {
        part.value: sum(n for (split, name), n in counts.items() if split == part and name in classes)
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }
    folders = {
        part: work.warehouse.tmp(work.run_id, "shards", part) for part in (Split.TRAIN, Split.VALIDATION)
    }
    # Each worker validates a part; where there are not as many rows as workers, nothing is validated.
    parts = [Split.TRAIN, Split.VALIDATION] if rows[Split.VALIDATION] >= workers else [Split.TRAIN]
    digests = tuple(
        _write_part(examples.where(F.col("split") == part.value), folders[part], rows[part], workers)
        for part in parts
    )
    validation = folders[Split.VALIDATION] if Split.VALIDATION in parts else None
    return TrainingSet(classes, table, folders[Split.TRAIN], validation, rows, digests)


def _write_part(examples: DataFrame, folder: str, rows: int, workers: int) -> str:
    """Writes one split's shards and their manifest; gives a digest of their rows."""
    groups = workers * max(-(-rows // (workers * ROWS_A_GROUP)), GROUPS_A_WORKER)
    group = -(-rows // groups)
    files = -(-rows // ROWS_A_FILE)
    by_file = examples.repartitionById(files, F.floor(F.col("order") * files).cast("int"))
    ordered = by_file.sortWithinPartitions("order", "row_hash")
    ordered.select("table", "label").write.option("parquet.block.row.count.limit", group).parquet(folder)
    row = examples.agg(F.count("*"), F.sum(F.col("row_hash") % (1 << 31))).first()
    digest = f"{row[0]}-{row[1]}" if row else "empty"
    shards.write_manifest(folder, shards.manifest_of(folder, digest))
    return digest


def sample(data: TrainingSet) -> npt.NDArray[np.float32]:
    """Raw features of the first train rows, shape (rows, features)."""
    table = ds.dataset(str(storage.local_path(data.train)), format="parquet").head(
        FIT_ROWS, columns=["table"]
    )
    values = table.column("table").combine_chunks()
    flat: npt.NDArray[np.float32] = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, len(data.inputs.features))
