"""How the numbers in a column of text are written: decimal sign, unit, words or minutes and seconds."""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from genremill.jobs.catalog.column_contents import ALMOST_ALL
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

_THOUSANDS = {
    sign: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(sign)}\d{{3}})+", re.ASCII) for sign in (",", ".")
}
_SEVERAL_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})+", re.ASCII)
_GROUPS_AND_DECIMALS = re.compile(r"[+-]?\d{1,3}(?:([.,' \u2019])\d{3})(?:\1\d{3})*(?!\1)([.,])\d+", re.ASCII)
_OTHER_SIGN = {",": ".", ".": ","}
_DECIMAL = re.compile(r"[+-]?\d*+([.,])\d++(?:[eE][+-]?\d++)?", re.ASCII)
_NUMBER = re.compile(r"[\d.,' \u2019]+", re.ASCII)
_SMALL = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_SHORT_CLOCK = re.compile(r"0?\d:[0-5]\d", re.ASCII)
"""Minutes and seconds below 10 minutes, so almost no column of times of the day has only these."""
_SHORTEST, _LONGEST, _FEW = 1000.0, 36_000_000.0, 0.03
"""The shortest and the longest plausible track in milliseconds, and the share of others that is expected."""
_MOST_MINUTES = 20
"""A smaller median is a number of minutes, unless the column is said to hold seconds."""


def decimal_sign(cells: Iterable[str], default: str = ".") -> str:
    """The decimal sign in the cells of one or several columns, `,` or `.`; `default` if too few show it.

    >>> decimal_sign(["0,255", "151,474"]), decimal_sign(["1,412", "201"]), decimal_sign(["0.5", "1,4"])
    (',', '.', '.')
    >>> decimal_sign(["1.234,5"]), decimal_sign(["1 000.5"]), decimal_sign(["1.100.000"])
    (',', '.', ',')
    """
    votes = Counter(sign for cell in cells if (sign := _shown_sign(cell)) is not None)
    sign = next((sign for sign, _ in votes.most_common() if sign), default)
    return sign if votes[sign] > (1 - ALMOST_ALL) * votes.total() else default


def _shown_sign(cell: str) -> str | None:
    """The decimal sign that a cell shows; empty for `1,412`, which may be a whole number."""
    number = split_unit(narrow(cell))[0]
    if match := _GROUPS_AND_DECIMALS.fullmatch(number):
        return match[2]
    if match := _SEVERAL_GROUPS.fullmatch(number):
        return _OTHER_SIGN[match[1]]
    match = _DECIMAL.fullmatch(number)
    return match and ("" if _THOUSANDS[match[1]].fullmatch(number) else match[1])


def number_format(
    cells: Sequence[str], name: str, decimal: str, *, is_duration: bool = False
) -> NumberFormat:
    """The format of the numbers in a column of text; `decimal` is the decimal sign of the table."""
    counts = Counter(map(narrow, cells))
    if not counts:
        return NumberFormat(decimal)
    if _share(counts, truth) >= ALMOST_ALL:
        return NumberFormat()
    if {"key", "pitch", "tonic"} & {*words(name)} and _share(counts, pitch_class) >= ALMOST_ALL:
        return NumberFormat(decimal, words="key")
    if _share(counts, mode_number) >= ALMOST_ALL:
        return NumberFormat(decimal, words="mode")
    is_time = is_duration or bool({"length", "duration"} & {*words(name)})
    if (is_time and _share(counts, _written_duration) >= 0.5) or _share(counts, _short_clock) >= ALMOST_ALL:
        return NumberFormat(decimal, clock=True)
    units: Counter[str] = Counter()
    for cell, count in counts.items():
        units[split_unit(cell)[1]] += count
    del units[""]
    unit = units.most_common(1)[0][0] if units else ""
    return NumberFormat(_decimal_of(counts, decimal), unit)


def _decimal_of(counts: Counter[str], decimal: str) -> str:
    """The decimal sign of one column: of its own cells if enough show it, otherwise that of the table.

    Where the smaller numbers are whole, `1,412` and `1.412` are 1412, unless 1.412 is like the smaller ones.
    """
    if own := decimal_sign(counts.elements(), ""):
        return own
    numbers = [split_unit(cell)[0] for cell in counts]
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


def _share(counts: Counter[str], read: Callable[[str], float | None]) -> float:
    """The share of the cells that can be read; `counts` says how often each occurs."""
    return sum(count for cell, count in counts.items() if read(cell) is not None) / counts.total()


def numeric_share(cells: Sequence[str], form: NumberFormat) -> float:
    """The share of the cells that are numbers in this format."""
    read = parser(form)
    return _share(Counter(cells), read) if cells else 0.0


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
