"""Running medians of 31 values down or along a matrix, identical to `scipy.ndimage.median_filter`.

Sixteen neighboring outputs share one selection network of minima and maxima, which works on 16 columns at
once in vector registers: 33 minima and maxima per output. The network is generated as LLVM code: loops would
be slow, and a long list of Python statements would be slow to compile.

The work is shared as in Adams, "Fast median filters using separable sorting networks", SIGGRAPH 2021.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import (
    TILE,
    Code,
    Vectors,
    intrinsic,
    tile_padded,
    transpose_back,
    transpose_rows,
)
from genremill.udfs.dsp.spectra import Real

WINDOW = 31
ROWS = WINDOW + TILE - 1
"""Neighboring inputs of a network with `TILE` medians. `TILE` is (WINDOW + 1) / 2: halving ends at one."""


@dataclass(frozen=True)
class SortingNetwork:
    """Selects medians by minima and maxima alone, of any values that `smaller` and `larger` accept."""

    smaller: Callable[[Any, Any], Any]
    larger: Callable[[Any, Any], Any]

    def medians(self, rows: list[Any]) -> list[Any]:
        """The medians of the `TILE` windows in `ROWS` values."""
        return self._medians(rows, self.sort(rows[TILE - 1 : WINDOW]))

    def _medians(self, rows: list[Any], candidates: list[Any]) -> list[Any]:
        """The medians of the windows in `rows`, as many as there are candidates.

        The candidates, in rising order, are the values in all these windows that can still be a median.
        """
        outputs = len(candidates)
        if outputs == 1:
            return candidates
        half = outputs // 2
        before, after = self.sort(rows[half - 1 : outputs - 1]), self.sort(rows[WINDOW : WINDOW + half])
        first = self._medians(rows[:-half], self._middle_third(candidates, before))
        return first + self._medians(rows[half:], self._middle_third(candidates, after))

    def sort(self, values: list[Any]) -> list[Any]:
        """The values in rising order, a power of two of them, by Batcher's odd-even merge sort."""
        if len(values) == 1:
            return values
        half = len(values) // 2
        return self._merge(self.sort(values[:half]) + self.sort(values[half:]))

    def _merge(self, halves: list[Any]) -> list[Any]:
        if len(halves) == 2:
            return self._ordered(halves[:1], halves[1:])
        even, odd = self._merge(halves[::2]), self._merge(halves[1::2])
        return [even[0], *self._ordered(odd[:-1], even[1:]), odd[-1]]

    def _ordered(self, first: list[Any], second: list[Any]) -> list[Any]:
        """Each pair of values, the smaller one first."""
        return [
            pick(a, b) for a, b in zip(first, second, strict=True) for pick in (self.smaller, self.larger)
        ]

    def _middle_third(self, many: list[Any], few: list[Any]) -> list[Any]:
        """The middle h of 2h and h rising values, rising."""
        half = len(few)
        # The 2h smallest, first rising and then falling. One comparison across the halves of such a sequence
        # gives the h largest, again rising and then falling.
        low = many[:half] + list(map(self.smaller, many[half:], reversed(few)))
        return self._sort_bitonic(list(map(self.larger, low[:half], low[half:])))

    def _sort_bitonic(self, values: list[Any]) -> list[Any]:
        """The values in rising order; they must rise and then fall."""
        if len(values) == 1:
            return values
        half = len(values) // 2
        low, high = values[:half], values[half:]
        smaller, larger = list(map(self.smaller, low, high)), list(map(self.larger, low, high))
        return self._sort_bitonic(smaller) + self._sort_bitonic(larger)


@intrinsic
def _medians_of_rows(
    _typing: Code, source: Code, starts: Code, target: Code, start: Code, stride: Code
) -> Code:
    """Medians of the `ROWS` rows of `TILE` floats that start at the flat indices `starts` of `source`.

    They go to rows of `target`, at the flat indices `start`, `start + stride`, …
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        def smaller(a: Code, b: Code) -> Code:
            return builder.select(builder.fcmp_ordered("<", a, b), a, b)

        def larger(a: Code, b: Code) -> Code:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        _, starts, _, start, stride = args
        source, target = (Vectors(context, builder, signature.args[n], args[n]) for n in (0, 2))
        indices = context.make_array(signature.args[1])(context, builder, starts).data
        rows = []
        for row in range(ROWS):
            index = builder.load(builder.gep(indices, [context.get_constant(types.intp, row)]))
            rows.append(source.load(index))
        for median in SortingNetwork(smaller, larger).medians(rows):
            target.store(median, start)
            start = builder.add(start, stride)
        return context.get_dummy_value()

    return types.void(source, starts, target, start, stride), write


@kernel("(int64, int64)")
def _mirrored(row: int, count: int) -> int:
    """Index of a row that may lie beyond an end, where the rows are repeated in reverse."""
    row %= 2 * count
    return row if row < count else 2 * count - 1 - row


@kernel("(float32[:, ::1], int64, float32[:, ::1])")
def _down_columns(S: Real, count: int, medians: Real) -> None:
    """Running medians of the first `count` rows of `S`; both matrices have at least one tile."""
    width = S.shape[1]
    starts = np.empty(ROWS, np.int64)
    for tile in range(0, len(medians), TILE):
        first = min(tile, len(medians) - TILE)
        for row in range(ROWS):
            starts[row] = _mirrored(first + row - WINDOW // 2, count) * width
        left = 0
        for tile_left in range(0, width, TILE):
            step = min(tile_left, width - TILE) - left
            left += step
            for row in range(ROWS):
                starts[row] += step
            _medians_of_rows(S, starts, medians, first * width + left, width)


@kernel("(float32[:, ::1], float32[:, ::1])")
def _along_rows(S: Real, medians: Real) -> None:
    """Running medians of each row of `S`; both matrices have at least `TILE` rows and columns."""
    height, width = S.shape
    columns, of_columns = np.empty((width, TILE), np.float32), np.empty((width, TILE), np.float32)
    for tile in range(0, height, TILE):
        first = min(tile, height - TILE)
        transpose_rows(S, first, columns)
        _down_columns(columns, width, of_columns)
        transpose_back(of_columns, medians, first)


def medians_down_columns(S: Real) -> Real:
    """Running medians of 31 rows in each column, ends mirrored; same shape as S, at least 16 columns."""
    medians = np.empty((max(len(S), TILE), S.shape[1]), np.float32)
    _down_columns(S, len(S), medians)
    return medians[: len(S)]


def medians_along_rows(S: Real) -> Real:
    """Running medians of 31 columns in each row, ends mirrored; same shape as S, at least 16 columns."""
    padded = tile_padded(S)
    medians = np.empty_like(padded)
    _along_rows(padded, medians)
    return medians[: len(S)]
