"""The delimiter of a CSV text, the place of its header, and the columns that it names."""

import csv
import io
import itertools
import re
import statistics
from collections import Counter
from collections.abc import Sequence

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.csv_dialect import UNDECODABLE, Dialect, clean_name

DELIMITERS = (",", ";", "\t", "|")
WHOLE_SHARE = 0.5
"""A delimiter is possible if at least this share of the records has as many fields as the header."""
MOST = 0.9
"""The share of the rows that decides if they have another number of fields than the header."""
_SEP_LINE = re.compile(r'"?sep=(.)"?[ ,;\t|]*(\r\n|\n|\r)', re.IGNORECASE)


def separator_line(text: str) -> tuple[str, str] | None:
    r"""The delimiter in the first line that Excel understands, and the line; None if there is no such line.

    >>> separator_line("sep=;\r\ntrack_id;tempo\r\n")
    (';', 'sep=;\r\n')
    """
    line = _SEP_LINE.match(text)
    return (line[1], line[0]) if line else None


def header_row(filled: Sequence[int], typical: int) -> int:
    """The number of the first row that fills more than half as many cells as a typical row.

    The rows above it are a title, a comment or merged cells.

    >>> header_row([1, 4, 15, 14], 15)
    2
    """
    return next((number for number, cells in enumerate(filled) if 2 * cells > typical), 0)


def _header_record(records: Sequence[list[str]]) -> int:
    filled = [sum(bool(field.strip()) for field in fields) for fields in records]
    return header_row(filled, statistics.median_high(filled)) if filled else 0


def above_header(text: str, dialect: Dialect) -> int:
    r"""The number of characters above the header: Excel's line `sep=;`, a title, comments.

    >>> above_header("My songs\n\nid,title\n1,a\n2,b\n", Dialect())
    10
    """
    line = separator_line(text)
    start = len(line[1]) if line else 0
    number = _header_record(dialect.sampled(text[start:]))
    if number == 0:
        return start
    stream = io.StringIO(text[start:], newline="")
    *_, (_, used) = itertools.islice(dialect.records(stream), number + 1)
    return start + stream.tell() - len("".join(used))


def detected_delimiter(text: str) -> str:
    """The delimiter for which most records have as many fields as the header; `,` if that is not clear."""
    fits = {delimiter: _fit(Dialect(delimiter).sampled(text)) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: fits[delimiter])


def _fit(records: list[list[str]]) -> tuple[bool, int, float]:
    """How well a delimiter fits: one with fewer records above the header is better."""
    number = _header_record(records)
    score = _score(records[number:])
    return (True, -number, score) if score else (False, 0, 0.0)


def _score(records: list[list[str]]) -> float:
    if not records:
        return 0.0
    header, *rows = records
    columns = _columns(header, rows)
    share = sum(len(fields) == columns for fields in rows) / len(rows) if rows else 1.0
    return share**2 * (columns - 1) if share >= WHOLE_SHARE else 0.0


def _columns(header: Sequence[str], rows: Sequence[list[str]]) -> int:
    """The number of columns: only the rows, or only the header, may end with a delimiter."""
    columns = len(header)
    longer = sum(len(fields) == columns + 1 and not fields[-1].strip() for fields in rows)
    shorter = sum(len(fields) == columns - 1 for fields in rows)
    if rows and longer >= MOST * len(rows):
        return columns + 1
    if rows and not clean_name(header[-1]) and shorter >= MOST * len(rows):
        return columns - 1
    return columns


def header(text: str, dialect: Dialect, source: str) -> list[str]:
    """The names in the first record, some of them blank; raises `UsageError` if it cannot be a header."""
    try:
        names, _ = next(dialect.records(io.StringIO(text, newline="")), ([], 0))
    except csv.Error as err:
        raise UsageError(f"{source}: the first line is not a header: {err}") from err
    if UNDECODABLE.search("".join(names)):
        raise UsageError(f"{source}: the header has bytes that are not UTF-8; pass --encoding")
    return [clean_name(name) for name in names]


def column_names(header: Sequence[str], rows: Sequence[list[str]], source: str) -> list[str]:
    """The names of all columns; raises `UsageError` if most rows have another number of fields."""
    columns = _columns(header, rows)
    fields, count = next(iter(Counter(map(len, rows)).most_common(1)), (columns, 0))
    if fields != columns and count > 1 and count >= MOST * len(rows):
        raise UsageError(
            f"{source}: the rows have {fields} fields, the header has {len(header)}; expected a name in "
            "the header for each field"
        )
    return [name or f"_c{number}" for number, name in enumerate([*header, ""][:columns])]


def check_delimiter(text: str, name: str, source: str) -> None:
    """Raises if the name of the only column, and the rows, have another delimiter several times."""
    signs = (sign for sign in dict.fromkeys(name) if not (sign.isalnum() or sign in "_\"'\r\n"))
    for sign in signs:
        if name.count(sign) > 1 and _score(Dialect(sign).sampled(text)) > 0:
            raise UsageError(
                f"{source}: found one column, {name!r}, with {sign!r} in its name and rows; "
                f"if this is the delimiter, pass --delimiter {sign!r}"
            )
