"""Tags of tracks: the predictions of a model, streamed through Arrow batches.

If the model combines the predictions for the tracks of an artist, this takes two functions: `make_predict`,
and `make_tag_by_artist` for its rows in the order of artists. Otherwise `make_tag` does both.

Shape suffixes: B tracks of a batch, T tracks that the model can predict, R rows for the network (their
windows), C classes, I inputs with an outlier limit, K most likely labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models import artifact
from genremill.models.artifact import Model
from genremill.models.artist_pooling import with_other_tracks
from genremill.models.evaluation.calibration import tempered
from genremill.models.evaluation.held_out import confidences
from genremill.models.features import Positions
from genremill.models.model_card import ModelCard, read_card
from genremill.models.pooling import pooled
from genremill.udfs.arrow_rows import BatchFunction, lists, matrix, ranking
from genremill.udfs.model_rows import Flags, Floats, Integers, ModelRows, model_rows
from genremill.udfs.style_mix import Styles

TOP = 5
"""Number of labels in `tags.top`."""

STATUSES = pa.array(["tagged", "abstained", "outlier"])
TAGGED, ABSTAINED, OUTLIER = range(3)
PREDICTED = ("probabilities", "distances", "inputs")
"""Columns of `make_predict`: array<float> twice, and array<string>; null if the model cannot predict."""
ARTIST, CURRENT = "artist", "current label"
"""Columns that `make_tag_by_artist` reads: a key that is equal for the tracks of one artist, and the label of
the current tags if they are of the same model."""
GROUP, MOST_TRACKS = "group", 2_000
"""Column with the group of a track: up to this many tracks of an artist, which are combined."""
MARGIN = 0.1
"""A current label stays unless another one is likelier by this share."""


def probabilities(model: Model, rows: ModelRows) -> Floats:
    """Probability of each class for the tracks that the model can predict, not calibrated, shape (T, C).

    If the values of a track are so large that the network overflows, all classes get the same probability.
    """
    if not rows.tracks:
        return np.zeros((0, len(model.card.classes)), np.float32)
    p_RC: Floats = torch.cat([model.network.probabilities(chunk) for chunk in rows.chunks()]).numpy()
    p_TC = p_RC if rows.windows_T is None else pooled(p_RC, rows.windows_T, model.card.pooling)
    p_TC[~np.isfinite(p_TC).all(axis=1)] = 1 / p_TC.shape[1]
    return p_TC


def calibrated(card: ModelCard, p_TC: Floats, artist_T: Integers | None = None) -> Floats:
    """Calibrated probabilities. If `artist_T` is given, the tracks of each artist are combined."""
    p_TC = tempered(p_TC, card.temperature)
    if artist_T is None or card.artist_pooling is None:
        return p_TC
    return with_other_tracks(p_TC, artist_T, card.artist_pooling)


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


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predictions for a batch.

    Parameters
    ----------
    has : which tracks of the batch the model can predict
    p_TC : probabilities that are not calibrated
    distance_TI : see `distances`
    inputs : names of the inputs of each predicted track
    """

    has: pa.BooleanArray
    p_TC: Floats
    distance_TI: Floats
    inputs: pa.ListArray

    @classmethod
    def of(cls, batch: pa.RecordBatch, model: Model, positions: Positions) -> "Predicted":
        """The predictions of a model for a batch with the columns of its inputs."""
        rows = model_rows(batch, model, positions)
        inputs = _names(model.card.inputs, rows.present_IT)
        return cls(rows.has, probabilities(model, rows), distances(model, rows), inputs)

    @classmethod
    def read(cls, batch: pa.RecordBatch, card: ModelCard) -> "Predicted":
        """The predictions in the columns `PREDICTED` of a batch."""
        has = batch.column("probabilities").is_valid()
        p, distance, inputs = (batch.column(name).filter(has) for name in PREDICTED)
        return cls(has, matrix(p, len(card.classes)), matrix(distance, len(card.outlier_limits)), inputs)

    def columns(self) -> dict[str, pa.Array]:
        """The columns `PREDICTED` of the batch."""
        values = (lists(self.p_TC), lists(self.distance_TI), self.inputs)
        return _of_batch(dict(zip(PREDICTED, values, strict=True)), self.has)


def tags_of(
    predicted: Predicted,
    card: ModelCard,
    styles: Styles,
    artist_T: Integers | None = None,
    current_T: Integers | None = None,
) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of tracks.

    `artist_T` are the artists of the predicted tracks, as in `with_other_tracks`. `current_T` are the classes
    of their current labels, or -1.
    """
    p_TC = calibrated(card, predicted.p_TC, artist_T)
    best_TK = torch.from_numpy(p_TC).topk(min(TOP, len(card.classes)))
    index_TK = best_TK.indices.numpy()
    outlier_T = outliers(card, predicted.distance_TI)
    top_T = index_TK[:, 0]
    if current_T is not None:
        top_T = _settled(card, p_TC, top_T, np.where(outlier_T, -1, current_T))
    confidence_T = confidences(p_TC, top_T, card.together_CC)
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
        "inputs": predicted.inputs,
        "clusters": clusters,
        "blend": blend,
    }
    tags = _of_batch(tags, predicted.has)
    none = {"status": "no_features", "inputs": pa.scalar([], tags["inputs"].type)}
    return tags | {name: pc.fill_null(tags[name], value) for name, value in none.items()}


def _settled(card: ModelCard, p_TC: Floats, top_T: Integers, current_T: Integers) -> Integers:
    """The current class of a track, unless the likeliest class is likelier by more than `MARGIN`.

    A class that is not confident enough for a tag is not kept.
    """
    row_T = np.arange(len(top_T))
    is_close_T = p_TC[row_T, top_T] <= (1 + MARGIN) * p_TC[row_T, current_T]
    kept_T = np.where((current_T >= 0) & is_close_T, current_T, top_T)
    abstains_T = abstentions(card, kept_T, confidences(p_TC, kept_T, card.together_CC))
    return np.where(abstains_T, top_T, kept_T)


def _of_batch(columns: dict[str, pa.Array], has: pa.BooleanArray) -> dict[str, pa.Array]:
    """Values of the predicted tracks as values of all tracks of a batch, null for the others."""
    if pc.all(has).as_py():
        return columns
    row_B = pc.subtract(pc.cumulative_sum(pc.cast(has, pa.int64())), 1)
    row_B = pc.if_else(has, row_B, pa.scalar(None, pa.int64()))
    return {name: values.take(row_B) for name, values in columns.items()}


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
            tags = tags_of(Predicted.of(batch, loaded, positions), loaded.card, styles)
            yield _table(batch, tags, constants, columns)

    return tag


def make_predict(model: str, positions: Positions, carried: tuple[str, ...]) -> BatchFunction:
    """A `mapInArrow` function from inputs to the columns in `carried` and `PREDICTED`."""

    def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        loaded = artifact.load(model)
        for batch in batches:
            predicted = Predicted.of(batch, loaded, positions).columns()
            yield _table(batch, predicted, {}, [*carried, *PREDICTED])

    return predict


def make_tag_by_artist(model: str, constants: dict[str, str | None], columns: list[str]) -> BatchFunction:
    """A `mapInArrow` function from rows of `make_predict` to tags; see `make_tag`.

    The rows also have the columns `ARTIST` and `CURRENT`, and are sorted by `ARTIST`.
    """

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        card = read_card(model)
        styles = Styles.of(card)
        for batch in whole_artists(batches):
            yield _table(batch, _tags_by_artist(batch, card, styles), constants, columns)

    return tag


def _tags_by_artist(batch: pa.RecordBatch, card: ModelCard, styles: Styles) -> dict[str, pa.Array]:
    """The columns of `tags` that depend on the model, for a batch of `whole_artists`."""
    predicted = Predicted.read(batch, card)
    group, current = (batch.column(name).filter(predicted.has) for name in (GROUP, CURRENT))
    artist_T = np.where(outliers(card, predicted.distance_TI), -1, group.to_numpy())
    current_T = pc.fill_null(pc.index_in(current, pa.array(card.classes, pa.string())), -1).to_numpy()
    return tags_of(predicted, card, styles, artist_T, current_T)


def whole_artists(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches that divide no group of an artist's tracks, with the column `GROUP`.

    The rows are sorted by `ARTIST`. A group has the next `MOST_TRACKS` tracks of an artist, or the rest. Its
    number is different from that of the other groups in the batch.
    """
    rest: pa.RecordBatch | None = None
    for batch in batches:
        rows = batch if rest is None else pa.concat_batches([rest.drop_columns([GROUP]), batch])
        if not len(rows):
            continue
        # `rest` began with a new group, so counting starts anew.
        numbered = rows.append_column(GROUP, pa.array(_groups(rows.column(ARTIST))))
        group = numbered.column(GROUP).to_numpy()
        first_of_last = int(np.searchsorted(group, group[-1]))
        if first_of_last:
            yield numbered.slice(0, first_of_last)
        rest = numbered.slice(first_of_last)
    if rest is not None:
        yield rest


def _groups(artist: pa.StringArray) -> Integers:
    """The number of the group of each row, from 0."""
    other = pc.not_equal(artist.slice(1), artist.slice(0, len(artist) - 1)).to_numpy(zero_copy_only=False)
    is_first = np.concatenate([[True], other])
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(artist)), 0))
    is_first_of_group = (np.arange(len(artist)) - first) % MOST_TRACKS == 0
    return np.cumsum(is_first_of_group) - 1


def _table(
    batch: pa.RecordBatch,
    computed: dict[str, pa.Array],
    constants: dict[str, str | None],
    columns: list[str],
) -> pa.RecordBatch:
    """The columns that were computed, those with one value, and the others of the batch."""
    repeated = {
        name: pa.repeat(pa.scalar(value, pa.string()), len(batch)) for name, value in constants.items()
    }
    known = computed | repeated
    arrays = [known[name] if name in known else batch.column(name) for name in columns]
    return pa.RecordBatch.from_arrays(arrays, names=columns)
