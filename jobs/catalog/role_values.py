"""Whether the values of a column fit the role that its name suggests."""

import numpy as np
from pyspark.sql import types as T

from genremill.jobs.catalog import column_contents as contents
from genremill.jobs.catalog.number_formats import number_format
from genremill.jobs.catalog.sample import Sample
from genremill.udfs.cells.numeric import NumberFormat, numbers

_ROWS = 1000
"""Number of rows that are looked at."""
_FEWEST_CODES = 3
"""Fewest different whole numbers that may be codes of genres: 0 and 1 are a flag."""


def fits(sample: Sample, role: str, name: str) -> bool:
    """Whether the first values may have a role: durations are numbers, names are text, labels no flags."""
    kind, column = sample.types[name], sample.columns[name][:_ROWS]
    form = NumberFormat()
    if sample.is_text(name):
        column = sample.text(name, frozenset())[:_ROWS]
        cells = column.drop_null().to_pylist()
        form = number_format(cells, name, ".", is_duration=role == "duration")
    elif not isinstance(kind, (T.NumericType, T.BooleanType)):
        return role != "duration"
    values, missing = numbers(column, form)
    found = values[~np.isnan(values)]
    is_numeric = 2 * len(found) > int((~missing).sum())
    if role == "duration":
        return is_numeric and not contents.are_dates(found)
    is_code = len(np.unique(found)) >= _FEWEST_CODES and contents.are_whole(found)
    return not is_numeric or (role == "genre" and is_code)
