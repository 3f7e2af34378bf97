"""Numbers as people write them: `1,234`, `0,5`, `57%`, `120 BPM`, `3:45`, `A#`, `Minor`."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genremill.udfs.cells.durations import clock_seconds
from genremill.udfs.cells.text import narrow

FLOAT_MAX = 3.4028234663852886e38
_FAST = {".": r"^-?\d+(\.\d+)?([eE]-?\d+)?$", ",": r"^-?\d+(,\d+)?([eE]-?\d+)?$"}
"""Text that Arrow's own parser reads, once a decimal comma is a point."""
_NUMBER = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?", re.ASCII)
"""The quantifiers are possessive: otherwise a cell with a million digits and a letter would take hours."""
_UNIT = re.compile(r"(.*[\d.,])\s*([A-Za-z%°µ/]{1,12}\.?)", re.ASCII | re.DOTALL)
_GROUPS = {
    ".": re.compile(r"[+-]?\d{1,3}(?:([,' \u2019])\d{3})(?:\1\d{3})*(?:\.\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?\d{1,3}(?:([.' \u2019])\d{3})(?:\1\d{3})*(?:,\d+)?", re.ASCII),
}
"""Numbers with a separator of thousands, by decimal sign."""
_MULTIPLES = {"k": 1e3, "m": 1e6, "mio": 1e6, "b": 1e9, "bn": 1e9}
_TRUTHS = {"true": 1.0, "false": 0.0}
_MODES = {"major": 1.0, "maj": 1.0, "dur": 1.0, "minor": 0.0, "min": 0.0, "moll": 0.0}
_KEY = re.compile(
    r"([a-g])[\s-]*(#|♯|sharp|b|♭|flat)?(?:\s*/\s*[a-g][\s-]*(?:#|♯|sharp|b|♭|flat))?"
    r"(?:[\s-]*(?:major|minor|maj|min|m|dur|moll))?",
    re.IGNORECASE,
)
_PITCHES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_LONGEST = 64
"""A longer cell is not a number with a unit or a separator of thousands."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NumberFormat:
    """How the cells of a column hold numbers."""

    decimal: str = "."
    unit: str = ""
    """A unit that cells may have, in lower case, such as `bpm`."""
    words: str = ""
    """`key` for names of pitches, which become 0 (C) to 11, `mode` for major (1) and minor (0)."""
    clock: bool = False
    """Whether `3:45` and `3 min 45 s` are numbers of seconds."""
    scale: float = 1.0
    """Factor on every number, such as 1000 for seconds in a column of milliseconds."""
    missing: tuple[float, ...] = ()
    """Numbers that stand for a missing value."""
    least: float | None = None
    """Values up to this one stand for a missing value."""


def pitch_class(cell: str) -> float | None:
    """The number of a pitch, C is 0; None if the cell names no pitch.

    >>> pitch_class("A#"), pitch_class("Bb"), pitch_class("Cb"), pitch_class("F♯ minor"), pitch_class("H")
    (10.0, 10.0, 11.0, 6.0, None)
    >>> pitch_class("A-flat"), pitch_class("C#/Db"), pitch_class("E Moll")
    (8.0, 1.0, 4.0)
    """
    match = _KEY.fullmatch(cell)
    if match is None:
        return None
    accidental = (match[2] or "").lower()
    step = 0 if not accidental else 1 if accidental in ("#", "♯", "sharp") else -1
    return float((_PITCHES[match[1].lower()] + step) % 12)


def mode_number(cell: str) -> float | None:
    """1 for major and 0 for minor; None for another word."""
    return _MODES.get(cell.lower())


def truth(cell: str) -> float | None:
    """1 for `TRUE` and 0 for `FALSE`, in any case; None for another word."""
    return _TRUTHS.get(cell.lower())


def split_unit(cell: str) -> tuple[str, str]:
    """A cell as number and unit; the unit is in lower case, and "" if there is none.

    >>> split_unit("120.5 BPM"), split_unit("57%"), split_unit("1e-05")
    (('120.5', 'bpm'), ('57', '%'), ('1e-05', ''))
    """
    match = _UNIT.fullmatch(cell[: _LONGEST + 1])
    return (match[1], match[2].lower()) if match else (cell, "")


def plain_number(cell: str, decimal: str = ".") -> float | None:
    """The number of a cell without a unit; None if it is not a number.

    >>> plain_number("1,234.5"), plain_number("1.234,5", ","), plain_number("0,5"), plain_number("+.5")
    (1234.5, 1234.5, None, 0.5)
    """
    cell = narrow(cell)
    if len(cell) <= _LONGEST and (match := _GROUPS[decimal].fullmatch(cell)):
        cell = cell.replace(match[1], "")
    cell = cell.replace(",", ".") if decimal == "," and "." not in cell else cell
    return float(cell) if _NUMBER.fullmatch(cell) else None


def _numeric_value(cell: str, form: NumberFormat) -> float | None:
    """The number of a cell with or without a unit."""
    value = plain_number(cell, form.decimal)
    if value is not None:
        return value
    if form.clock and (seconds := clock_seconds(cell)) is not None:
        return seconds
    text, unit = split_unit(cell)
    value = plain_number(text, form.decimal) if unit else None
    if value is not None and unit != form.unit:
        return value * _MULTIPLES[unit] if unit in _MULTIPLES and form.unit in _MULTIPLES else None
    return value * _MULTIPLES.get(unit, 1.0) if value is not None else truth(cell)


def parser(form: NumberFormat) -> Callable[[str], float | None]:
    """The function that reads a cell in a format; it returns None if the cell is not a number.

    >>> read = parser(NumberFormat(unit="m"))
    >>> read("1.5M"), read("2K"), read("12"), read("12 dB")
    (1500000.0, 2000.0, 12.0, None)
    """
    if form.words:
        named = pitch_class if form.words == "key" else mode_number

        def word(cell: str) -> float | None:
            value = named(cell)
            return _numeric_value(cell, form) if value is None else value

        return word
    return lambda cell: _numeric_value(cell, form)


def numbers(column: pa.Array, form: NumberFormat) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The numbers of a column, NaN for what is not a finite number, and which values are missing.

    The column has numbers, or clean text in which missing values are null.
    """
    if pa.types.is_string(column.type):
        values = _parsed(column, form)
    else:
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    is_missing = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False).copy()
    is_missing |= np.isin(values, form.missing) if form.missing else False
    if form.least is not None:
        is_missing |= values <= form.least
    with np.errstate(invalid="ignore", over="ignore"):
        values = values * form.scale if form.scale != 1.0 else values
        finite = np.abs(values) <= FLOAT_MAX
    return np.where(finite & ~is_missing, values, np.nan), is_missing


def _parsed(column: pa.StringArray, form: NumberFormat) -> Floats:
    """The numbers in a column of clean text; NaN for nulls and for what is not a number."""
    parsed: Floats | list[float] | None
    is_fast = pc.fill_null(pc.match_substring_regex(column, _FAST[form.decimal]), False)
    fast = column.filter(is_fast)
    if form.decimal == ",":
        fast = pc.replace_substring(fast, ",", ".")
    values = np.full(len(column), np.nan)
    at_fast = is_fast.to_numpy(zero_copy_only=False)
    values[at_fast] = fast.cast(pa.float64()).to_numpy(zero_copy_only=False)
    slow = pc.and_(pc.invert(is_fast), pc.is_valid(column))
    if pc.any(slow).as_py():
        cells = column.filter(slow)
        parsed = _truths(cells) if not form.words else None
        if parsed is None:
            read = parser(form)
            found = (read(narrow(cell)) for cell in cells.to_pylist())
            parsed = [math.nan if value is None else value for value in found]
        values[slow.to_numpy(zero_copy_only=False)] = parsed
    return values


def _truths(cells: pa.StringArray) -> Floats | None:
    """1 and 0 for TRUE and FALSE; None if there are other cells."""
    index = pc.index_in(pc.utf8_lower(cells), pa.array(_TRUTHS, pa.string()))
    return np.array([*_TRUTHS.values()])[index.to_numpy()] if not index.null_count else None
