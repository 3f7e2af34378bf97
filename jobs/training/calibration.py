"""What a model version is sealed with beside its weights: temperature, thresholds, limits of outliers."""

import dataclasses

from pyspark.sql import functions as F

from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import predictions
from genremill.jobs.training.pairs import LabelledTracks, labelled_tracks
from genremill.jobs.training.predictions import Model
from genremill.models.evaluation.abstention import fitted_thresholds
from genremill.models.evaluation.calibration import artist_weights, fitted_temperature, tempered
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard
from genremill.models.outliers import limit_of

MAX_TRACKS = 50_000
"""Tracks that a model is calibrated on at most, drawn by stable hash."""


def why_not(tracks: Snapshot, validation_pairs: int) -> str | None:
    """Why nothing tells how often a model is right on tracks unknown to it; None where something does."""
    if TracksDetails.of(tracks).split.by is SplitBy.ROWS:
        return "the split is by rows, and a validation track's other labels lie in train"
    return None if validation_pairs else "there are no validation pairs"


def calibrated(
    model: Model, labelled: LabelledTracks, validation_pairs: int, precision: float | None
) -> ModelCard:
    """The card of a trained model, with what its answers on validation tracks tell.

    Limits of outliers need no labels: where there are no validation tracks, they are those of train tracks.
    """
    part = Split.VALIDATION if validation_pairs else Split.TRAIN
    tracks = labelled_tracks(labelled.tracks, labelled.pairs, part, model.card.classes, model.inputs.columns)
    sample = tracks.orderBy(unit_hash("calibration", 0, "track_id")).limit(MAX_TRACKS)
    found = predictions.collected(model, sample.withColumn("unseen", F.lit(False)))
    limits = zip(model.card.outlier_limits, found.distances_TI.T, strict=True)
    card = dataclasses.replace(
        model.card, outlier_limits={name: limit_of(distance_T) for name, distance_T in limits}
    )
    if (why := why_not(model.snapshot, validation_pairs)) is not None:
        LOGGER.info("temperature 1: %s", why)
        return card
    return _confident(card, found.held_out, precision)


def _confident(card: ModelCard, held_out: HeldOut, precision: float | None) -> ModelCard:
    weight_T = artist_weights(held_out.artist_T)
    temperature = fitted_temperature(held_out, weight_T)
    p_TC = tempered(held_out.probabilities_TC, temperature)
    tempered_answers = dataclasses.replace(held_out, probabilities_TC=p_TC)
    tracks, artists = len(held_out.artist_T), len(set(held_out.artist_T))
    LOGGER.info("temperature %.3f, from %d validation tracks of %d artists", temperature, tracks, artists)
    thresholds = None
    if precision is not None:
        clusters = [card.clusters.get(name) for name in card.classes]
        thresholds = fitted_thresholds(tempered_answers, clusters, precision)
        lowest = [thresholds.of(cluster) for cluster in clusters]
        tagged = float((tempered_answers.confidence_T >= [lowest[top] for top in held_out.top_T]).mean())
        LOGGER.info("precision %.2f: %.1f %% of validation tracks are tagged", precision, 100 * tagged)
        if tagged == 0:
            LOGGER.warning("no confidence reaches --target-precision %g: this model tags nothing", precision)
    return dataclasses.replace(card, temperature=temperature, thresholds=thresholds)
