"""Implausible numbers, which are far beyond the other values of their column and become missing values."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame, functions as F

from genremill.jobs.catalog.splits import unit_hash
from genremill.models.limits import plausible
from genremill.udfs.arrow_rows import matrix

ROWS, VALUES = 20_000, 8_000_000
"""Limits of the sample from which ranges are computed: rows, and values in them."""


@dataclass(frozen=True)
class Range:
    """The plausible values of a column."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"

    def excludes(self, number: Column) -> Column:
        """Whether a number is beyond the range; false for NaN and null."""
        is_beyond = ~F.isnan(number) & ~number.between(self.low, self.high)
        return F.coalesce(is_beyond, F.lit(False))


EVERYTHING = Range(-np.inf, np.inf)


def plausible_ranges(rows: DataFrame, total: int, seed: str, is_exempt: Sequence[bool]) -> tuple[Range, ...]:
    """The range of each column in `numbers`, from a sample of `total` rows; an exempt column has any value.

    The seed is a digest of the table, so that the author of a few rows cannot choose which are drawn.
    """
    share = min(ROWS, VALUES // max(len(is_exempt), 1)) / max(total, 1)
    drawn = rows.where(unit_hash(seed, 0, "track_id") < share) if share < 1 else rows
    numbers = drawn.select("numbers").toArrow().column("numbers")
    if not is_exempt or not len(numbers):
        return (EVERYTHING,) * len(is_exempt)
    found = plausible(matrix(numbers, len(is_exempt))).T.tolist()
    return tuple(
        EVERYTHING if exempt else Range(low, high)
        for exempt, (low, high) in zip(is_exempt, found, strict=True)
    )


def limited(rows: DataFrame, ranges: Sequence[Range]) -> DataFrame:
    """The rows, in which implausible numbers are null."""
    if all(each == EVERYTHING for each in ranges):
        return rows
    low, high = (
        F.array(*(F.lit(value) for value in values))
        for values in zip(*((each.low, each.high) for each in ranges), strict=True)
    )
    numbers = F.transform(
        "numbers",
        lambda number, at: F.when(F.isnan(number) | number.between(F.get(low, at), F.get(high, at)), number),
    )
    return rows.withColumn("numbers", numbers)
