"""CSV, Parquet and Excel tables: what `ingest` and `init` do with a file before Spark reads all rows."""

import dataclasses
import itertools
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_type

from genremill.jobs.catalog import config_file, proposal
from genremill.jobs.catalog.converted_files import ConvertedFiles, decoding
from genremill.jobs.catalog.csv_dialect import reader_of
from genremill.jobs.catalog.csv_files import csv_table
from genremill.jobs.catalog.excel_files import copy_excel
from genremill.jobs.catalog.file_format import Kind
from genremill.jobs.catalog.own_columns import MALFORMED, check_names
from genremill.jobs.catalog.parquet_files import parquet_files
from genremill.jobs.catalog.sample import Sample
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.source_files import SourceFile, source_files
from genremill.jobs.catalog.understanding import Understanding, understand
from genremill.udfs.cells.rows import track_columns
from tests.fuzz.harness import Target, scratch
from tests.fuzz.table_inputs import csv_inputs, excel_inputs, parquet_inputs
from tests.pure.table_cases import sample_of


def read_table(data: bytes) -> None:
    """Understands a table, proposes its columns, and reads its first rows."""
    path = scratch("table") / "table"
    path.write_bytes(data)
    folder = scratch("converted")
    files = source_files(f"file://{path}")
    converted = ConvertedFiles(f"file://{folder}", 1000)
    try:
        sample = (
            _csv_sample(files, converted) if files[0].kind is Kind.CSV else _parquet_sample(files, converted)
        )
    finally:
        _empty(folder)
    if sample is not None:
        _understand(sample)


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _csv_sample(files: list[SourceFile], converted: ConvertedFiles) -> Sample | None:
    """The first rows; Spark's parser, which reads them in the job, is tested in `ingest_runs`."""
    no_spark = cast(SparkSession, None)  # only the scan of large files needs it
    table = csv_table(no_spark, converted, files, Options(), scan=False)
    check_names(table.names, str(files[0]))
    place, width = table.texts[0].place.removeprefix("file://"), len(table.names)
    with Path(place).open("rb") as content, decoding(files[0], "utf-8"):
        records = (fields for fields, _ in table.dialect.records(reader_of(content, "utf-8")))
        rows = [(fields + [""] * width)[:width] for fields in itertools.islice(records, 1, 1000)]
    clean = [[_as_java(cell) for cell in row] for row in rows]
    columns = [pa.array([row[at] or None for row in clean], pa.string()) for at in range(width)]
    return sample_of(dict(zip(table.names, columns, strict=True))) if rows else None


def _as_java(text: str) -> str:
    """The text with a mark for each byte that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _parquet_sample(files: list[SourceFile], converted: ConvertedFiles) -> Sample | None:
    """The first rows of the columns that Arrow and Spark read alike; None if the pages are damaged."""
    if files[0].kind is Kind.EXCEL:
        place = converted.add(files[0], "parquet")
        files = [SourceFile(files[0].uri, files[0].size, files[0].name, Kind.EXCEL, copy=place)]
        copy_excel(files[0], MALFORMED, 1000)
    (found,) = parquet_files(files, (), converted)
    kept = [column for column in found.schema if _is_plain(column.type)]
    try:
        table = pq.read_table(found.place.removeprefix("file://"), columns=[column.name for column in kept])
        table.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return None
    columns = [table[column.name].combine_chunks() for column in kept if column.name in table.column_names]
    columns = [
        column.cast(pa.string()) if pa.types.is_large_string(column.type) else column for column in columns
    ]
    if len(columns) != len(kept) or not table.num_rows or not kept:
        return None
    return sample_of({column.name: cells for column, cells in zip(kept, columns, strict=True)})


def _is_plain(kind: pa.DataType) -> bool:
    try:
        from_arrow_type(kind)
    except PySparkException:
        return False
    kinds = ("is_integer", "is_floating", "is_boolean", "is_string", "is_large_string")
    return any(getattr(pa.types, name)(kind) for name in kinds)


def _understand(sample: Sample) -> None:
    """What `init` writes can be read again, and every row is a track or has a problem."""
    found = proposal.guesses(sample)
    vectors = proposal.vector_columns(sample)
    understood = understand(sample, proposal.columns_of(found, vectors), "--tracks t", frozenset())
    text = config_file.file_text("t.csv", (), found, vectors, understood.uses, "a table")
    columns = yaml.safe_load(text)["ingest"]["columns"]
    assert tuple(columns.pop("vectors", ())) == vectors
    assert {guess.role: guess.value for guess in found} == {
        name.replace("-", "_"): value for name, value in columns.items()
    }
    rows = _rows(sample, understood)
    assert {len(column) for column in rows.values()} == {sample.rows}
    for track_id, problem in zip(rows["track_id"].to_pylist(), rows["problem"].to_pylist(), strict=True):
        assert track_id or problem
    free = [name for name in sample.columns if name not in understood.roles.by_column]
    flags = dataclasses.replace(proposal.columns_of(found), text=tuple(free[::2]), tags=tuple(free[1::2]))
    rows = _rows(sample, understand(sample, flags, "--tracks t", frozenset()))
    assert {len(column) for column in rows.values()} == {sample.rows}
    assert all(entry["tags"] for entries in rows["tags"].to_pylist() for entry in entries)


def _rows(sample: Sample, understood: Understanding) -> dict[str, pa.Array]:
    malformed = {MALFORMED: pa.nulls(sample.rows, pa.string())}
    return track_columns(pa.RecordBatch.from_pydict(sample.columns | malformed), understood.row_format)


def targets() -> list[Target]:
    return [
        Target("csv", csv_inputs(), read_table, examples=1000),
        Target("parquet", parquet_inputs(), read_table, examples=600),
        Target("excel", excel_inputs(), read_table, examples=300),
    ]
