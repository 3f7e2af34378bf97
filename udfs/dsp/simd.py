"""Vector registers for kernels: loads and stores of 16 floats, and transposes of 16 × 16 tiles.

After a transpose, an operation that runs along each row of a matrix can work on 16 rows at once, because
their values are neighbors in memory.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import extending, types

from genremill.udfs.compiled import kernel

Matrix = npt.NDArray[np.float32]
Code: TypeAlias = Any
"""Objects of numba and llvmlite that stand for code; neither library has type hints for them."""
intrinsic: Callable[[Callable[..., Code]], Callable[..., None]] = extending.intrinsic
"""Decorator of a function that generates the code of a call in a kernel."""

TILE = 16
"""Floats per vector: one register of AVX-512, two of AVX2, four of NEON or SSE."""
VECTOR = ir.VectorType(ir.FloatType(), TILE)


def vector_at(context: Code, builder: Code, array_type: Code, array: Code, index: Code) -> Code:
    """Pointer to `TILE` neighboring floats of an array, from its flat index on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), VECTOR.as_pointer())


def load_vector(context: Code, builder: Code, array_type: Code, array: Code, index: Code) -> Code:
    """The `TILE` floats at a flat index of an array."""
    return builder.load(vector_at(context, builder, array_type, array, index), align=4)


@intrinsic
def transpose_tile(
    _typing: Code, source: Code, start: Code, width: Code, target: Code, to: Code, new_width: Code
) -> Code:
    """Transposes `TILE` rows of `TILE` floats.

    The rows start at the flat indices `start`, `start + width`, … of `source`. The result goes to `to`,
    `to + new_width`, … of `target`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        source, start, width, target, to, new_width = args
        rows = []
        for _ in range(TILE):
            rows.append(load_vector(context, builder, signature.args[0], source, start))
            start = builder.add(start, width)
        for row in _transposed(builder, rows):
            builder.store(row, vector_at(context, builder, signature.args[3], target, to), align=4)
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
def transpose_rows(S: Matrix, first: int, columns: Matrix) -> None:
    """Fills `columns`, shape (width, TILE), with the `TILE` rows of `S` from `first` on."""
    width = S.shape[1]
    for tile in range(0, width, TILE):
        left = min(tile, width - TILE)
        transpose_tile(S, first * width + left, width, columns, left * TILE, TILE)


@kernel("(float32[:, ::1], float32[:, ::1], int64)")
def transpose_back(columns: Matrix, S: Matrix, first: int) -> None:
    """Fills `TILE` rows of `S` from `first` on with `columns`, shape (width, TILE)."""
    width = S.shape[1]
    for tile in range(0, width, TILE):
        left = min(tile, width - TILE)
        transpose_tile(columns, left * TILE, TILE, S, first * width + left, width)


def at_least_a_tile(S: Matrix) -> Matrix:
    """The rows of `S`, and rows of zeros up to `TILE`."""
    missing = TILE - len(S)
    return S if missing <= 0 else np.pad(S, ((0, missing), (0, 0)))
