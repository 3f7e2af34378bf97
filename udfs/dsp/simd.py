"""Vector registers for kernels: loads and stores of sixteen floats, transposes of 16 × 16 tiles.

What runs along each row of a matrix can work on sixteen rows at once, when they have been transposed so that
their values lie side by side.
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
"""What numba and llvmlite hand to code that writes code: neither says of what type."""
intrinsic: Callable[[Callable[..., Code]], Callable[..., None]] = extending.intrinsic
"""Decorator of a function that writes the code of a call in a kernel."""

TILE = 16
"""Floats at once: a vector register of AVX-512, two of AVX2, four of NEON or SSE."""
LANES = ir.VectorType(ir.FloatType(), TILE)


def lanes_at(context: Code, builder: Code, array_type: Code, array: Code, at: Code) -> Code:
    """Pointer to `TILE` neighbouring floats of an array, from its flat index `at` on."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), LANES.as_pointer())


@intrinsic
def transpose_tile(
    _typing: Code, source: Code, at: Code, width: Code, target: Code, to: Code, new_width: Code
) -> Code:
    """Transposes `TILE` rows of `TILE` floats.

    They start at the flat indices `at`, `at + width`, … of `source`, and go to `to`, `to + new_width`, … of
    `target`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        source, at, width, target, to, new_width = args
        rows = []
        for _ in range(TILE):
            rows.append(builder.load(lanes_at(context, builder, signature.args[0], source, at), align=4))
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
            builder.store(row, lanes_at(context, builder, signature.args[3], target, to), align=4)
            to = builder.add(to, new_width)
        return context.get_dummy_value()

    return types.void(source, at, width, target, to, new_width), write


@kernel("(float32[:, ::1], int64, float32[:, ::1])")
def transpose_rows(S: Matrix, first: int, columns: Matrix) -> None:
    """Fills `columns`, shape (width, TILE), with `TILE` rows of `S` from `first` on."""
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
    """The same rows, and rows of zeros up to `TILE`."""
    missing = TILE - len(S)
    return S if missing <= 0 else np.pad(S, ((0, missing), (0, 0)))
