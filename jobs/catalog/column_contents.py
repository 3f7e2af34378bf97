"""Whether the values of a column are row numbers, ids or dates."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genremill.udfs.cells.numeric import Floats

FEWEST_IN_ORDER, FEWEST_IDS = 8, 20
"""Fewest rows from which numbers are row numbers because they increase, or ids because all are different."""
ALMOST_ALL = 0.9
"""Share of the values that are numbers, dates, names of pitches, written lists and so on if the column has
these; the other values are bad cells."""
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DATE = re.compile(
    r"\d{4}([-/.]\d{1,2}([-/.]\d{1,2})?([ T,].*)?)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T,].*)?|"
    rf"\d{{1,2}}[- ]{_MONTH}[- ,]*(\d{{2,4}})?|{_MONTH}[- ]\d{{1,2}},? ?(\d{{4}})?|\d{{1,2}}:\d{{2}}:\d{{2}}",
    re.IGNORECASE,
)
_EPOCH = 86_400 * 365 * 20, 86_400 * 365 * 80
"""Seconds from 1970 to 1990 and to 2050."""


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
    known = ~np.isnan(values)
    if len(values) < 3 or known.mean() < ALMOST_ALL:
        return False
    values, file = values[known], file[known]
    if not are_whole(values):
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
    """Whether almost all numbers are whole, and these are all different."""
    values = values[~np.isnan(values)]
    whole = values[values == np.floor(values)]
    enough = len(values) >= FEWEST_IDS and len(whole) >= ALMOST_ALL * len(values)
    return enough and len(np.unique(whole)) == len(whole)


def are_dates(values: Floats) -> bool:
    """Whether almost all numbers are dates such as 20261127, or times since 1970 in seconds or smaller units.

    >>> are_dates(np.array([20261127.0, 20260131.0])), are_dates(np.array([2026.0, 1990.0]))
    (True, False)
    """
    values = values[~np.isnan(values)]
    whole = values == np.floor(values)
    year, month, day = values // 10_000, values // 100 % 100, values % 100
    days = (year >= 1900) & (year < 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    epochs = [(values >= _EPOCH[0] * unit) & (values <= _EPOCH[1] * unit) for unit in (1, 1e3, 1e6, 1e9)]
    return any(len(values) > 0 and np.mean(whole & dates) >= ALMOST_ALL for dates in (days, *epochs))


def are_date_texts(cells: Sequence[str]) -> bool:
    """Whether almost all cells are written dates.

    >>> are_date_texts(["2022-11-25", "1993-02-22 08:23:00", "4-Apr"]), are_date_texts(["4-4"])
    (True, False)
    >>> are_date_texts(["Artist 12"])
    False
    """
    return bool(cells) and sum(_DATE.fullmatch(cell) is not None for cell in cells) >= ALMOST_ALL * len(cells)
