"""What the values of a column say about its meaning: row numbers, ids, dates, numbers and lists."""

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genremill.jobs.catalog.column_names import unit_of_time, words
from genremill.udfs.cells.lists import ListFormat, is_structured
from genremill.udfs.cells.numeric import (
    NumberFormat,
    clock_seconds,
    mode_number,
    parser,
    pitch_class,
    split_unit,
)

FEWEST_IN_ORDER, FEWEST_IDS = 8, 20
"""Fewest rows from which numbers are row numbers because they increase, or ids because all are different."""
WORDS_SHARE = 0.9
"""Share of the cells that are names of pitches, words for modes or written lists if the column has these."""
_THOUSANDS = {
    sign: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+", re.ASCII) for sign in (",", ".")
}
_DECIMAL = re.compile(r"[+-]?\d*+([.,])\d++(?:[eE][+-]?\d++)?\s*[A-Za-z%°]*", re.ASCII)
_DATE = re.compile(
    r"\d{4}([-/.]\d{1,2}([-/.]\d{1,2})?([ T,].*)?)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T,].*)?|"
    r"\d{1,2}[- ][A-Za-z]{3,9}[- ,]*(\d{2,4})?|[A-Za-z]{3,9}[- ]\d{1,2},? ?(\d{4})?|\d{1,2}:\d{2}:\d{2}"
)
_LABEL_SEPARATORS = (";", "|", ",", " / ")
_EPOCH = 86_400 * 365 * 20, 86_400 * 365 * 80
"""Seconds from 1970 to 1990 and to 2050."""

Floats = npt.NDArray[np.float64]


def _are_whole(values: Floats) -> bool:
    return bool(np.all(np.isfinite(values)) and np.all(values == np.floor(values)))


def is_row_number(values: Floats, file: npt.NDArray[np.int64]) -> bool:
    """Whether numbers in the order of the rows are the numbers of the rows, also after a filter.

    >>> is_row_number(np.array([0.0, 1, 2, 3]), np.zeros(4))
    True
    >>> is_row_number(np.array([2.0, 1, 3]), np.zeros(3))
    False
    """
    if len(values) < 3 or not _are_whole(values):
        return False
    steps = np.diff(values)[np.diff(file) == 0]
    if len(steps) < 2:
        return False
    in_order = bool(np.all(steps > 0) or np.all(steps < 0))
    return in_order and (len(values) >= FEWEST_IN_ORDER or bool(np.all(np.abs(steps) == 1)))


def are_ids(values: Floats) -> bool:
    """Whether all numbers are whole and different."""
    values = values[~np.isnan(values)]
    return len(values) >= FEWEST_IDS and _are_whole(values) and len(np.unique(values)) == len(values)


def are_dates(values: Floats) -> bool:
    """Whether all numbers are dates such as 20261127, or times since 1970 in seconds or smaller units.

    >>> are_dates(np.array([20261127.0, 20260131.0])), are_dates(np.array([2026.0, 1990.0]))
    (True, False)
    """
    values = values[~np.isnan(values)]
    if not len(values) or not _are_whole(values) or values.min() < 0:
        return False
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    if np.all((year >= 1900) & (year < 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)):
        return True
    return any(
        bool(np.all((values >= _EPOCH[0] * unit) & (values <= _EPOCH[1] * unit)))
        for unit in (1, 1e3, 1e6, 1e9)
    )


def are_date_texts(cells: Sequence[str]) -> bool:
    """Whether almost all cells are written dates.

    >>> are_date_texts(["2022-11-25", "1993-02-22 08:23:00", "4-Apr"]), are_date_texts(["4-4"])
    (True, False)
    """
    return bool(cells) and sum(_DATE.fullmatch(cell) is not None for cell in cells) >= WORDS_SHARE * len(
        cells
    )


def decimal_sign(columns: Sequence[Sequence[str]], default: str = ".") -> str:
    """The decimal sign in the cells of one or several columns, `,` or `.`; `default` if none shows it.

    >>> decimal_sign([["0,255", "151,474"]]), decimal_sign([["1,412", "201"]]), decimal_sign([["0.5", "1,4"]])
    (',', '.', '.')
    """
    votes = Counter[str]()
    for cell in itertools.chain.from_iterable(columns):
        match = _DECIMAL.fullmatch(cell)
        if match and not _THOUSANDS[match[1]].fullmatch(split_unit(cell)[0]):
            votes[match[1]] += 1
    return votes.most_common(1)[0][0] if votes else default


def number_format(
    cells: Sequence[str], name: str, decimal: str, *, is_duration: bool = False
) -> NumberFormat:
    """The format of the numbers in a column of text; `decimal` is the decimal sign of the table."""
    distinct = list(dict.fromkeys(cells))
    if not distinct:
        return NumberFormat(decimal)
    if {"key", "pitch", "tonic"} & {*words(name)} and _share(distinct, pitch_class) >= WORDS_SHARE:
        return NumberFormat(decimal, words="key")
    if _share(distinct, mode_number) >= WORDS_SHARE:
        return NumberFormat(decimal, words="mode")
    is_time = is_duration or bool({"length", "duration"} & {*words(name)})
    if is_time and _share(distinct, clock_seconds) >= 0.5:
        return NumberFormat(decimal, clock=True)
    units = Counter(unit for cell in distinct if (unit := split_unit(cell)[1]))
    unit = units.most_common(1)[0][0] if units else ""
    return NumberFormat(_decimal_of(distinct, decimal), unit)


def _decimal_of(cells: Sequence[str], decimal: str) -> str:
    """The decimal sign of one column: of its own cells if they show it, otherwise that of the table.

    In a table with decimal commas, `1,412` has a separator of thousands if the smaller numbers are whole.
    """
    own = decimal_sign([cells], "")
    if own or decimal == ".":
        return own or decimal
    numeric = [split_unit(cell)[0] for cell in cells]
    grouped = sum(_THOUSANDS[","].fullmatch(cell) is not None for cell in numeric)
    small = sum(cell.lstrip("+-").isdigit() and len(cell.lstrip("+-")) <= 3 for cell in numeric)
    return "." if small > grouped else decimal


def _share(cells: Sequence[str], read: Callable[[str], float | None]) -> float:
    return sum(read(cell) is not None for cell in cells) / len(cells)


def numeric_share(cells: Sequence[str], form: NumberFormat) -> float:
    """The share of the cells that are numbers in this format."""
    read = parser(form)
    return _share(cells, read) if cells else 0.0


def milliseconds(values: Floats, name: str, unit: str, *, clock: bool) -> tuple[float, str]:
    """The factor from the numbers of a duration to milliseconds, and the unit as a word.

    The unit in the cells or in the name decides if the median is then a plausible length of a track.

    >>> milliseconds(np.array([269.2, 236.8]), "duration_ms", "", clock=False)
    (1000.0, 'seconds')
    >>> milliseconds(np.array([3.5, 4.1]), "length_min", "", clock=False)
    (60000.0, 'minutes')
    """
    factors = {"ms": (1.0, "milliseconds"), "s": (1000.0, "seconds"), "min": (60_000.0, "minutes")}
    if clock:
        return factors["s"]
    positive = values[values > 0]
    median = statistics.median(positive.tolist()) if len(positive) else None
    hint = unit_of_time(unit) or unit_of_time(name)
    if median is None:
        return factors[hint or "ms"]
    if hint == "min" and median < 60:
        return factors["min"]
    most_seconds = {"ms": 1000, "s": 20_000}.get(hint or "", 5000)
    return factors["s" if median < most_seconds else "ms"]


def name_list_format(cells: Sequence[str]) -> ListFormat:
    """Lists if the cells of a column of names are written lists; otherwise one name, or names between `;`."""
    if cells and sum(map(is_structured, cells)) >= WORDS_SHARE * len(cells):
        return ListFormat(structured=True)
    return ListFormat(separator=";")


@dataclass(frozen=True)
class _Split:
    """What a separator does to the cells of a column."""

    separator: str
    cells: int
    """Number of cells with the separator."""
    recurring: float
    """Share of the parts that also occur in another cell."""


def label_list_format(cells: Sequence[str]) -> ListFormat:
    """How the labels of a column are written: one per cell, lists, or text between separators.

    A separator divides labels if half of its parts also occur in other cells, or if half of the cells have
    it: `Old-Time / Historic` is one label of a table in which neither word is a label.
    """
    structured = name_list_format(cells)
    if structured.structured:
        return structured
    counts = Counter(cells)
    splits = [_split(counts, separator) for separator in _LABEL_SEPARATORS]
    total = counts.total()
    usable = [
        split for split in splits if split.cells and (split.recurring >= 0.5 or split.cells >= 0.5 * total)
    ]
    if not usable:
        return ListFormat()
    return ListFormat(separator=max(usable, key=lambda split: split.cells).separator)


def _split(counts: Counter[str], separator: str) -> _Split:
    divided = {cell: _parts_of(cell, separator) for cell in counts if separator in cell}
    uses = Counter(part for cell in counts for part in set(divided.get(cell, [cell.strip().lower()])))
    parts = [part for cell_parts in divided.values() for part in cell_parts]
    recurring = sum(uses[part] > 1 for part in parts) / len(parts) if parts else 0.0
    return _Split(separator, sum(counts[cell] for cell in divided), recurring)


def _parts_of(cell: str, separator: str) -> list[str]:
    return [part for part in (part.strip().lower() for part in cell.split(separator)) if part]
