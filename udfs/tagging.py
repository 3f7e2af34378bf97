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
from genremill.models.features import Positions
from genremill.models.model_card import ModelCard
from genremill.models.pooling import pooled
from genremill.udfs.arrow_rows import BatchFunction, lists, ranking
from genremill.udfs.model_rows import Flags, Floats, Integers, ModelRows, model_rows
from genremill.udfs.style_mix import Styles

TOP = 5
"""Number of labels in `tags.top`."""

STATUSES = pa.array(["tagged", "abstained", "outlier"])
TAGGED, ABSTAINED, OUTLIER = range(3)


def probabilities(model: Model, rows: ModelRows) -> Floats:
    """Calibrated probability of each class for the tracks that the model can predict, shape (T, C).

    If the values of a track are so large that the network overflows, all classes get the same probability.
    """
    if not rows.tracks:
        return np.zeros((0, len(model.card.classes)), np.float32)
    p_RC: Floats = torch.cat([model.network.probabilities(chunk) for chunk in rows.chunks()]).numpy()
    p_TC = p_RC if rows.windows_T is None else pooled(p_RC, rows.windows_T, model.card.pooling)
    p_TC[~np.isfinite(p_TC).all(axis=1)] = 1 / p_TC.shape[1]
    return tempered(p_TC, model.card.temperature)


def distances(model: Model, rows: ModelRows) -> Floats:
    """Distance of each track from the training tracks, by input with an outlier limit, shape (T, I).

    The distance of several windows is that of their mean. Without the input it is 0.
    """
    present = dict(zip(model.card.inputs, rows.present_IT, strict=True))
    distance_TI = np.zeros((rows.tracks, len(model.distributions)), np.float32)
    for index, (name, distribution) in enumerate(model.distributions.items()):
        has_T = present[name]
        distance_TI[has_T, index] = distribution(torch.from_numpy(rows.mean_of(name)[has_T])).numpy()
    return distance_TI


def outliers(card: ModelCard, distance_TI: Floats) -> Flags:
    """True for tracks whose distance by any input is above the limit of the model."""
    limit_I = np.array(list(card.outlier_limits.values()), np.float64)
    return np.logical_not((distance_TI <= limit_I).all(axis=1))  # true for NaN


def abstentions(card: ModelCard, top_T: Integers, confidence_T: npt.NDArray[np.floating]) -> Flags:
    """True if the confidence of a prediction is below the threshold of its cluster."""
    if card.thresholds is None:
        return np.zeros(len(top_T), np.bool_)
    threshold_C = np.array([card.thresholds.of(card.clusters.get(name)) for name in card.classes])
    return confidence_T < threshold_C[top_T]


def tag_batch(
    batch: pa.RecordBatch, model: Model, styles: Styles, positions: Positions
) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of tracks."""
    card = model.card
    rows = model_rows(batch, model, positions)
    p_TC = probabilities(model, rows)
    best_TK = torch.from_numpy(p_TC).topk(min(TOP, len(card.classes)))
    index_TK = best_TK.indices.numpy()
    top_T = index_TK[:, 0]
    confidence_T = confidences(p_TC, top_T, card.together_CC)
    outlier_T = outliers(card, distances(model, rows))
    abstained_T = abstentions(card, top_T, confidence_T)
    status_T = np.where(outlier_T, OUTLIER, np.where(abstained_T, ABSTAINED, TAGGED))
    labels = pa.array(card.classes, pa.string())
    cluster_C = [card.clusters[name].id if name in card.clusters else None for name in card.classes]
    best = pa.array(top_T, mask=outlier_T | abstained_T)
    clusters, blend = styles.mix(p_TC)
    tags = {
        "label": labels.take(best),
        "cluster_id": pa.array(cluster_C, pa.int32()).take(best),
        "confidence": pa.array(confidence_T.astype(np.float32)),
        "top": ranking("label", labels, index_TK, best_TK.values.numpy()),
        "status": STATUSES.take(pa.array(status_T)),
        "inputs": _names(card.inputs, rows.present_IT),
        "clusters": clusters,
        "blend": blend,
    }
    return tags if rows.tracks == len(batch) else _with_missing(tags, rows.has)


def _with_missing(tags: dict[str, pa.Array], has: pa.BooleanArray) -> dict[str, pa.Array]:
    """Tags of all tracks of a batch: null or `no_features` for those that the model cannot predict."""
    row_B = pc.subtract(pc.cumulative_sum(pc.cast(has, pa.int64())), 1)
    row_B = pc.if_else(has, row_B, pa.scalar(None, pa.int64()))
    tags = {name: values.take(row_B) for name, values in tags.items()}
    none = {"status": "no_features", "inputs": pa.scalar([], tags["inputs"].type)}
    return tags | {name: pc.fill_null(tags[name], value) for name, value in none.items()}


def _names(names: tuple[str, ...], present_IT: list[Flags]) -> pa.ListArray:
    """The names of the inputs of each track, in order, array<string>."""
    present_TI = np.stack(present_IT, axis=1)
    offsets = np.concatenate([[0], present_TI.sum(axis=1).cumsum()])
    flat = pa.array(names, pa.string()).take(pa.array(np.nonzero(present_TI)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)


def make_tag(
    model: str, positions: Positions, constants: dict[str, str | None], columns: list[str]
) -> BatchFunction:
    """A `mapInArrow` function that turns tracks into tags with the model in the folder `model`.

    `constants` are columns with one value, and `columns` the columns of the output in order. Columns that are
    neither computed nor constant are copied.
    """

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        loaded = artifact.load(model)
        styles = Styles.of(loaded.card)
        for batch in batches:
            tags = tag_batch(batch, loaded, styles, positions)
            for name, value in constants.items():
                tags[name] = pa.repeat(pa.scalar(value, pa.string()), len(batch))
            arrays = [tags[name] if name in tags else batch.column(name) for name in columns]
            yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return tag


def make_predict(model: str, positions: Positions, carried: tuple[str, ...]) -> BatchFunction:
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
