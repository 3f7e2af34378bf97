"""Parquet files as Spark can read them: types that it does not know are converted."""

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.new_files import write_parquet
from genremill.jobs.catalog.converted_files import ROWS, ConvertedFiles, copy_bytes
from genremill.jobs.catalog.csv_dialect import clean_name
from genremill.jobs.catalog.file_format import Packing
from genremill.jobs.catalog.own_columns import MALFORMED, check_names
from genremill.jobs.catalog.source_files import SourceFile

_MAX_PRECISION = 38
"""The largest number of digits of Spark's decimals."""


@dataclass(frozen=True)
class ParquetFile:
    """One Parquet file, and where Spark reads it."""

    source: SourceFile
    place: str
    schema: pa.Schema
    """The columns that are read."""
    names: tuple[str, ...]
    """The names of all columns in the file, with those to ignore."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """The type of each column that cannot be read and is left out, by name."""


def parquet_files(
    sources: Sequence[SourceFile], ignore: Sequence[str], converted: ConvertedFiles
) -> list[ParquetFile]:
    """The files as Spark can read them, without the columns to ignore."""
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda source: _parquet_file(source, ignore, converted), sources))


def _parquet_file(source: SourceFile, ignore: Sequence[str], converted: ConvertedFiles) -> ParquetFile:
    place = source.copy or source.uri
    if source.packing is not Packing.NONE or (source.is_hidden and not source.copy):
        place = converted.add(source, "parquet")
        copy_bytes(source, place)
    store, path = storage.arrow(place)
    try:
        with store.open_input_file(path) as opened, pq.ParquetFile(opened) as content:
            return _readable(source, place, content, ignore, converted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise UsageError(f"{source} cannot be read as a Parquet table: {err}") from err
    except OSError as err:
        if storage.is_s3(place):
            raise storage.arrow_error("read", source.uri, err) from err
        raise UsageError(f"{source} cannot be read as a Parquet table: {err}") from err


def _readable(
    source: SourceFile, place: str, content: pq.ParquetFile, ignore: Sequence[str], converted: ConvertedFiles
) -> ParquetFile:
    """The file itself, or a copy of it without the types that Spark cannot read."""
    schema = content.schema_arrow
    names = tuple(schema.names)
    kept = pa.schema([column for column in schema if not {column.name, clean_name(column.name)} & {*ignore}])
    own = {MALFORMED} if source.copy else set()  # a converted workbook
    check_names([clean_name(name) for name in kept.names if name not in own], str(source))
    strange = _strange_columns(content.schema, names)
    if not strange and len({name.lower() for name in names}) == len(names):
        return ParquetFile(source, place, kept, names)
    types = {column.name: _spark_type(column, strange.get(column.name) == "UUID") for column in kept}
    unreadable = {
        clean_name(column.name): f"{column.type} ({strange.get(column.name, 'converted')})"
        for column in kept
        if types[column.name] is None
    }
    copied = pa.schema([(name, kind) for name, kind in types.items() if kind is not None])
    place = converted.add(source, "parquet")
    write_parquet(place, copied, _converted(content, copied))
    # The units of durations are in the schema of the copy.
    return ParquetFile(source, place, copied, names, unreadable)


def _strange_columns(schema: pq.ParquetSchema, names: Sequence[str]) -> dict[str, str]:
    """The columns with a type that Spark's reader refuses, and the type."""
    found = {}
    for leaf in map(schema.column, range(len(schema))):
        kind = leaf.logical_type.type
        too_long = kind == "DECIMAL" and leaf.precision > _MAX_PRECISION
        if too_long or kind in ("FLOAT16", "TIME", "UUID") or leaf.converted_type == "INTERVAL":
            name = next(name for name in names if leaf.path == name or leaf.path.startswith(f"{name}."))
            found[name] = kind
    return found


def _spark_type(column: pa.Field, is_uuid: bool) -> pa.DataType | None:
    """The type of a column in a copy that Spark can read; None if its values cannot be converted."""
    if is_uuid and pa.types.is_fixed_size_binary(_plain(column.type)):
        return pa.string()
    target = _plain(column.type)
    try:
        pa.nulls(0, column.type).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return target


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type with 32-bit floats, text for times and long decimals, and without extension types."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_time(kind) or (pa.types.is_decimal(kind) and kind.precision > _MAX_PRECISION):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(inner.name, _plain(inner.type)) for inner in kind])
    return kind


def _converted(content: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in content.iter_batches(ROWS, columns=schema.names):
        columns = [_cast(batch.column(column.name), column.type) for column in schema]
        yield pa.record_batch(columns, schema)


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    stored = values.storage if isinstance(values, pa.ExtensionArray) else values
    if kind == pa.string() and pa.types.is_fixed_size_binary(stored.type):
        texts = (None if value is None else str(uuid.UUID(bytes=value)) for value in stored.to_pylist())
        return pa.array(texts, kind)
    return stored.cast(kind)
