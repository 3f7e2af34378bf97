"""What the values of a column say about its meaning: row numbers, ids, dates and numbers."""

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from genremill.jobs.catalog.column_names import unit_of_time, words
from genremill.udfs.cells.durations import clock_seconds
from genremill.udfs.cells.numeric import (
    Floats,
    NumberFormat,
    mode_number,
    parser,
    pitch_class,
    split_unit,
    truth,
)
from genremill.udfs.cells.text import narrow

FEWEST_IN_ORDER, FEWEST_IDS = 8, 20
"""Fewest rows from which numbers are row numbers because they increase, or ids because all are different."""
ALMOST_ALL = 0.9
"""Share of the cells that are dates, names of pitches, written lists and so on if the column has these."""
_THOUSANDS = {
    sign: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+", re.ASCII) for sign in (",", ".")
}
_SEVERAL_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})+", re.ASCII)
_GROUPS_AND_DECIMALS = re.compile(r"[+-]?\d{1,3}(?:([.,' \u2019])\d{3})(?:\1\d{3})*(?!\1)([.,])\d+", re.ASCII)
_OTHER_SIGN = {",": ".", ".": ","}
_DECIMAL = re.compile(r"[+-]?\d*+([.,])\d++(?:[eE][+-]?\d++)?", re.ASCII)
_NUMBER = re.compile(r"[\d.,' \u2019]+", re.ASCII)
_SMALL = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    r"\d{4}([-/.]\d{1,2}([-/.]\d{1,2})?([ T,].*)?)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T,].*)?|"
    rf"\d{{1,2}}[- ]{_MONTH}[- ,]*(\d{{2,4}})?|{_MONTH}[- ]\d{{1,2}},? ?(\d{{4}})?|\d{{1,2}}:\d{{2}}:\d{{2}}",
    re.IGNORECASE,
)
_SHORT_CLOCK = re.compile(r"0?\d:[0-5]\d", re.ASCII)
"""Minutes and seconds below 10 minutes, so almost no column of times of the day has only these."""
_EPOCH = 86_400 * 365 * 20, 86_400 * 365 * 80
"""Seconds from 1970 to 1990 and to 2050."""

_SHORTEST, _LONGEST, _FEW = 1000.0, 36_000_000.0, 0.03
"""The shortest and the longest plausible track in milliseconds, and the share of others that is expected."""
_MOST_MINUTES = 20
"""A smaller median is a number of minutes, unless the column is said to hold seconds."""


def are_whole(values: Floats) -> bool:
    """Whether all numbers are finite and whole."""
    return bool(np.all(np.isfinite(values)) and np.all(values == np.floor(values)))


def is_row_number(values: Floats, file: npt.NDArray[np.int64]) -> bool:
    """Whether numbers in the order of the rows are the numbers of the rows, also after a filter.

    >>> is_row_number(np.array([0.0, 1, 2, 3]), np.zeros(4))
    True
    >>> is_row_number(np.array([2.0, 1, 3]), np.zeros(3))
    False
    >>> is_row_number(np.array([0.0, 0, 1, 2, 3, 3, 3, 4]), np.zeros(8))
    True
    """
    if len(values) < 3 or not are_whole(values):
        return False
    steps = np.diff(values)[np.diff(file) == 0]
    if len(steps) < 2:
        return False
    if not (np.all(steps > 0) or np.all(steps < 0)):
        return _are_repeated_row_numbers(values, steps)
    return len(values) >= FEWEST_IN_ORDER or bool(np.all(np.abs(steps) == 1))


def _are_repeated_row_numbers(values: Floats, steps: Floats) -> bool:
    """Whether numbers count from 0 or 1 almost without gaps, and a number stands in few rows.

    `explode` of pandas and joins repeat the numbers of rows. A sorted measurement has gaps, begins elsewhere
    or has few different values.
    """
    in_order = bool(np.all(steps >= 0) or np.all(steps <= 0))
    return (
        in_order
        and len(values) >= FEWEST_IN_ORDER
        and values.min() in (0, 1)
        and bool(np.mean(steps != 0) >= 0.5)
        and bool(np.mean(np.abs(steps) <= 1) >= ALMOST_ALL)
    )


def are_ids(values: Floats) -> bool:
    """Whether all numbers are whole and different."""
    values = values[~np.isnan(values)]
    return len(values) >= FEWEST_IDS and are_whole(values) and len(np.unique(values)) == len(values)


def are_dates(values: Floats) -> bool:
    """Whether all numbers are dates such as 20261127, or times since 1970 in seconds or smaller units.

    >>> are_dates(np.array([20261127.0, 20260131.0])), are_dates(np.array([2026.0, 1990.0]))
    (True, False)
    """
    values = values[~np.isnan(values)]
    if not len(values) or not are_whole(values) or values.min() < 0:
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
    >>> are_date_texts(["Artist 12"])
    False
    """
    return bool(cells) and sum(_DATE.fullmatch(cell) is not None for cell in cells) >= ALMOST_ALL * len(cells)


def decimal_sign(columns: Sequence[Sequence[str]], default: str = ".") -> str:
    """The decimal sign in the cells of one or several columns, `,` or `.`; `default` if none shows it.

    >>> decimal_sign([["0,255", "151,474"]]), decimal_sign([["1,412", "201"]]), decimal_sign([["0.5", "1,4"]])
    (',', '.', '.')
    >>> decimal_sign([["1.234,5"]]), decimal_sign([["1 000.5"]]), decimal_sign([["1.100.000"]])
    (',', '.', ',')
    """
    votes = Counter(filter(None, map(_shown_sign, itertools.chain.from_iterable(columns))))
    return votes.most_common(1)[0][0] if votes else default


def _shown_sign(cell: str) -> str | None:
    """The decimal sign that a cell shows; None for `1,412`, which may be a whole number."""
    number = split_unit(narrow(cell))[0]
    if match := _GROUPS_AND_DECIMALS.fullmatch(number):
        return match[2]
    if match := _SEVERAL_GROUPS.fullmatch(number):
        return _OTHER_SIGN[match[1]]
    match = _DECIMAL.fullmatch(number)
    return match[1] if match and not _THOUSANDS[match[1]].fullmatch(number) else None


def number_format(
    cells: Sequence[str], name: str, decimal: str, *, is_duration: bool = False
) -> NumberFormat:
    """The format of the numbers in a column of text; `decimal` is the decimal sign of the table."""
    distinct = list(dict.fromkeys(map(narrow, cells)))
    if not distinct:
        return NumberFormat(decimal)
    if _share(distinct, truth) == 1.0:
        return NumberFormat()
    if {"key", "pitch", "tonic"} & {*words(name)} and _share(distinct, pitch_class) >= ALMOST_ALL:
        return NumberFormat(decimal, words="key")
    if _share(distinct, mode_number) >= ALMOST_ALL:
        return NumberFormat(decimal, words="mode")
    is_time = is_duration or bool({"length", "duration"} & {*words(name)})
    if (is_time and _share(distinct, _written_duration) >= 0.5) or _share(
        distinct, _short_clock
    ) >= ALMOST_ALL:
        return NumberFormat(decimal, clock=True)
    units = Counter(unit for cell in distinct if (unit := split_unit(cell)[1]))
    unit = units.most_common(1)[0][0] if units else ""
    return NumberFormat(_decimal_of(distinct, decimal), unit)


def _decimal_of(cells: Sequence[str], decimal: str) -> str:
    """The decimal sign of one column: of its own cells if they show it, otherwise that of the table.

    Where the smaller numbers are whole, `1,412` and `1.412` are 1412, unless 1.412 is like the smaller ones.
    """
    if own := decimal_sign([cells], ""):
        return own
    numbers = [split_unit(cell)[0] for cell in cells]
    small = [float(number) for number in numbers if _SMALL.fullmatch(number)]
    grouped = {
        sign: [float(number.replace(sign, ".", 1)) for number in numbers if groups.fullmatch(number)]
        for sign, groups in _THOUSANDS.items()
    }
    for sign, other in _OTHER_SIGN.items():
        if 0 < len(grouped[sign]) < len(small) and not grouped[other]:
            return decimal if sign == decimal and _are_alike(grouped[sign], small) else other
    return decimal


def _are_alike(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether the medians of numbers differ at most by a factor of three."""
    one, other = statistics.median(first), statistics.median(second)
    return one * other > 0 and 1 / 3 <= one / other <= 3


def _written_duration(cell: str) -> float | None:
    """The seconds of a duration that is not one number with a unit, such as `1,412 s`."""
    number, unit = split_unit(cell)
    return None if unit_of_time(unit) and _NUMBER.fullmatch(number) else clock_seconds(cell)


def _short_clock(cell: str) -> float | None:
    return clock_seconds(cell) if _SHORT_CLOCK.fullmatch(cell) else None


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
    >>> milliseconds(np.array([3.5, 4.1]), "length", "", clock=False)
    (60000.0, 'minutes')
    """
    positive = values[values > 0]
    factor, word = (1000.0, "seconds") if clock else _unit_of_durations(positive, name, unit)
    durations = positive * factor
    odd = np.mean((durations < _SHORTEST) | (durations > _LONGEST)) if len(durations) else 0.0
    if odd > _FEW:
        word += f", although {odd:.0%} are then shorter than 1 s or longer than 10 h: check the units"
    return factor, word


def _unit_of_durations(positive: Floats, name: str, unit: str) -> tuple[float, str]:
    factors = {"ms": (1.0, "milliseconds"), "s": (1000.0, "seconds"), "min": (60_000.0, "minutes")}
    hint = unit_of_time(unit) or unit_of_time(name)
    if not len(positive):
        return factors[hint or "ms"]
    median = statistics.median(positive.tolist())
    if (hint == "min" and median < 60) or (hint != "s" and median < _MOST_MINUTES):
        return factors["min"]
    most_seconds = {"ms": 1000, "s": 20_000}.get(hint or "", 5000)
    return factors["s" if median < most_seconds else "ms"]
