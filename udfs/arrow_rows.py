"""Conversion between numpy matrices and Arrow lists, and the type of functions for `mapInArrow`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def lists(rows: npt.NDArray[Any], flat: pa.Array | None = None) -> pa.ListArray:
    """The rows of a matrix as lists; with `flat`, the values of `flat` in lists of the same length.

    >>> lists(np.array([[1, 2], [3, 4]])).to_pylist()
    [[1, 2], [3, 4]]
    """
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()) if flat is None else flat)


def ranking(name: str, values: pa.Array, index_TK: npt.NDArray[Any], p_TK: npt.NDArray[Any]) -> pa.ListArray:
    """The values at K indices for each of T tracks, as lists of structs with `name` and `probability`."""
    parts = [values.take(pa.array(index_TK.ravel())), pa.array(p_TK.ravel())]
    return lists(index_TK, pa.StructArray.from_arrays(parts, names=[name, "probability"]))


def matrix(column: pa.ListArray | pa.ChunkedArray, width: int = -1) -> npt.NDArray[Any]:
    """Lists of equal length as a matrix, one row per list; if there are no lists, `width` must be given.

    A null in a list of floats becomes NaN.

    >>> matrix(lists(np.array([[1, 2], [3, 4]])))
    array([[1, 2],
           [3, 4]])
    """
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat: npt.NDArray[Any] = whole.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(whole), width)
