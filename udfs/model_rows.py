"""What a network is given for a batch of tracks: rows of its inputs, and which tracks have them.

Shape suffixes: B tracks of a batch, T those that the model can take, R rows for the network (their windows),
F raw features, I inputs of the model.
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
from genremill.models.features import ARTIST, ARTIST_FEATURES, TABLE, TEXT, WINDOWS
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tokens import names_of

# Arrow's arrays are read-only and are not copied: a network never writes to its input.
warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)

CHUNK_ROWS = 1024
"""Rows that go through the network at once: as many as stay in a core's cache."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Raw = npt.NDArray[Any]
"""Raw features, float32, or token numbers, int32."""


def feature_rows(
    column: pa.ListArray, positions: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], pa.BooleanArray]:
    """The chosen features of the rows that have features, shape (rows with, F), and which rows those are."""
    has = pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
    values = column.filter(has)
    if not len(values):
        return np.zeros((0, len(positions)), np.float32), has
    rows: npt.NDArray[np.float32] = matrix(values).astype(np.float32, copy=False)
    return (rows if positions == tuple(range(rows.shape[1])) else rows[:, positions]), has


@dataclass(frozen=True, eq=False)
class ModelRows:
    """What a network is given for a batch of tracks.

    Parameters
    ----------
    inputs : raw features or token numbers by input, each of shape (R, width); NaN or 0 where a track lacks it
    windows_T : rows of each track that the model can take, 1 or more; None where they are one each
    has : which tracks of the batch those are
    present_IT : which of them have each input of the model, in order
    """

    inputs: dict[str, Raw]
    windows_T: Integers | None
    has: pa.BooleanArray
    present_IT: list[Flags]

    @property
    def tracks(self) -> int:
        """Tracks that the model can take."""
        return len(next(iter(self.inputs.values()))) if self.windows_T is None else len(self.windows_T)

    def mean_of(self, name: str) -> Floats:
        """One input of each track, the mean over its windows, shape (T, width)."""
        x_RF = self.inputs[name]
        if self.windows_T is None or not self.tracks:
            return x_RF.astype(np.float32, copy=False)
        first_T = np.cumsum(self.windows_T) - self.windows_T
        mean_TF = np.add.reduceat(x_RF, first_T, axis=0) / self.windows_T[:, None]
        return mean_TF.astype(np.float32)

    def chunks(self) -> Iterator[Inputs]:
        """The rows, as many at once as go through a network."""
        parts = [torch.split(torch.from_numpy(x), CHUNK_ROWS) for x in self.inputs.values()]
        return (dict(zip(self.inputs, chunk, strict=True)) for chunk in zip(*parts, strict=True))


def model_rows(batch: pa.RecordBatch, model: Model, positions: tuple[int, ...]) -> ModelRows:
    """What the network is given for a batch with the columns of the model's inputs.

    `positions` are those of the model's features in `table_features`; windows hold theirs in order already.
    """
    found = [_found(batch, name, model, positions) for name in model.card.inputs]
    if len(found) == 1 and found[0].windows is None:
        one = found[0]
        has = pa.array(one.has_B)
        return ModelRows({one.name: one.values}, None, has, [np.ones(len(one.values), np.bool_)])
    taken_B = (np.logical_or if model.partial else np.logical_and).reduce([one.has_B for one in found])
    # All sets of a track have one column of windows, and as many of them.
    windows_T = next((one.windows[taken_B] for one in found if one.windows is not None), None)
    inputs = {one.name: one.rows(taken_B, windows_T) for one in found}
    return ModelRows(inputs, windows_T, pa.array(taken_B), [one.has_B[taken_B] for one in found])


@dataclass(frozen=True, eq=False)
class _Found:
    """One input of a batch: which tracks have it, and the rows of those, one each or `windows` of them."""

    name: str
    has_B: Flags
    values: Raw
    windows: Integers | None = None
    """Rows of each track of the batch, at least 1; None where no input but those of windows has several."""

    def rows(self, taken_B: Flags, windows_T: Integers | None) -> Raw:
        """Rows of the tracks taken, as many as their windows; where the input is not there, NaN or 0."""
        rows = self.values
        if not (self.has_B.all() and taken_B.all()):  # else they are the rows already
            windows = np.ones(len(self.has_B), np.int64) if self.windows is None else self.windows
            blank = 0 if self.values.dtype.kind == "i" else np.nan
            rows = np.full((int(windows.sum()), self.values.shape[1]), blank, self.values.dtype)
            rows[np.repeat(self.has_B, windows)] = self.values
            rows = rows[np.repeat(taken_B, windows)]
        if windows_T is None or self.windows is not None:
            return rows
        return np.repeat(rows, windows_T, axis=0)


def text_encoder(model: Model) -> TextEncoder:
    """The encoder of a model that takes names."""
    return next(one for one in model.network.modules() if isinstance(one, TextEncoder))


def _found(batch: pa.RecordBatch, name: str, model: Model, positions: tuple[int, ...]) -> _Found:
    if name in (TABLE, ARTIST):
        column = "table_features" if name == TABLE else ARTIST_FEATURES
        chosen = positions if name == TABLE else tuple(range(model.card.width(name)))
        x_BF, has = feature_rows(batch.column(column), chosen)
        if not len(x_BF):
            x_BF = np.zeros((0, model.card.width(name)), np.float32)
        return _Found(name, has.to_numpy(zero_copy_only=False), x_BF)
    if name == TEXT:
        numbers = text_encoder(model).numbers(names_of(batch))
        has_B: Flags = np.any(numbers > 0, axis=1)
        return _Found(name, has_B, numbers[has_B])
    windows = batch.column(WINDOWS)
    count_B = pc.fill_null(pc.list_value_length(windows), 0).to_numpy().astype(np.int64)
    values = pc.struct_field(windows.flatten(), name)
    there = pc.is_valid(values).to_numpy(zero_copy_only=False)
    first_B = np.cumsum(count_B) - count_B
    has_B = count_B > 0
    has_B[has_B] = there[first_B[has_B]]
    flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    rows = int(there.sum())
    width = len(flat) // rows if rows else model.card.width(name)
    return _Found(name, has_B, flat.reshape(rows, width), np.maximum(count_B, 1))
