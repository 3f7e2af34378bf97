"""Reads Parquet files whose schemas differ as one DataFrame."""

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, functions as F, types as T

from genremill.infra.readers import file_reader, path_groups
from genremill.jobs.catalog.csv_dialect import clean_name
from genremill.jobs.catalog.parquet_files import ParquetFile
from genremill.jobs.contracts import quoted

_MILLISECONDS = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
"""Milliseconds in the units of a duration."""
_WHOLE = 1e15
"""Doubles below this limit that are whole numbers become text without a decimal point."""
Group = tuple[DataFrame, dict[str, tuple[Column, T.DataType]]]
"""Files of one schema: their rows, and the value and type of each column."""


def read_parquet(spark: SparkSession, files: Sequence[ParquetFile], place: Sequence[Column]) -> DataFrame:
    """The rows of all files, with the columns `place` for each row.

    Files of equal schemas are read together. A column that has several types gets one that holds all of its
    values: see `common_type`. Names that differ only in case are one column.
    """
    # Spark refuses timestamps in nanoseconds, but can read them as numbers.
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    alike: dict[str, list[ParquetFile]] = {}
    for file in files:
        alike.setdefault(file.schema.remove_metadata().to_string(), []).append(file)
    spelled: dict[str, str] = {}
    groups = [
        _group(spark, places, some[0].schema, spelled)
        for some in alike.values()
        for places in path_groups([file.place for file in some])
    ]
    types = {name: _type_of(name, groups) for name in spelled.values()}
    united = [
        frame.select(*(as_type(columns.get(name), kind).alias(name) for name, kind in types.items()), *place)
        for frame, columns in groups
    ]
    return reduce(DataFrame.unionByName, united)


def _group(spark: SparkSession, places: list[str], schema: pa.Schema, spelled: dict[str, str]) -> Group:
    frame = file_reader(spark, *places).parquet(*places)
    columns = {}
    for column in schema:
        name = clean_name(column.name)
        value = _value(column)
        kind = frame.select(value).schema[0].dataType
        columns[spelled.setdefault(name.lower(), name)] = value, kind
    return frame, columns


def _value(column: pa.Field) -> Column:
    """The values of a column: nanoseconds as timestamps, durations in milliseconds, nulls as text."""
    value = F.col(quoted(column.name))
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        moment = F.timestamp_micros(F.expr(f"{quoted(column.name)} div 1000"))
        return moment if column.type.tz else moment.cast("timestamp_ntz")
    if pa.types.is_duration(column.type):
        return value * _MILLISECONDS[column.type.unit]
    if pa.types.is_null(column.type):
        return F.lit(None)
    return value


def _type_of(name: str, groups: Sequence[Group]) -> T.DataType:
    return common_type([columns[name][1] for _, columns in groups if name in columns])


def common_type(kinds: Sequence[T.DataType]) -> T.DataType:
    """The type that holds the values of all these types: long, decimal or double for numbers, or text.

    >>> common_type([T.LongType(), T.DoubleType()]), common_type([T.StringType(), T.LongType()])
    (DoubleType(), StringType())
    """
    different = {kind.json(): kind for kind in kinds if not isinstance(kind, T.NullType)}
    if len(different) < 2:
        return next(iter(different.values()), T.StringType())
    types = list(different.values())
    if all(isinstance(kind, T.IntegralType) for kind in types):
        return T.LongType()
    if all(isinstance(kind, T.IntegralType) or _is_whole(kind) for kind in types):
        return T.DecimalType(38, 0)
    if all(isinstance(kind, T.NumericType | T.BooleanType) for kind in types):
        return T.DoubleType()
    if all(isinstance(kind, T.DateType | T.TimestampNTZType) for kind in types):
        return T.TimestampNTZType()
    if all(isinstance(kind, T.DatetimeType) for kind in types):
        return T.TimestampType()
    if all(isinstance(kind, T.ArrayType) and isinstance(kind.elementType, T.AtomicType) for kind in types):
        return T.ArrayType(common_type([kind.elementType for kind in types if isinstance(kind, T.ArrayType)]))
    return T.StringType()


def _is_whole(kind: T.DataType) -> bool:
    return isinstance(kind, T.DecimalType) and kind.scale == 0


def as_type(column: tuple[Column, T.DataType] | None, target: T.DataType) -> Column:
    """A column in the type of all files, null where a file does not have it; lists as JSON in text."""
    if column is None:
        return F.lit(None).cast(target)
    value, kind = column
    if kind == target or not isinstance(target, T.StringType) or isinstance(kind, T.StringType):
        return value if kind == target else value.cast(target)
    if isinstance(kind, T.FloatType | T.DoubleType):
        whole = (value == F.floor(value)) & (F.abs(value) < _WHOLE)
        return F.when(whole, value.cast("bigint").cast("string")).otherwise(value.cast("string"))
    return value.cast("string") if isinstance(kind, T.AtomicType | T.NullType) else F.to_json(value)
