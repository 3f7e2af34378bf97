"""A track table of a few rows, understood and read without Spark."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.left_out import LeftOut
from genremill.jobs.catalog.sample import Sample
from genremill.jobs.catalog.understanding import Understanding, understand
from genremill.udfs.cells.rows import track_columns


def sample_of(columns: Mapping[str, Sequence[Any] | pa.Array]) -> Sample:
    """The sample of a table with one file; a short column is repeated."""
    arrays = {
        name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()
    }
    rows = max(map(len, arrays.values()))
    whole = {
        name: pa.concat_arrays([array] * -(-rows // len(array)))[:rows] for name, array in arrays.items()
    }
    types: dict[str, T.DataType] = {name: from_arrow_type(array.type) for name, array in whole.items()}
    return Sample(whole, types, np.zeros(rows, np.int64))


class Read:
    """The table as `ingest` understands and reads it; `track_id` is added if no other id is named."""

    def __init__(
        self,
        columns: Mapping[str, Sequence[Any] | pa.Array],
        flags: Columns | None = None,
        missing: Sequence[str] = (),
        partitions: tuple[str, ...] = (),
    ) -> None:
        flags = flags or Columns()
        columns = dict(columns)
        rows = max(map(len, columns.values()))
        if flags.id == "track_id":
            columns = {"track_id": [f"t{number}" for number in range(rows)]} | columns
        self.sample = sample_of(columns)
        markers = frozenset(missing)
        self.understood: Understanding = understand(
            self.sample, flags, "--tracks t", markers, LeftOut(partitions=partitions)
        )
        arrays = self.sample.columns | {"_malformed": pa.nulls(rows, pa.string())}
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
        self.columns = {
            name: values.to_pylist()
            for name, values in track_columns(batch, self.understood.row_format).items()
        }

    @property
    def features(self) -> list[str]:
        """Names of the candidates for features."""
        return [column.name for column in self.understood.row_format.features]

    def values(self, feature: str) -> list[float | None]:
        """The numbers of a feature; None if a value is missing, NaN if it is not a number."""
        at = self.features.index(feature)
        return [row[at] for row in self.columns["numbers"]]

    def reason(self, column: str) -> str:
        """Why a column has its use."""
        return next(use.reason for use in self.understood.uses if use.column == column)
