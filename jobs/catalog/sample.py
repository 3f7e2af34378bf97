"""The first rows of a track table, from which the meaning of its columns is guessed."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame, Row, functions as F, types as T
from pyspark.sql.pandas.types import to_arrow_type

from genremill.jobs.catalog.own_columns import FILE, OWN_COLUMNS
from genremill.jobs.contracts import quoted
from genremill.udfs.cells.rows import EXAMPLES
from genremill.udfs.cells.text import clean, shown, without_values

SAMPLE_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Sample:
    """The first rows of a table, in order."""

    columns: dict[str, pa.Array]
    types: dict[str, T.DataType]
    file: npt.NDArray[np.int64]
    """The number of the file that each row is from."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.file)

    def is_text(self, name: str) -> bool:
        """Whether the cells of a column are text."""
        return isinstance(self.types[name], T.StringType)

    @functools.cached_property
    def _texts(self) -> dict[str, pa.StringArray]:
        return {name: clean(self.columns[name]) for name in self.columns if self.is_text(name)}

    def clean(self, name: str) -> pa.StringArray:
        """The clean cells of a column of text."""
        return self._texts[name]

    def text(self, name: str, markers: frozenset[str]) -> pa.StringArray:
        """The clean cells of a column of text; null where a number or a label is missing."""
        return without_values(self._texts[name], markers)

    def examples(self, name: str) -> tuple[str, ...]:
        """The first different values of a column, as text."""
        return first_examples(self.columns[name])


def first_examples(cells: pa.Array) -> tuple[str, ...]:
    """The first different values, as text; at most `EXAMPLES`."""
    found = dict.fromkeys(filter(None, (shown(value.as_py()) for value in cells[:1000])))
    return tuple(found)[:EXAMPLES]


def take_sample(table: DataFrame) -> Sample:
    """The first `SAMPLE_ROWS` rows of a table from `read_table`; Spark reads no more than it must."""
    # As text, because Spark has dates before the year 1 and after 9999, and Python has not.
    dates = [field.name for field in table.schema if _has_dates(field.dataType)]
    rows = table.withColumns({name: F.col(quoted(name)).cast("string") for name in dates}).take(SAMPLE_ROWS)
    position = {name: index for index, name in enumerate(table.columns)}
    types = {field.name: field.dataType for field in table.schema if field.name not in OWN_COLUMNS}
    columns = {name: _column([row[position[name]] for row in rows], kind) for name, kind in types.items()}
    files = [row[position[FILE]] for row in rows]
    number = {name: index for index, name in enumerate(dict.fromkeys(files))}
    return Sample(columns, types, np.array([number[name] for name in files], np.int64))


def _column(values: list[Any], kind: T.DataType) -> pa.Array:
    """Text, numbers and truth values as they are; values of other types as text."""
    if isinstance(kind, (T.StringType, T.NumericType, T.BooleanType)):
        return pa.array(values, to_arrow_type(kind))
    return pa.array([None if value is None else str(_plain(value)) for value in values], pa.string())


def _has_dates(kind: T.DataType) -> bool:
    """Whether values of a type are dates or times, or contain some."""
    if isinstance(kind, T.ArrayType):
        return _has_dates(kind.elementType)
    if isinstance(kind, T.MapType):
        return _has_dates(kind.keyType) or _has_dates(kind.valueType)
    if isinstance(kind, T.StructType):
        return any(_has_dates(field.dataType) for field in kind)
    return isinstance(kind, (T.DateType, T.TimestampType, T.TimestampNTZType))


def _plain(value: Any) -> Any:  # noqa: ANN401 (a value of any type of Spark)
    """A value of Spark without its own types, as Arrow takes it."""
    if isinstance(value, Row):
        return {name: _plain(part) for name, part in value.asDict().items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
