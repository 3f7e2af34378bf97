"""Excel workbooks as Parquet files of text, cell by cell as Excel shows them."""

import datetime
import itertools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree.ElementTree import ParseError

import openpyxl
import pyarrow as pa
from openpyxl.cell.cell import Cell
from openpyxl.utils.escape import unescape
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.workbook.workbook import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from genremill.infra.errors import UsageError
from genremill.infra.new_files import write_parquet
from genremill.jobs.catalog.converted_files import ROWS
from genremill.jobs.catalog.csv_dialect import clean_name
from genremill.jobs.catalog.csv_header import header_row
from genremill.jobs.catalog.source_files import SourceFile, local_copy

Row: TypeAlias = list[str | None]
FIRST_ROWS = 50
"""Rows of a sheet, without blank ones, in which its header is looked for."""
_DAMAGES = (
    *(InvalidFileException, zipfile.BadZipFile, ParseError),
    *(KeyError, IndexError, ValueError, AttributeError, TypeError),
)
"""What openpyxl raises for workbooks that are damaged, or that have parts it does not know."""


@dataclass(frozen=True)
class Sheet:
    """The sheet of a workbook that is read."""

    name: str
    lines_above: int
    """Rows above the header that have cells, such as a title."""
    others: tuple[str, ...]
    """The other sheets that have cells."""


def copy_excel(file: SourceFile, malformed: str, lines: int | None) -> Sheet:
    """Writes a sheet to `file.copy`, a Parquet file of text, and says which.

    It is the sheet with the fullest row among its first rows, and the first of equals. The first row with
    more than half as many cells is the header. A row with cells beyond the header has its text in the column
    `malformed`. Reads at most `lines` rows, or all.
    """
    try:
        with local_copy(file.uri) as path:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            try:
                sheet, rows = _table(book, file)
                _write(itertools.islice(rows, lines), file.copy, malformed)
            finally:
                book.close()
    except _DAMAGES as err:
        raise UsageError(f"{file}: the Excel file is damaged: {err}; save it again, or as CSV") from err
    return sheet


def _table(book: Workbook, file: SourceFile) -> tuple[Sheet, Iterator[Row]]:
    """The sheet that is read, and its rows from the header on."""
    filled = {sheet: _filled(sheet) for sheet in book.worksheets}
    filled = {sheet: counts for sheet, counts in filled.items() if counts}
    if not filled:
        raise UsageError(f"{file}: the Excel file has no cells; expected a table in one of its sheets")
    best = max(filled, key=lambda sheet: max(filled[sheet]))
    above = header_row(filled[best], max(filled[best]))
    others = tuple(sheet.title for sheet in filled if sheet is not best)
    return Sheet(best.title, above, others), itertools.islice(_rows(best), above, None)


def _filled(sheet: Worksheet) -> list[int]:
    """The number of cells in each of the first rows."""
    return [sum(map(bool, row)) for row in itertools.islice(_rows(sheet), FIRST_ROWS)]


def _rows(sheet: Worksheet) -> Iterator[Row]:
    """The rows that are not blank."""
    sheet.reset_dimensions()  # some programs write wrong ones, and the rows would be cut
    return (row for cells in sheet.iter_rows() if any(row := list(map(_text, cells))))


def _text(cell: Cell) -> str | None:
    if isinstance(cell.value, str):
        return unescape(cell.value) or None
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
