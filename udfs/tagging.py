"""Tags of tracks: a model's answers, streamed through Arrow batches.

Shape suffixes: B rows of a batch, F raw features, C classes, K likeliest labels.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models import artifact
from genremill.models.model_card import ModelCard
from genremill.models.networks import TABLE, Network

TOP = 5
"""Labels in `tags.top`."""
CHUNK_ROWS = 1024
"""Rows that go through the network at once: as many as stay in a core's cache."""

BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

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


def probabilities(network: Network, x_BF: npt.NDArray[np.float32]) -> torch.Tensor:
    """Probability of each class for rows of raw features, shape (B, C)."""
    parts = [
        network.probabilities({TABLE: chunk}) for chunk in torch.split(torch.from_numpy(x_BF), CHUNK_ROWS)
    ]
    return torch.cat(parts)


def top_labels(
    network: Network, x_BF: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Indices and probabilities of the likeliest classes, falling, both of shape (B, K)."""
    found = [
        network.probabilities({TABLE: chunk}).topk(min(TOP, network.classes))
        for chunk in torch.split(torch.from_numpy(x_BF), CHUNK_ROWS)
    ]
    index_BK = torch.cat([one.indices for one in found])
    return index_BK.numpy(), torch.cat([one.values for one in found]).numpy()


def tag_batch(
    batch: pa.RecordBatch, card: ModelCard, network: Network, positions: tuple[int, ...]
) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of tracks."""
    x_BF, has = feature_rows(batch.column("table_features"), positions)
    rows = len(batch)
    if not len(x_BF):
        index_BK, p_BK = np.zeros((0, TOP), np.int64), np.zeros((0, TOP), np.float32)
    else:
        index_BK, p_BK = top_labels(network, x_BF)
    # Row of the answer for each row of the batch; null where the track has no features.
    answer = pc.if_else(
        has, pc.subtract(pc.cumulative_sum(pc.cast(has, pa.int64())), 1), pa.scalar(None, pa.int64())
    )
    labels, clusters = pa.array(card.classes, pa.string()), _cluster_ids(card)
    best = pa.array(index_BK[:, 0])
    flat = pa.StructArray.from_arrays(
        [labels.take(pa.array(index_BK.ravel())), pa.array(p_BK.ravel())], names=["label", "probability"]
    )
    offsets = pa.array(np.arange(len(x_BF) + 1, dtype=np.int32) * index_BK.shape[1])
    top = pa.ListArray.from_arrays(offsets, flat).cast(_TOP_TYPE)
    inputs = pc.if_else(has, pa.scalar([TABLE], pa.list_(pa.string())), pa.scalar([], pa.list_(pa.string())))
    complete = len(x_BF) == rows
    return {
        "label": _spread(labels.take(best), answer, complete),
        "cluster_id": _spread(clusters.take(best), answer, complete),
        "confidence": _spread(pa.array(p_BK[:, 0]), answer, complete),
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
    model: str, positions: tuple[int, ...], constants: dict[str, str | None], columns: list[str]
) -> BatchFunction:
    """A `mapInArrow` function that turns tracks into tags with the model in the folder `model`.

    `positions` are the model's features in `table_features`, `constants` the columns equal in all rows,
    `columns` the output's columns in order; those neither computed nor constant pass through.
    """

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        card, network = artifact.load(model)
        for batch in batches:
            found = tag_batch(batch, card, network, positions)
            found |= {
                name: pa.repeat(pa.scalar(value, pa.string()), len(batch))
                for name, value in constants.items()
            }
            arrays = [found[name] if name in found else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return tag


def predictor(model: str, positions: tuple[int, ...]) -> BatchFunction:
    """A `mapInArrow` function from (track_id, table_features) to (track_id, probabilities)."""

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        _, network = artifact.load(model)
        for batch in batches:
            x_BF, has = feature_rows(batch.column("table_features"), positions)
            if not len(x_BF):
                continue
            p_BC = probabilities(network, x_BF).numpy()
            offsets = pa.array(np.arange(len(p_BC) + 1, dtype=np.int32) * p_BC.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(p_BC.ravel()))
            ids = batch.column("track_id").filter(has)
            yield pa.RecordBatch.from_arrays([ids, lists], names=["track_id", "probabilities"])

    return predict
