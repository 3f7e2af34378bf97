"""The input of a network for a batch of tracks: rows of its inputs, and which tracks have them.

Shape suffixes: B tracks of a batch, T tracks that the model can predict, R rows for the network (their
windows), F raw features, I inputs of the model.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models.artifact import Model
from genremill.models.encoders.base import Inputs
from genremill.models.encoders.text import TextEncoder
from genremill.models.features import TABLE, WINDOWS, Positions, text_kind
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tokens import fields_of

# Arrow's arrays are read-only and are not copied: a network never writes to its input.
warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)

CHUNK_ROWS = 1024
"""Rows per call of the network; they fit into the cache of a core."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Raw = npt.NDArray[Any]
"""Raw features (float32) or token numbers (int32)."""


def feature_rows(column: pa.ListArray, positions: Positions) -> tuple[Floats, Flags]:
    """The chosen features of the rows that have any of them, shape (rows, F), and which rows these are.

    A missing value, and a feature without a position, is NaN.
    """
    filled = pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
    has_B: Flags = filled.to_numpy(zero_copy_only=False)
    values = column.filter(filled)
    if not len(values):
        return np.zeros((0, len(positions)), np.float32), has_B
    rows_BF = _at(matrix(values).astype(np.float32, copy=False), positions)
    missing_BF = np.isnan(rows_BF)
    if not missing_BF.any():
        return rows_BF, has_B
    known_B = ~missing_BF.all(axis=1)
    has_B = has_B.copy()
    has_B[has_B] = known_B
    return rows_BF[known_B], has_B


def _at(rows: Floats, positions: Positions) -> Floats:
    if positions == tuple(range(rows.shape[1])):
        return rows
    chosen = rows[:, [position or 0 for position in positions]]
    chosen[:, [position is None for position in positions]] = np.nan
    return chosen


@dataclass(frozen=True, eq=False)
class ModelRows:
    """The input of a network for a batch of tracks.

    Parameters
    ----------
    inputs : raw features or token numbers by input, each of shape (R, width); NaN or 0 if it is missing
    windows_T : number of rows of each track that the model can predict; None if each has one
    has : which tracks of the batch the model can predict
    present_IT : which of these tracks have each input of the model, in order
    """

    inputs: dict[str, Raw]
    windows_T: Integers | None
    has: pa.BooleanArray
    present_IT: list[Flags]

    @property
    def tracks(self) -> int:
        """Number of tracks that the model can predict."""
        return len(self.present_IT[0])

    def mean_of(self, name: str) -> Floats:
        """The mean of one input over the windows of each track, shape (T, width)."""
        x_RF = self.inputs[name]
        if self.windows_T is None or not self.tracks:
            return x_RF.astype(np.float32, copy=False)
        first_T = np.cumsum(self.windows_T) - self.windows_T
        mean_TF = np.add.reduceat(x_RF, first_T, axis=0) / self.windows_T[:, None]
        return mean_TF.astype(np.float32)

    def chunks(self) -> Iterator[Inputs]:
        """The rows, in parts for one call of the network."""
        parts = [torch.split(torch.from_numpy(x), CHUNK_ROWS) for x in self.inputs.values()]
        return (dict(zip(self.inputs, chunk, strict=True)) for chunk in zip(*parts, strict=True))


def model_rows(batch: pa.RecordBatch, model: Model, positions: Positions) -> ModelRows:
    """The input of the network for a batch with the columns of the model's inputs; windows are in order."""
    columns = [_input_column(batch, name, model, positions) for name in model.card.inputs]
    one_is_enough = len(columns) > 1 and model.partial
    used_B = (np.logical_or if one_is_enough else np.logical_and).reduce([column.has_B for column in columns])
    # All feature sets of a track share one column of windows, so they have equally many.
    windows_T = next((column.windows[used_B] for column in columns if column.windows is not None), None)
    inputs = {column.name: column.rows(used_B, windows_T) for column in columns}
    return ModelRows(inputs, windows_T, pa.array(used_B), [column.has_B[used_B] for column in columns])


@dataclass(frozen=True, eq=False)
class _InputColumn:
    """One input of a batch: which tracks have it, and their rows, one or several windows each."""

    name: str
    has_B: Flags
    values: Raw
    windows: Integers | None = None
    """Number of rows of each track of the batch, at least 1; None if each track has one."""

    def rows(self, used_B: Flags, windows_T: Integers | None) -> Raw:
        """Rows of the used tracks, one per window; NaN or 0 if a track lacks the input."""
        rows = self.values
        if not np.array_equal(self.has_B, used_B):  # otherwise the values are the rows
            windows = np.ones(len(self.has_B), np.int64) if self.windows is None else self.windows
            blank = 0 if self.values.dtype.kind == "i" else np.nan
            rows = np.full((int(windows.sum()), self.values.shape[1]), blank, self.values.dtype)
            rows[np.repeat(self.has_B, windows)] = self.values
            rows = rows[np.repeat(used_B, windows)]
        if windows_T is None or self.windows is not None:
            return rows
        return np.repeat(rows, windows_T, axis=0)


def _input_column(batch: pa.RecordBatch, name: str, model: Model, positions: Positions) -> _InputColumn:
    if name == TABLE:
        x_BF, has_B = feature_rows(batch.column("table_features"), positions)
        return _InputColumn(name, has_B, x_BF)
    if text_kind(name):
        encoders = (module for module in model.network.modules() if isinstance(module, TextEncoder))
        encoder = next(module for module in encoders if module.name == name)
        numbers = encoder.numbers(fields_of(batch, name))
        has_B = np.any(numbers > 0, axis=1)
        return _InputColumn(name, has_B, numbers[has_B])
    windows = batch.column(WINDOWS)
    count_B = pc.fill_null(pc.list_value_length(windows), 0).to_numpy().astype(np.int64)
    values = pc.struct_field(windows.flatten(), name)
    valid = pc.is_valid(values).to_numpy(zero_copy_only=False)
    first_B = np.cumsum(count_B) - count_B
    has_B = count_B > 0
    has_B[has_B] = valid[first_B[has_B]]
    flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    rows = int(valid.sum())
    width = len(flat) // rows if rows else model.card.width(name)
    return _InputColumn(name, has_B, flat.reshape(rows, width), np.maximum(count_B, 1))
