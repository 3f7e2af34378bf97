"""A model's answers to a bounded sample of labelled tracks, on the driver."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, types as T

from genremill.infra.warehouse import Snapshot
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.models.evaluation.held_out import HeldOut, Labels, NothingHeldOut
from genremill.models.model_card import ModelCard
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tagging import predictor

CARRIED = ("track_id", "artist_id", "unseen", "labels")


@dataclass(frozen=True)
class Model:
    """A model version, the run of `tracks` it was trained on, and what it takes of them."""

    version: str
    folder: str
    card: ModelCard
    snapshot: Snapshot
    inputs: ModelInputs


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of tracks whose labels are known; distances by input that it judges, shape (T, I)."""

    held_out: HeldOut
    distances_TI: npt.NDArray[np.float32]


def collected(model: Model, sample: DataFrame) -> Answers:
    """The answers to a sample of labelled tracks that says which are `unseen`."""
    card = model.card
    predict = predictor(model.folder, model.inputs.positions, CARRIED)
    numbers = T.ArrayType(T.FloatType())
    schema = T.StructType(
        [
            *(sample.schema[name] for name in CARRIED),
            T.StructField("probabilities", numbers),
            T.StructField("distances", numbers),
        ]
    )
    table = (
        sample.select(*CARRIED, *model.inputs.columns)
        .mapInArrow(predict, schema)
        .orderBy("track_id")
        .toArrow()
    )
    if not len(table):
        raise NothingHeldOut("no held-out track bears a label the model knows; nothing can be measured")
    index = {name: at for at, name in enumerate(card.classes)}
    labels = table.column("labels").combine_chunks()
    places = sorted({cluster.id: cluster.name for cluster in card.clusters.values()}.items())
    place_of = {number: at for at, (number, _) in enumerate(places)}
    clusters = [place_of[card.clusters[name].id] if name in card.clusters else -1 for name in card.classes]
    by_genre = Labels(card.labels) is Labels.GENRE and bool(places)
    held_out = HeldOut(
        split=TracksDetails.of(model.snapshot).split.by,
        classes=card.classes,
        probabilities_TC=matrix(table.column("probabilities"), len(card.classes)),
        pair_track_P=np.repeat(np.arange(len(table)), np.diff(labels.offsets.to_numpy())),
        pair_label_P=np.array([index[name] for name in labels.flatten().to_pylist()]),
        artist_T=np.array(table.column("artist_id").to_pylist()),
        unseen_T=np.array(table.column("unseen").to_pylist(), dtype=bool),
        cluster_of_class_C=np.array(clusters) if by_genre else None,
        cluster_names=tuple(name for _, name in places),
        together_CC=card.together_CC,
    )
    return Answers(held_out, matrix(table.column("distances"), len(card.outlier_limits)))
