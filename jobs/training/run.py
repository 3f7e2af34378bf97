"""Trains a model on a training set, calibrates it and writes the model version."""

import dataclasses
import sys

import numpy as np
import numpy.typing as npt
from pyspark.sql import SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.version import code_version, git_revision
from genremill.jobs import command
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import predictions
from genremill.jobs.training.dataset import TrainingSet
from genremill.jobs.training.pairs import labeled_tracks
from genremill.jobs.training.ranks import Samples, planned, run_ranks, sample
from genremill.jobs.training.settings import Config
from genremill.jobs.training.sources import Sources
from genremill.models import artifact
from genremill.models.encoders.base import joined_rows
from genremill.models.evaluation.artists import fitted_artist_pooling
from genremill.models.evaluation.calibration import artist_weights, fitted_temperature, fitted_thresholds
from genremill.models.evaluation.drift import histograms
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard, TrainingRecord
from genremill.models.outliers import fit_distributions, limit_of
from genremill.models.training.checkpoints import Checkpoint
from genremill.models.training.plan import Plan
from genremill.udfs.tagging import abstentions, calibrated, outliers

MAX_TRACKS = 50_000
"""Largest number of tracks that a model is calibrated on, drawn by a stable hash."""


def fit(spark: SparkSession, work: command.Run, data: TrainingSet, sources: Sources) -> command.Outcome:
    """Trains and writes the model version; raises `UsageError` if --target-precision cannot be measured."""
    cfg = sources.inputs.settings
    why = _why_not(data, sources)
    if cfg.target_precision is not None and why is not None:
        raise UsageError(f"--target-precision {cfg.target_precision} cannot be measured: {why}")
    samples = sample(data)
    plan = planned(work, cfg, data, sources, samples)
    last = run_ranks(spark, plan)
    return _seal(work, plan, last, data, sources, samples)


def _seal(
    work: command.Run, plan: Plan, last: Checkpoint, data: TrainingSet, sources: Sources, samples: Samples
) -> command.Outcome:
    """Calibrates the model with the best weights, and writes the model version."""
    cfg, best = sources.inputs.settings, last.part("best")
    vectors_BF = joined_rows(samples, data.inputs.vectors)
    best_epoch, history = last.progress.best_epoch, last.progress.history
    card = dataclasses.replace(
        plan.card,
        training=TrainingRecord(
            recipe=plan.recipe,
            settings=dataclasses.asdict(cfg),
            made_from=sources.inputs.made_from,
            genres=tuple(sources.genres),
            seed=cfg.seed,
            rows=data.rows,
            class_rows=data.class_rows,
            histograms=tuple(histograms(vectors_BF)),
            best_epoch=best_epoch,
            history=history,
            by_nightly=sources.inputs.by_nightly,
        ),
        metrics={"validation": history[best_epoch - 1]},
        code_version=code_version(),
        git_revision=git_revision(),
        created_at=storage.utc_now(),
    )
    version = f"{cfg.model}/{work.run_id}"
    # Calibration needs the predictions of the model, so the model is first saved to the scratch space.
    distributions = fit_distributions(vectors_BF, data.inputs.features)
    bare = dataclasses.replace(card, outlier_limits=dict.fromkeys(distributions, sys.float_info.max))
    scratch = work.warehouse.tmp(work.run_id, "model")
    artifact.save(scratch, bare, best, distributions)
    model = ModelVersion(version, scratch, bare)
    uncalibrated = PredictionInputs(work.warehouse, sources.inputs.tracks, data.inputs, model)
    card = _calibrated(uncalibrated, data, sources)
    folder = work.warehouse.path("models", version)
    artifact.save(folder, card, best, distributions)
    storage.discard(plan.checkpoints)
    validation = history[best_epoch - 1].validation_accuracy
    shown = "no validation rows" if validation is None else f"validation accuracy {validation:.3f}"
    LOGGER.info("model %s: weights of epoch %d, %s", version, best_epoch, shown)
    summary = {"model_version": version, "path": folder, "rows": data.rows, "best_epoch": best_epoch}
    return command.Outcome(summary, f"model {version}: {len(data.classes)} classes, epoch {best_epoch}")


def _why_not(data: TrainingSet, sources: Sources) -> str | None:
    """Why the accuracy on unknown tracks cannot be measured; None if it can."""
    if TracksDetails.of(sources.inputs.tracks).split.by is SplitBy.ROWS:
        return "the split is by rows, so the train split contains other labels of the validation tracks"
    return None if data.rows[Split.VALIDATION] else "there are no validation pairs"


def _calibrated(inputs: PredictionInputs, data: TrainingSet, sources: Sources) -> ModelCard:
    """The card of a trained model with the results of its predictions for validation tracks of some artists.

    The limits of outliers need no labels: without validation tracks, they come from the train tracks.
    """
    card, columns = inputs.model.card, inputs.features.columns
    split = Split.VALIDATION if data.rows[Split.VALIDATION] else Split.TRAIN
    tracks = labeled_tracks(sources.tracks, sources.pairs, split, card.classes, columns)
    sample = tracks.orderBy(unit_hash("calibration", 0, "artist"), "track_id").limit(MAX_TRACKS)
    predicted = predictions.collected(inputs, sample.withColumn("unseen", F.lit(False)))
    distances = zip(card.outlier_limits, predicted.distances_TI.T, strict=True)
    limits = {name: limit_of(distance_T) for name, distance_T in distances}
    card = dataclasses.replace(card, outlier_limits=limits)
    if why := _why_not(data, sources):
        LOGGER.info("temperature 1: %s", why)
        return card
    artist_T = np.where(outliers(card, predicted.distances_TI), -1, predicted.artist_T)
    return _confident(card, predicted.alone, artist_T, sources.inputs.settings)


def _confident(
    card: ModelCard, held_out: HeldOut, artist_T: npt.NDArray[np.int64], settings: Config
) -> ModelCard:
    """The card with what makes probabilities, of shape (T, C), calibrated, and with thresholds.

    `held_out` has the predictions of the network, and `artist_T` the artists, as in `with_other_tracks`.
    """
    p_TC = held_out.probabilities_TC
    temperature = fitted_temperature(held_out, artist_weights(held_out.artist_T))
    tracks, artists = len(held_out.artist_T), len(set(held_out.artist_T))
    LOGGER.info("temperature %.3f, from %d validation tracks of %d artists", temperature, tracks, artists)
    card = dataclasses.replace(card, temperature=temperature)
    if settings.pool_artists:
        alone = dataclasses.replace(held_out, probabilities_TC=calibrated(card, p_TC))
        pooling = fitted_artist_pooling(alone, artist_T)
        LOGGER.info("an artist's other tracks: %s", pooling or "not used, because they do not help")
        card = dataclasses.replace(card, artist_pooling=pooling)
    precision = settings.target_precision
    if precision is None:
        return card
    held_out = dataclasses.replace(held_out, probabilities_TC=calibrated(card, p_TC, artist_T))
    thresholds = fitted_thresholds(held_out, [card.clusters.get(name) for name in card.classes], precision)
    card = dataclasses.replace(card, thresholds=thresholds)
    tagged = 1 - float(abstentions(card, held_out.top_T, held_out.confidence_T).mean())
    LOGGER.info("precision %.2f: %.1f %% of validation tracks are tagged", precision, 100 * tagged)
    if tagged == 0:
        LOGGER.warning("no confidence reaches --target-precision %g: this model tags no track", precision)
    return card
