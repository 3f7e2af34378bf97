"""Running medians of 31 over the rows or the columns of a matrix, with the bits of `scipy.ndimage.median_filter`.

Sixteen neighbouring outputs share one selection network of minima and maxima, which works on sixteen columns at
once in vector registers: 17 comparisons an output, where sorting each window alone would take 190. The network
is written straight into LLVM's code; as Python loops it would be slow, as a list of Python statements slow to
compile.

Shares work between outputs as in Adams, "Fast median filters using separable sorting networks", SIGGRAPH 2021.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from genremill.udfs.compiled import kernel

Matrix = npt.NDArray[np.float32]

WINDOW = 31
TILE = 16
"""Neighbouring medians from one network, (WINDOW + 1) / 2 so that halving ends at one; and columns at once."""
ROWS = WINDOW + TILE - 1
"""Neighbouring inputs that these are the medians of."""


@dataclass(frozen=True)
class Network:
    """Selects medians by minima and maxima alone, of whatever `smaller` and `larger` take.

    >>> Network(min, max).sort([3, 1, 4, 2])
    [1, 2, 3, 4]
    """

    smaller: Callable[[Any, Any], Any]
    larger: Callable[[Any, Any], Any]

    def medians(self, rows: list[Any]) -> list[Any]:
        """Medians of the `TILE` windows in `ROWS` values."""
        return self._medians(rows, self.sort(rows[TILE - 1 : WINDOW]))

    def _medians(self, rows: list[Any], candidates: list[Any]) -> list[Any]:
        """Medians of the windows in `rows`, as many as there are candidates.

        Candidates, rising, are those of the values in all these windows that can still be a median.
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
        """Each pair of values, the smaller before the larger."""
        return [
            pick(a, b) for a, b in zip(first, second, strict=True) for pick in (self.smaller, self.larger)
        ]

    def _middle_third(self, many: list[Any], few: list[Any]) -> list[Any]:
        """Of 2h and h rising values the middle h, rising."""
        half = len(few)
        # The 2h smallest, first rising and then falling: of such a sequence one comparison across the halves
        # takes the h largest, again rising and falling.
        low = many[:half] + list(map(self.smaller, many[half:], reversed(few)))
        return self._sort_bitonic(list(map(self.larger, low[:half], low[half:])))

    def _sort_bitonic(self, values: list[Any]) -> list[Any]:
        """Rising order of values that rise and then fall."""
        if len(values) == 1:
            return values
        half = len(values) // 2
        low, high = values[:half], values[half:]
        smaller, larger = list(map(self.smaller, low, high)), list(map(self.larger, low, high))
        return self._sort_bitonic(smaller) + self._sort_bitonic(larger)


_LANES = ir.VectorType(ir.FloatType(), TILE)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """Pointer to `TILE` neighbouring floats of an array, from its flat index `at` on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), _LANES.as_pointer())


@intrinsic
def _medians_of_rows(
    typing_context: Any, source: Any, starts: Any, target: Any, start: Any, stride: Any
) -> Any:
    """Medians of `ROWS` rows of `TILE` floats, at flat indices `starts` of `source`.

    They go to rows of `target`, at the flat indices `start`, `start + stride`, …
    """

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def smaller(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered("<", a, b), a, b)

        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        source, starts, target, start, stride = args
        places = context.make_array(signature.args[1])(context, builder, starts).data
        rows = []
        for row in range(ROWS):
            at = builder.load(builder.gep(places, [ir.IntType(64)(row)]))
            rows.append(builder.load(_pointer(context, builder, signature.args[0], source, at), align=4))
        for median in Network(smaller, larger).medians(rows):
            builder.store(median, _pointer(context, builder, signature.args[2], target, start), align=4)
            start = builder.add(start, stride)
        return context.get_dummy_value()

    return types.void(source, starts, target, start, stride), write


@intrinsic
def _transpose_tile(
    typing_context: Any, source: Any, at: Any, width: Any, target: Any, to: Any, new_width: Any
) -> Any:
    """Transposes `TILE` rows of `TILE` floats: from flat index `at` of `source`, a row `width` long, to `to`."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, at, width, target, to, new_width = args
        rows = []
        for _ in range(TILE):
            rows.append(builder.load(_pointer(context, builder, signature.args[0], source, at), align=4))
            at = builder.add(at, width)
        # Interleaving the rows of one half with those of the other, log2(TILE) times, is a transpose.
        masks = [
            ir.VectorType(ir.IntType(32), TILE)([lane // 2 + TILE * (lane % 2) for lane in lanes])
            for lanes in (range(TILE), range(TILE, 2 * TILE))
        ]
        for _ in range(TILE.bit_length() - 1):
            halves = zip(rows[: TILE // 2], rows[TILE // 2 :], strict=True)
            rows = [builder.shuffle_vector(a, b, mask) for a, b in halves for mask in masks]
        for row in rows:
            builder.store(row, _pointer(context, builder, signature.args[3], target, to), align=4)
            to = builder.add(to, new_width)
        return context.get_dummy_value()

    return types.void(source, at, width, target, to, new_width), write


@kernel("(int64, int64)")
def _mirrored(at: int, count: int) -> int:
    """Index of the row that stands at `at`: beyond an end the rows follow in reverse, the last one again."""
    at %= 2 * count
    return at if at < count else 2 * count - 1 - at


@kernel("(float32[:, ::1], int64, float32[:, ::1])")
def _down_columns(S: Matrix, count: int, found: Matrix) -> None:
    """Running medians of the first `count` rows of `S`; both have at least `TILE` rows and columns."""
    width = S.shape[1]
    starts = np.empty(ROWS, np.int64)
    for tile in range(0, len(found), TILE):
        first = min(tile, len(found) - TILE)
        for row in range(ROWS):
            starts[row] = _mirrored(first + row - WINDOW // 2, count) * width
        left = 0
        for tile_left in range(0, width, TILE):
            step = min(tile_left, width - TILE) - left
            left += step
            for row in range(ROWS):
                starts[row] += step
            _medians_of_rows(S, starts, found, first * width + left, width)


@kernel("(float32[:, ::1], float32[:, ::1])")
def _along_rows(S: Matrix, found: Matrix) -> None:
    """Running medians of each row of `S`; both have at least `TILE` rows and columns."""
    height, width = S.shape
    columns, medians = np.empty((width, TILE), np.float32), np.empty((width, TILE), np.float32)
    for tile in range(0, height, TILE):
        top = min(tile, height - TILE) * width
        for tile_left in range(0, width, TILE):
            left = min(tile_left, width - TILE)
            _transpose_tile(S, top + left, width, columns, left * TILE, TILE)
        _down_columns(columns, width, medians)
        for tile_left in range(0, width, TILE):
            left = min(tile_left, width - TILE)
            _transpose_tile(medians, left * TILE, TILE, found, top + left, width)


def medians_down_columns(S: Matrix) -> Matrix:
    """Running median of 31 rows in each column, the ends mirrored; shape as S, at least 16 columns."""
    found = np.empty((max(len(S), TILE), S.shape[1]), np.float32)
    _down_columns(S, len(S), found)
    return found[: len(S)]


def medians_along_rows(S: Matrix) -> Matrix:
    """Running median of 31 columns in each row, the ends mirrored; shape as S, at least 16 columns."""
    padded = np.pad(S, ((0, max(0, TILE - len(S))), (0, 0))) if len(S) < TILE else S
    found = np.empty_like(padded)
    _along_rows(padded, found)
    return found[: len(S)]
