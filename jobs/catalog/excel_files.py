"""Excel workbooks as Parquet files of text, cell by cell as Excel shows them."""

import datetime
import itertools
import zipfile
from collections.abc import Iterator
from typing import TypeAlias
from xml.etree.ElementTree import ParseError

import openpyxl
import pyarrow as pa
from openpyxl.cell.cell import Cell
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.workbook.workbook import Workbook

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.converted_files import ROWS, write_parquet
from genremill.jobs.catalog.csv_dialect import clean_name
from genremill.jobs.catalog.source_files import SourceFile, local_copy

Row: TypeAlias = list[str | None]


def copy_excel(file: SourceFile, malformed: str, lines: int | None) -> str:
    """Writes the first sheet with cells to `file.copy`, a Parquet file of text, and returns the sheet's name.

    Reads at most `lines` rows, or all.
    The first row that is not blank is the header. A row with cells beyond the header has its text in the
    column `malformed`.
    """
    try:
        with local_copy(file.uri) as path:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                name, rows = _first_table(book, file)
                _write(itertools.islice(rows, lines), file.copy, malformed)
            finally:
                book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, ParseError) as err:
        raise UsageError(f"{file}: the Excel file is damaged: {err}; save it again, or as CSV") from err
    return name


def _first_table(book: Workbook, file: SourceFile) -> tuple[str, Iterator[Row]]:
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # some programs write wrong ones, and the rows would be cut
        rows = (row for cells in sheet.iter_rows() if any(row := list(map(_text, cells))))
        if first := next(rows, None):
            return sheet.title, itertools.chain([first], rows)
    raise UsageError(f"{file}: the Excel file has no cells; expected a table in one of its sheets")


def _text(cell: Cell) -> str | None:
    return as_written(cell.value, cell.number_format if cell.is_date else "")


def _write(rows: Iterator[Row], to: str, malformed: str) -> None:
    header = next(rows)
    while header[-1] is None:
        header.pop()
    # Parquet needs names that differ; the reader refuses a table with equal names.
    names = [clean_name(name or "") or f"_c{number}" for number, name in enumerate(header)]
    schema = pa.schema([(name, pa.string()) for name in (*names, malformed)])

    def batches() -> Iterator[pa.RecordBatch]:
        while some := list(itertools.islice(rows, ROWS)):
            columns = zip(*(_fitted(row, len(names)) for row in some), strict=True)
            yield pa.record_batch([pa.array(column, pa.string()) for column in columns], schema)

    write_parquet(to, schema, batches())


def _fitted(row: Row, columns: int) -> Row:
    """The cells below the header, and the text of the row if it has more cells."""
    more = any(row[columns:])
    fields = row[:columns] + [None] * (columns - len(row))
    return [*fields, ",".join(cell or "" for cell in row) if more else None]


def as_written(value: object, number_format: str = "") -> str | None:
    """The value of an Excel cell as text: whole numbers without a point, dates as ISO 8601.

    >>> as_written(3.0), as_written(datetime.time(3, 45), "h:mm"), as_written(True)
    ('3', '3:45', 'True')
    """
    match value:
        case None | "":
            return None
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime():
            return value.isoformat(" ", "seconds")
        case datetime.time():
            hours, minutes, seconds = value.hour, value.minute, value.second
        case datetime.timedelta():
            minutes, seconds = divmod(round(value.total_seconds()), 60)
            hours, minutes = divmod(minutes, 60)
        case _:
            return str(value)
    shown = number_format.lower()
    if shown and "h" not in shown:
        return f"{hours * 60 + minutes}:{seconds:02d}"
    return f"{hours}:{minutes:02d}" + ("" if shown and "s" not in shown else f":{seconds:02d}")
