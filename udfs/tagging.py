"""Tags of tracks: the predictions of a model, streamed through Arrow batches.

Shape suffixes: B tracks of a batch, T tracks that the model can predict, R rows for the network (their
windows), C classes, I inputs with an outlier limit, K most likely labels.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models import artifact
from genremill.models.artifact import Model
from genremill.models.evaluation.calibration import tempered
from genremill.models.evaluation.held_out import confidences
from genremill.models.model_card import ModelCard
from genremill.models.pooling import pooled
from genremill.udfs.arrow_rows import BatchFunction, lists
from genremill.udfs.model_rows import Flags, Floats, Integers, ModelRows, model_rows
from genremill.udfs.style_mix import StyleMix, Styles

TOP = 5
"""Number of labels in `tags.top`."""

STATUSES = pa.array(["tagged", "abstained", "outlier"])
TAGGED, ABSTAINED, OUTLIER = range(3)
_TOP_TYPE = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))


def probabilities(model: Model, rows: ModelRows) -> Floats:
    """Calibrated probability of each class for the tracks that the model can predict, shape (T, C).

    If the values of a track are so large that the network overflows, all classes get the same probability.
    """
    if not rows.tracks:
        return np.zeros((0, model.network.classes), np.float32)
    p_RC: Floats = torch.cat([model.network.probabilities(chunk) for chunk in rows.chunks()]).numpy()
    p_TC = p_RC if rows.windows_T is None else pooled(p_RC, rows.windows_T, model.card.pooling)
    p_TC[~np.isfinite(p_TC).all(axis=1)] = 1 / p_TC.shape[1]
    return tempered(p_TC, model.card.temperature)


def distances(model: Model, rows: ModelRows) -> Floats:
    """Distance of each track from the training tracks, by input with an outlier limit, shape (T, I).

    For several windows it is the distance of their mean; for a track without the input it is 0.
    """
    present = dict(zip(model.card.inputs, rows.present_IT, strict=True))
    distance_IT = [
        np.where(present[name], cloud(torch.from_numpy(rows.mean_of(name))).numpy(), np.float32(0))
        for name, cloud in model.distributions.items()
    ]
    return np.stack(distance_IT, axis=1) if distance_IT else np.zeros((rows.tracks, 0), np.float32)


def outliers(card: ModelCard, distance_TI: Floats) -> Flags:
    """True for tracks whose distance by any input is above the limit of the model."""
    limit_I = np.array(list(card.outlier_limits.values()), np.float64)
    within_T = (distance_TI <= limit_I).all(axis=1)  # false for NaN
    return np.logical_not(within_T)


def abstentions(card: ModelCard, top_T: Integers, confidence_T: npt.NDArray[np.floating]) -> Flags:
    """True if the confidence of a prediction is below the threshold of its cluster."""
    if card.thresholds is None:
        return np.zeros(len(top_T), np.bool_)
    threshold_C = np.array([card.thresholds.of(card.clusters.get(name)) for name in card.classes])
    return confidence_T < threshold_C[top_T]


def tag_batch(
    batch: pa.RecordBatch, model: Model, styles: Styles, positions: tuple[int, ...]
) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of tracks."""
    card = model.card
    rows = model_rows(batch, model, positions)
    p_TC = probabilities(model, rows)
    best_TK = torch.from_numpy(p_TC).topk(min(TOP, len(card.classes)))
    index_TK, p_TK = best_TK.indices.numpy(), best_TK.values.numpy()
    top_T = index_TK[:, 0]
    confidence_T = confidences(p_TC, top_T, card.together_CC)
    mix = StyleMix.of(styles, p_TC)
    outlier_T = outliers(card, distances(model, rows))
    abstained_T = abstentions(card, top_T, confidence_T)
    # Row of the prediction for each row of the batch; null if the track has no features.
    row_B = pc.subtract(pc.cumulative_sum(pc.cast(rows.has, pa.int64())), 1)
    prediction = pc.if_else(rows.has, row_B, pa.scalar(None, pa.int64()))
    labels, clusters = pa.array(card.classes, pa.string()), _cluster_ids(card)
    best = pa.array(top_T, mask=outlier_T | abstained_T)
    flat = pa.StructArray.from_arrays(
        [labels.take(pa.array(index_TK.ravel())), pa.array(p_TK.ravel())], names=["label", "probability"]
    )
    offsets = pa.array(np.arange(rows.tracks + 1, dtype=np.int32) * index_TK.shape[1])
    top = pa.ListArray.from_arrays(offsets, flat).cast(_TOP_TYPE)
    status_T = np.where(outlier_T, OUTLIER, np.where(abstained_T, ABSTAINED, TAGGED))
    complete = rows.tracks == len(batch)
    inputs = _names(card.inputs, rows.present_IT)
    return {
        "label": _spread(labels.take(best), prediction, complete),
        "cluster_id": _spread(clusters.take(best), prediction, complete),
        "confidence": _spread(pa.array(confidence_T.astype(np.float32)), prediction, complete),
        "top": _spread(top, prediction, complete),
        "status": pc.fill_null(
            _spread(STATUSES.take(pa.array(status_T)), prediction, complete), "no_features"
        ),
        "inputs": pc.fill_null(_spread(inputs, prediction, complete), pa.scalar([], inputs.type)),
        "clusters": _spread(mix.clusters(), prediction, complete),
        "blend": _spread(mix.blend(p_TC), prediction, complete),
    }


def _spread(values: pa.Array, prediction: pa.Array, complete: bool) -> pa.Array:
    return values if complete else values.take(prediction)


def _names(names: tuple[str, ...], present_IT: list[Flags]) -> pa.ListArray:
    """The names of the inputs of each track, in order, array<string>."""
    present_TI = np.stack(present_IT, axis=1)
    offsets = np.concatenate([[0], present_TI.sum(axis=1).cumsum()])
    flat = pa.array(names, pa.string()).take(pa.array(np.nonzero(present_TI)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def _cluster_ids(card: ModelCard) -> pa.Array:
    return pa.array(
        [card.clusters[name].id if name in card.clusters else None for name in card.classes], pa.int32()
    )


def make_tag(
    model: str,
    positions: tuple[int, ...],
    constants: dict[str, str | None],
    columns: list[str],
) -> BatchFunction:
    """A `mapInArrow` function that turns tracks into tags with the model in the folder `model`.

    `positions` are the positions of the model's features in `table_features`, `constants` columns with one
    value, and `columns` the columns of the output in order. Columns that are neither computed nor constant
    are copied.
    """

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        loaded = artifact.load(model)
        styles = Styles.of(loaded.card)
        for batch in batches:
            tags = tag_batch(batch, loaded, styles, positions)
            tags |= {
                name: pa.repeat(pa.scalar(value, pa.string()), len(batch))
                for name, value in constants.items()
            }
            arrays = [tags[name] if name in tags else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return tag


def make_predict(model: str, positions: tuple[int, ...], carried: tuple[str, ...]) -> BatchFunction:
    """A `mapInArrow` function from inputs to the columns in `carried`, `probabilities` and `distances`."""

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        loaded = artifact.load(model)
        for batch in batches:
            rows = model_rows(batch, loaded, positions)
            if rows.tracks:
                kept = [batch.column(name).filter(rows.has) for name in carried]
                computed = [lists(probabilities(loaded, rows)), lists(distances(loaded, rows))]
                names = [*carried, "probabilities", "distances"]
                yield pa.RecordBatch.from_arrays([*kept, *computed], names=names)

    return predict
