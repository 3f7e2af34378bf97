"""Vectors of tracks, such as embeddings that another team has computed.

They are in columns of the track table, or in a file of their own with the ids of the tracks. The vectors of a
column have one length, the most frequent one. A vector of another length, or with a number that is not
finite, is rejected; its track stays, without this vector.
"""

import dataclasses
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, SparkSession, functions as F, types as T

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.converted_files import ConvertedFiles
from genremill.jobs.catalog.file_format import Kind
from genremill.jobs.catalog.parquet_files import parquet_files
from genremill.jobs.catalog.row_checks import OF_FILE, as_rejects
from genremill.jobs.catalog.source_files import SourceFile, source_files
from genremill.jobs.catalog.table_reader import reading
from genremill.jobs.catalog.united_schemas import as_type, read_parquet
from genremill.jobs.contracts import REJECTS, any_of, quoted
from genremill.jobs.snapshot_details import VectorColumn
from genremill.udfs.cells.rows import Reason, make_clean_ids

MOST_VALUES = 4_096
"""Largest number of values of a vector: the model of outliers keeps a number for each two of them."""


@dataclass(frozen=True)
class Vectors:
    """The columns of vectors of a track table, and how many of their vectors were rejected."""

    columns: tuple[VectorColumn, ...] = ()
    rejected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Number of rejected vectors by column and by reason."""

    def __str__(self) -> str:
        return "; ".join(
            f"{column.name}: {column.width:,} values, missing in {column.missing:.1%} of the rows"
            for column in self.columns
        )


def is_vector(kind: T.DataType) -> bool:
    """Whether the values of a type are lists of numbers."""
    return isinstance(kind, T.ArrayType) and isinstance(kind.elementType, T.NumericType)


def set_name(column: str) -> str:
    """The name of a column in `tracks.vectors`."""
    return re.sub("[.`+:~]", "_", column)


def set_names(columns: Sequence[str], flag: str) -> dict[str, str]:
    """The columns by their name in `tracks.vectors`, in which odd characters are `_`.

    >>> set_names(["clap", "mert.v1"], "--columns.vectors")
    {'clap': 'clap', 'mert_v1': 'mert.v1'}
    """
    named: dict[str, str] = {}
    for column in columns:
        name = set_name(column)
        if same := next((other for other in named if other.lower() == name.lower()), None):
            raise UsageError(
                f"{flag}: {named[same]!r} and {column!r} would both be called {name!r} in `tracks`; rename "
                "one of them"
            )
        named[name] = column
    return named


def with_files(
    spark: SparkSession, work: command.Run, rows: DataFrame, uris: Sequence[str], id_column: str
) -> tuple[DataFrame, list[str]]:
    """The rows with the vectors of Parquet files added to the entries of `vectors`, and the new names.

    A file has a column with the ids of the tracks, and one or more columns of lists of numbers. Raises
    `UsageError` if no id is one of the rows, or if two columns have the same name.
    """
    ids = rows.select("track_id").distinct()
    of_table = rows.select(F.explode("vectors.column")).distinct().collect()
    place_of = {name.lower(): "the track table" for (name,) in of_table}
    added: list[str] = []
    for uri in uris:
        flag = f"--vectors {uri}"
        names, by_track = _of_file(spark, work, uri, id_column)
        if both := [name for name in names if name.lower() in place_of]:
            where = place_of[both[0].lower()]
            raise UsageError(f"{flag}: {where} has vectors of the name {both[0]!r} too; rename one of them")
        place_of |= {name.lower(): flag for name in names}
        added += names
        total = by_track.count()
        known = by_track.join(ids, "track_id", "left_semi").count()
        if not known:
            examples = ", ".join(repr(row[0]) for row in by_track.select("track_id").limit(3).collect())
            raise UsageError(
                f"{flag}: none of its {total:,} ids is in the track table; it has: {examples or 'none'}"
            )
        if known < total:
            LOGGER.warning("%s", f"{flag}: {total - known:,} of its {total:,} ids are not in the track table")
        rows = rows.join(by_track, "track_id", "left")
        none = F.array().cast(rows.schema["vectors"].dataType)
        rows = rows.withColumn("vectors", F.concat("vectors", F.coalesce(OF_FILE, none))).drop(OF_FILE)
    return snapshots.checkpoint(work, rows, "rows-with-vectors"), added


def _of_file(spark: SparkSession, work: command.Run, uri: str, id_column: str) -> tuple[list[str], DataFrame]:
    """The names of the vectors in a file, and (track_id, `OF_FILE`) with each id once."""
    flag, location = f"--vectors {uri}", storage.absolute_uri(uri)
    files = parquet_sources(uri)
    converted = ConvertedFiles(work.warehouse.tmp(work.run_id))
    with reading(f"--vectors {location}"):
        table = read_parquet(spark, parquet_files(files, (), converted), ())
        types = {column.name: column.dataType for column in table.schema}
        ids = next((name for name in (id_column, "track_id") if name in types), None)
        columns = [name for name, kind in types.items() if is_vector(kind)]
        if ids is None or not columns:
            shown = ", ".join(f"{name} ({kind.simpleString()})" for name, kind in types.items())
            raise UsageError(
                f"{flag}: expected a column {id_column!r} with ids, and columns with lists of numbers; "
                f"found: {shown}"
            )
        named = set_names(columns, flag)
        by_track = _entries(table, (F.col(quoted(ids)), types[ids]), named)
        return list(named), snapshots.checkpoint(work, by_track, "vectors", *sorted(named)[:1])


def _entries(table: DataFrame, ids: tuple[Column, T.DataType], named: Mapping[str, str]) -> DataFrame:
    """(track_id, `OF_FILE`) of a table; if an id has several rows, its largest finite vectors are used."""
    numbers = {f"v{number}": _floats(quoted(column)) for number, column in enumerate(named.values())}
    vectors = [vector.alias(name) for name, vector in numbers.items()]
    rows = table.select(as_type(ids, T.StringType()).alias("track_id"), *vectors)
    rows = rows.mapInArrow(make_clean_ids(), rows.schema).where(F.col("track_id").isNotNull())
    finite = {name: F.when(_is_finite(F.col(name)), F.col(name)) for name in numbers}
    best = [F.coalesce(F.max(vector), F.max(name)).alias(name) for name, vector in finite.items()]
    once = rows.groupBy("track_id").agg(*best)
    entries = [
        F.when(F.size(name) > 0, F.struct(F.lit(key).alias("column"), F.col(name).alias("vector")))
        for key, name in zip(named, numbers, strict=True)
    ]
    return once.select("track_id", F.array_compact(F.array(*entries)).alias(OF_FILE))


def parquet_sources(uri: str) -> list[SourceFile]:
    """The files of --vectors; raises `UsageError` if they are not Parquet."""
    files = source_files(storage.absolute_uri(uri), "--vectors")
    if files[0].kind is not Kind.PARQUET:
        raise UsageError(f"--vectors {uri}: expected a Parquet table; found {files[0].kind}")
    return files


def _floats(name: str) -> Column:
    """The numbers of a list; NaN for null."""
    numbers = F.transform(name, lambda number: F.coalesce(number.cast("float"), F.lit(math.nan)))
    return numbers.cast("array<float>")


def measured(rows: DataFrame, total: int, expected: Sequence[str]) -> Vectors:
    """The length of the vectors of each column: the most frequent one, and of several the shortest.

    `rows` are the good rows, `total` in number. Their `vectors` are structs of a column and its vector.
    Raises `UsageError` if one of the `expected` columns has no valid vector, or if vectors are too long.
    """
    entries = rows.select(F.explode("vectors").alias("entry")).select("entry.column", "entry.vector")
    width, is_finite = F.size("vector").alias("width"), _is_finite(F.col("vector")).alias("is_finite")
    counted = entries.select("column", width, is_finite).groupBy("column", "width", "is_finite").count()
    widths: dict[str, Counter[int]] = defaultdict(Counter)
    not_finite: Counter[str] = Counter()
    for name, size, finite, count in counted.collect():
        if finite:
            widths[name][size] += count
        else:
            not_finite[name] += count
    columns, rejected = [], {}
    for name in sorted({*widths, *not_finite}):
        best = min(widths[name], key=lambda size: (-widths[name][size], size), default=0)
        good = widths[name][best]
        by_reason = {
            Reason.WRONG_LENGTH.value: widths[name].total() - good,
            Reason.NOT_FINITE.value: not_finite[name],
        }
        if any(by_reason.values()):
            rejected[name] = {reason: count for reason, count in by_reason.items() if count}
        if best > MOST_VALUES:
            raise UsageError(f"vectors {name!r}: {best:,} values each; expected at most {MOST_VALUES:,}")
        if good:
            columns.append(VectorColumn(name, best, 1 - good / max(total, 1)))
    if without := sorted({*expected} - {column.name for column in columns}):
        counts = ", ".join(f"{count:,} {reason}" for reason, count in rejected.get(without[0], {}).items())
        raise UsageError(f"vectors {without[0]!r}: no track has a valid one; rejected: {counts or 'none'}")
    return Vectors(tuple(columns), rejected)


def _is_finite(vector: Column) -> Column:
    """Whether all numbers of a list are finite."""
    return F.forall(vector, lambda number: ~F.isnan(number) & (F.abs(number) < math.inf))


def valid(rows: DataFrame, columns: Sequence[VectorColumn]) -> DataFrame:
    """The rows with only the vectors that are not rejected."""
    return rows.withColumn("vectors", F.filter("vectors", lambda entry: _is_valid(entry, columns)))


def _is_valid(entry: Column, columns: Sequence[VectorColumn]) -> Column:
    fits = [(entry["column"] == each.name) & (F.size(entry["vector"]) == each.width) for each in columns]
    return any_of(fits) & _is_finite(entry["vector"])


def write_rejects(work: command.Run, rows: DataFrame, found: Vectors) -> None:
    """Writes the rejected vectors of the good rows, each track once, to `rejects`."""
    if not found.rejected:
        return
    entries = rows.select("track_id", F.explode("vectors").alias("entry"))
    bad = entries.where(~_is_valid(F.col("entry"), found.columns))
    widths = {each.name: each.width for each in found.columns}
    pairs = [F.lit(part) for pair in widths.items() for part in pair]
    expected = F.element_at(F.create_map(*pairs), F.col("entry.column")) if pairs else F.lit(None)
    size = F.size("entry.vector")
    is_finite = _is_finite(F.col("entry.vector"))
    lengths = F.format_string("%d numbers; expected %d", size, expected)
    detail = F.when(is_finite, lengths).otherwise("a number is NaN, infinite or missing")
    problem = F.struct(
        F.when(is_finite, Reason.WRONG_LENGTH.value).otherwise(Reason.NOT_FINITE.value).alias("reason"),
        F.concat_ws(": ", "entry.column", detail).alias("detail"),
    )
    once = bad.select("track_id", problem.alias("problem")).distinct()
    snapshots.append(work, REJECTS, as_rejects(once, F.col("track_id"), work.run_id))


def numbers_of(found: Vectors) -> dict[str, object]:
    """The vectors in the JSON document of `ingest`."""
    return {
        "vectors": {column.name: dataclasses.asdict(column) for column in found.columns},
        "rejected_vectors": {name: dict(by_reason) for name, by_reason in found.rejected.items()},
    }
