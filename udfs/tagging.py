"""Tags of tracks: a model's answers, streamed through Arrow batches.

Shape suffixes: B tracks of a batch, T those that have all inputs, R rows for the network (windows of tracks),
F raw features, C classes, K likeliest labels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models import artifact
from genremill.models.features import TABLE
from genremill.models.model_card import ModelCard
from genremill.models.networks import Inputs, Network
from genremill.models.pooling import Pooling, pooled

TOP = 5
"""Labels in `tags.top`."""
CHUNK_ROWS = 1024
"""Rows that go through the network at once: as many as stay in a core's cache."""

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_TOP_TYPE = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))


def feature_rows(
    column: pa.ListArray, positions: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], pa.BooleanArray]:
    """The chosen features of the rows that have features, shape (rows with, F), and which rows those are."""
    has = pc.fill_null(pc.greater(pc.list_value_length(column), 0), False)
    values = column.filter(has)
    flat = values.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if not len(values):
        return np.zeros((0, len(positions)), np.float32), has
    rows: npt.NDArray[np.float32] = flat.reshape(len(values), -1)
    return (rows if positions == tuple(range(rows.shape[1])) else rows[:, positions]), has


@dataclass(frozen=True, eq=False)
class ModelRows:
    """What a network is given for a batch of tracks.

    Parameters
    ----------
    inputs : raw features by input, each of shape (R, width)
    windows_T : rows of each track that has all inputs, 1 or more; None where they are one each
    has : which tracks of the batch those are
    """

    inputs: dict[str, Floats]
    windows_T: Integers | None
    has: pa.BooleanArray

    @property
    def tracks(self) -> int:
        """Tracks that have all inputs."""
        return len(next(iter(self.inputs.values()))) if self.windows_T is None else len(self.windows_T)

    def chunks(self) -> Iterator[Inputs]:
        """The rows, as many at once as go through a network."""
        parts = [torch.split(torch.from_numpy(x), CHUNK_ROWS) for x in self.inputs.values()]
        return (dict(zip(self.inputs, chunk, strict=True)) for chunk in zip(*parts, strict=True))


def model_rows(column: pa.ListArray, names: tuple[str, ...], positions: tuple[int, ...]) -> ModelRows:
    """The inputs `names` of a batch, from the column of table features or that of windows.

    `positions` are those of the table's features; windows hold them in order already.
    """
    if names == (TABLE,):
        x_BF, has = feature_rows(column, positions)
        return ModelRows({TABLE: x_BF}, None, has)
    has = pc.is_valid(column)
    tracks = column.filter(has)
    windows = tracks.flatten()
    inputs = {}
    for name in names:
        values = pc.struct_field(windows, name).flatten()
        flat = values.to_numpy(zero_copy_only=False).astype(np.float32)
        inputs[name] = flat.reshape(len(windows), -1) if len(windows) else flat.reshape(0, 0)
    return ModelRows(inputs, pc.list_value_length(tracks).to_numpy().astype(np.int64), has)


def probabilities(network: Network, rows: ModelRows, pooling: Pooling) -> Floats:
    """Probability of each class for the tracks that have all inputs, shape (T, C)."""
    p_RC: Floats = torch.cat([network.probabilities(chunk) for chunk in rows.chunks()]).numpy()
    return p_RC if rows.windows_T is None else pooled(p_RC, rows.windows_T, pooling)


def top_labels(network: Network, rows: ModelRows, pooling: Pooling) -> tuple[Integers, Floats]:
    """Indices and probabilities of the likeliest classes, falling, both of shape (T, K)."""
    count = min(TOP, network.classes)
    if rows.windows_T is not None:
        found = torch.from_numpy(probabilities(network, rows, pooling)).topk(count)
        return found.indices.numpy(), found.values.numpy()
    chunks = [network.probabilities(chunk).topk(count) for chunk in rows.chunks()]
    index_TK = torch.cat([one.indices for one in chunks])
    return index_TK.numpy(), torch.cat([one.values for one in chunks]).numpy()


def tag_batch(
    batch: pa.RecordBatch, card: ModelCard, network: Network, column: str, positions: tuple[int, ...]
) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of tracks."""
    rows = model_rows(batch.column(column), card.inputs, positions)
    has = rows.has
    if rows.tracks:
        index_TK, p_TK = top_labels(network, rows, card.pooling)
    else:
        index_TK, p_TK = np.zeros((0, TOP), np.int64), np.zeros((0, TOP), np.float32)
    # Row of the answer for each row of the batch; null where the track has no features.
    answer = pc.if_else(
        has, pc.subtract(pc.cumulative_sum(pc.cast(has, pa.int64())), 1), pa.scalar(None, pa.int64())
    )
    labels, clusters = pa.array(card.classes, pa.string()), _cluster_ids(card)
    best = pa.array(index_TK[:, 0])
    flat = pa.StructArray.from_arrays(
        [labels.take(pa.array(index_TK.ravel())), pa.array(p_TK.ravel())], names=["label", "probability"]
    )
    offsets = pa.array(np.arange(rows.tracks + 1, dtype=np.int32) * index_TK.shape[1])
    top = pa.ListArray.from_arrays(offsets, flat).cast(_TOP_TYPE)
    names = pa.list_(pa.string())
    inputs = pc.if_else(has, pa.scalar(list(card.inputs), names), pa.scalar([], names))
    complete = rows.tracks == len(batch)
    return {
        "label": _spread(labels.take(best), answer, complete),
        "cluster_id": _spread(clusters.take(best), answer, complete),
        "confidence": _spread(pa.array(p_TK[:, 0]), answer, complete),
        "top": _spread(top, answer, complete),
        "status": pc.if_else(has, "tagged", "no_features"),
        "inputs": inputs,
    }


def _spread(values: pa.Array, answer: pa.Array, complete: bool) -> pa.Array:
    return values if complete else values.take(answer)


def _cluster_ids(card: ModelCard) -> pa.Array:
    return pa.array(
        [card.clusters[name].id if name in card.clusters else None for name in card.classes], pa.int32()
    )


def tagger(
    model: str,
    column: str,
    positions: tuple[int, ...],
    constants: dict[str, str | None],
    columns: list[str],
) -> BatchFunction:
    """A `mapInArrow` function that turns tracks into tags with the model in the folder `model`.

    `column` holds the inputs, `positions` are the model's features in `table_features`, `constants` the
    columns equal in all rows, `columns` the output's columns in order; those neither computed nor constant
    pass through.
    """

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        card, network = artifact.load(model)
        for batch in batches:
            found = tag_batch(batch, card, network, column, positions)
            found |= {
                name: pa.repeat(pa.scalar(value, pa.string()), len(batch))
                for name, value in constants.items()
            }
            arrays = [found[name] if name in found else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return tag


def predictor(model: str, column: str, positions: tuple[int, ...]) -> BatchFunction:
    """A `mapInArrow` function from (track_id, column of inputs) to (track_id, probabilities)."""

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        card, network = artifact.load(model)
        for batch in batches:
            rows = model_rows(batch.column(column), card.inputs, positions)
            if not rows.tracks:
                continue
            p_TC = probabilities(network, rows, card.pooling)
            offsets = pa.array(np.arange(len(p_TC) + 1, dtype=np.int32) * p_TC.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(p_TC.ravel()))
            ids = batch.column("track_id").filter(rows.has)
            yield pa.RecordBatch.from_arrays([ids, lists], names=["track_id", "probabilities"])

    return predict
