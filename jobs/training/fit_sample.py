"""The sample of train rows on which encoders are fitted."""

from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from genremill.infra import storage
from genremill.jobs.training.dataset import AUGMENTED, TrainingSet
from genremill.models.training import manifest
from genremill.udfs.arrow_rows import matrix

FIT_ROWS, FIT_VALUES = 1_000_000, 32_000_000
"""Limits of the sample on which an encoder is fitted: train rows, and values in them. The shards are in hash
order, so the first rows are a random sample."""
SCAN_ROWS = 1024


def sample(data: TrainingSet) -> dict[str, npt.NDArray[Any]]:
    """Raw inputs of the first train rows of original audio, by name, each of shape (rows, width)."""
    left = min(FIT_ROWS, max(FIT_VALUES // data.inputs.values, 1))
    names = list(data.inputs.names)
    store, folder = storage.arrow(data.train)
    tables = []
    with manifest.storage_errors(data.train):
        # Without read-ahead: a scanner would read far more rows than are needed.
        shard_rows = ds.dataset(folder, filesystem=store, format="parquet")
        batches = shard_rows.to_batches(
            filter=~ds.field(AUGMENTED) if AUGMENTED in shard_rows.schema.names else None,
            columns=names,
            batch_size=SCAN_ROWS,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
        )
        for batch in batches:
            tables.append(batch.slice(0, left))
            left -= len(tables[-1])
            if not left:
                break
    table = pa.Table.from_batches(tables)
    return {name: matrix(table.column(name)) for name in names}
