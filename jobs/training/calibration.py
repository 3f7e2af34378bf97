"""Calibrates a trained model: its temperature, its thresholds and the limits of its outliers."""

import dataclasses

from pyspark.sql import functions as F

from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import predictions
from genremill.jobs.training.pairs import LabeledTracks, labeled_tracks
from genremill.models.evaluation.calibration import (
    artist_weights,
    fitted_temperature,
    fitted_thresholds,
    tempered,
)
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard
from genremill.models.outliers import limit_of

MAX_TRACKS = 50_000
"""Largest number of tracks that a model is calibrated on, drawn by a stable hash."""


def why_not(tracks: Snapshot, validation_pairs: int) -> str | None:
    """Why the accuracy on unknown tracks cannot be measured; None if it can."""
    if TracksDetails.of(tracks).split.by is SplitBy.ROWS:
        return "the split is by rows, so the train split contains other labels of the validation tracks"
    return None if validation_pairs else "there are no validation pairs"


def calibrated(
    inputs: PredictionInputs, labeled: LabeledTracks, validation_pairs: int, precision: float | None
) -> ModelCard:
    """The card of a trained model with the results of its predictions for the validation tracks.

    The limits of outliers need no labels: without validation tracks, they come from the train tracks.
    """
    card, split = inputs.model.card, Split.VALIDATION if validation_pairs else Split.TRAIN
    columns = inputs.features.columns
    tracks = labeled_tracks(labeled.tracks, labeled.pairs, split, card.classes, columns)
    sample = tracks.orderBy(unit_hash("calibration", 0, "track_id")).limit(MAX_TRACKS)
    predicted = predictions.collected(inputs, sample.withColumn("unseen", F.lit(False)))
    limits = zip(card.outlier_limits, predicted.distances_TI.T, strict=True)
    card = dataclasses.replace(
        card, outlier_limits={name: limit_of(distance_T) for name, distance_T in limits}
    )
    if (why := why_not(inputs.tracks, validation_pairs)) is not None:
        LOGGER.info("temperature 1: %s", why)
        return card
    return _confident(card, predicted.held_out, precision)


def _confident(card: ModelCard, held_out: HeldOut, precision: float | None) -> ModelCard:
    temperature = fitted_temperature(held_out, artist_weights(held_out.artist_T))
    tracks, artists = len(held_out.artist_T), len(set(held_out.artist_T))
    LOGGER.info("temperature %.3f, from %d validation tracks of %d artists", temperature, tracks, artists)
    thresholds = None
    if precision is not None:
        p_TC = tempered(held_out.probabilities_TC, temperature)
        calibrated_predictions = dataclasses.replace(held_out, probabilities_TC=p_TC)
        clusters = [card.clusters.get(name) for name in card.classes]
        thresholds = fitted_thresholds(calibrated_predictions, clusters, precision)
        lowest = [thresholds.of(cluster) for cluster in clusters]
        is_tagged_T = calibrated_predictions.confidence_T >= [lowest[top] for top in held_out.top_T]
        tagged = float(is_tagged_T.mean())
        LOGGER.info("precision %.2f: %.1f %% of validation tracks are tagged", precision, 100 * tagged)
        if tagged == 0:
            LOGGER.warning("no confidence reaches --target-precision %g: this model tags no track", precision)
    return dataclasses.replace(card, temperature=temperature, thresholds=thresholds)
