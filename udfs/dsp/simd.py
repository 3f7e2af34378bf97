"""Vector registers for kernels: loads and stores of 16 floats, and transposes of 16 × 16 tiles.

After a transpose, an operation that runs along each row of a matrix can work on 16 rows at once, because
their values are neighbors in memory.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import extending, types

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import Real

Code: TypeAlias = Any
"""Objects of numba and llvmlite that stand for code; neither library has type hints for them."""
intrinsic: Callable[[Callable[..., Code]], Callable[..., None]] = extending.intrinsic
"""Decorator of a function that generates the code of a call in a kernel."""

TILE = 16
"""Floats per vector: one register of AVX-512, two of AVX2, four of NEON or SSE."""
VECTOR = ir.VectorType(ir.FloatType(), TILE)


class Vectors:
    """Generates the code of loads and stores of `TILE` neighboring floats, at flat indices of an array."""

    def __init__(self, context: Code, builder: Code, array_type: Code, array: Code) -> None:
        self._builder = builder
        self._data = context.make_array(array_type)(context, builder, array).data

    def load(self, index: Code) -> Code:
        """The floats at an index."""
        return self._builder.load(self._pointer(index), align=4)

    def store(self, vector: Code, index: Code) -> None:
        """Writes floats to an index."""
        self._builder.store(vector, self._pointer(index), align=4)

    def _pointer(self, index: Code) -> Code:
        return self._builder.bitcast(self._builder.gep(self._data, [index]), VECTOR.as_pointer())


@intrinsic
def transpose_tile(
    _typing: Code, source: Code, start: Code, width: Code, target: Code, to: Code, new_width: Code
) -> Code:
    """Transposes `TILE` rows of `TILE` floats.

    The rows start at the flat indices `start`, `start + width`, … of `source`. The result goes to `to`,
    `to + new_width`, … of `target`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        _, start, width, _, to, new_width = args
        source, target = (Vectors(context, builder, signature.args[n], args[n]) for n in (0, 3))
        rows = []
        for _ in range(TILE):
            rows.append(source.load(start))
            start = builder.add(start, width)
        for row in _transposed(builder, rows):
            target.store(row, to)
            to = builder.add(to, new_width)
        return context.get_dummy_value()

    return types.void(source, start, width, target, to, new_width), write


def _transposed(builder: Code, rows: list[Code]) -> list[Code]:
    """The transpose of `TILE` vectors: interleaves one half of them with the other, log2(TILE) times."""
    masks = [
        ir.VectorType(ir.IntType(32), TILE)([number // 2 + TILE * (number % 2) for number in numbers])
        for numbers in (range(TILE), range(TILE, 2 * TILE))
    ]
    for _ in range(TILE.bit_length() - 1):
        halves = zip(rows[: TILE // 2], rows[TILE // 2 :], strict=True)
        rows = [builder.shuffle_vector(a, b, mask) for a, b in halves for mask in masks]
    return rows


@kernel("(float32[:, ::1], int64, float32[:, ::1])")
def transpose_rows(S: Real, first: int, columns: Real) -> None:
    """Fills `columns`, shape (width, TILE), with the `TILE` rows of `S` from `first` on."""
    width = S.shape[1]
    for tile in range(0, width, TILE):
        left = min(tile, width - TILE)
        transpose_tile(S, first * width + left, width, columns, left * TILE, TILE)


@kernel("(float32[:, ::1], float32[:, ::1], int64)")
def transpose_back(columns: Real, S: Real, first: int) -> None:
    """Fills `TILE` rows of `S` from `first` on with `columns`, shape (width, TILE)."""
    width = S.shape[1]
    for tile in range(0, width, TILE):
        left = min(tile, width - TILE)
        transpose_tile(columns, left * TILE, TILE, S, first * width + left, width)


def tile_padded(S: Real) -> Real:
    """The rows of `S`, and rows of zeros up to `TILE`."""
    missing = TILE - len(S)
    return S if missing <= 0 else np.pad(S, ((0, missing), (0, 0)))
