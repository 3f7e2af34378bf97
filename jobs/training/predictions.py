"""A model's predictions for a bounded sample of labeled tracks, on the driver."""

import dataclasses
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, types as T

from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.models.evaluation.held_out import HeldOut, Labels, NothingHeldOut
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tagging import PREDICTED, calibrated, make_predict, outliers

CARRIED = ("track_id", "artist_id", "artist", "unseen", "labels")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for labeled tracks.

    Parameters
    ----------
    held_out : the predictions of the model
    alone : the predictions without the other tracks of an artist; the same if the model does not combine them
    artist_T : number of the artist of each track; -1 for outliers, which do not count for other tracks
    distances_TI : distances from the training tracks by input with an outlier limit
    """

    held_out: HeldOut
    alone: HeldOut
    artist_T: npt.NDArray[np.int64]
    distances_TI: npt.NDArray[np.float32]


def predicted(rows: DataFrame, inputs: PredictionInputs, carried: Sequence[str]) -> DataFrame:
    """The columns in `carried`, and what the model predicts for each row: the columns `PREDICTED`.

    `rows` have the columns of the model's inputs.
    """
    numbers, names = T.ArrayType(T.FloatType()), T.ArrayType(T.StringType())
    schema = T.StructType([rows.schema[name] for name in carried])
    for name, kind in zip(PREDICTED, (numbers, numbers, names), strict=True):
        schema = schema.add(name, kind)
    predict = make_predict(inputs.model.folder, inputs.features.positions, tuple(carried))
    return rows.select(*carried, *inputs.features.columns).mapInArrow(predict, schema)


def collected(inputs: PredictionInputs, sample: DataFrame) -> Predictions:
    """Predictions for a sample of labeled tracks, by track_id; raises `NothingHeldOut` if it is empty."""
    card = inputs.model.card
    rows = predicted(sample, inputs, CARRIED).where("probabilities IS NOT NULL")
    table = rows.orderBy("track_id").toArrow()
    if not len(table):
        raise NothingHeldOut("no held-out track has a label that the model knows; nothing can be measured")
    index = {name: number for number, name in enumerate(card.classes)}
    labels = table.column("labels").combine_chunks()
    clusters = sorted(set(card.clusters.values()), key=operator.attrgetter("id"))
    cluster_of = {name: clusters.index(cluster) for name, cluster in card.clusters.items()}
    cluster_of_class_C = np.array([cluster_of.get(name, -1) for name in card.classes])
    by_genre = Labels(card.labels) is Labels.GENRE and bool(clusters)
    p_TC = matrix(table.column("probabilities"), len(card.classes))
    distances_TI = matrix(table.column("distances"), len(card.outlier_limits))
    artist = table.column("artist").combine_chunks().dictionary_encode()
    artist_T = np.where(outliers(card, distances_TI), -1, artist.indices.to_numpy().astype(np.int64))
    alone = HeldOut(
        split=TracksDetails.of(inputs.tracks).split.by,
        classes=card.classes,
        probabilities_TC=calibrated(card, p_TC),
        pair_track_P=np.repeat(np.arange(len(table)), np.diff(labels.offsets.to_numpy())),
        pair_label_P=np.array([index[name] for name in labels.flatten().to_pylist()]),
        artist_T=np.array(table.column("artist_id").to_pylist()),
        unseen_T=np.array(table.column("unseen").to_pylist(), dtype=bool),
        cluster_of_class_C=cluster_of_class_C if by_genre else None,
        cluster_names=tuple(cluster.name for cluster in clusters),
        together_CC=card.together_CC,
    )
    held_out = dataclasses.replace(alone, probabilities_TC=calibrated(card, p_TC, artist_T))
    return Predictions(held_out, alone, artist_T, distances_TI)
