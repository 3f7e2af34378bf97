"""Trains a model on a training set and writes the model version."""

import dataclasses
import sys
from dataclasses import dataclass

from pyspark.sql import SparkSession
from torch import nn

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.version import code_version, git_revision
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.training import calibration as calibration_run
from genremill.jobs.training.dataset import TrainingSet
from genremill.jobs.training.fit_sample import sample
from genremill.jobs.training.rank_plan import planned
from genremill.jobs.training.ranks import run_ranks
from genremill.jobs.training.sources import Sources
from genremill.models import artifact
from genremill.models.encoders.base import joined_rows
from genremill.models.evaluation.drift import Histogram, histograms
from genremill.models.model_card import TrainingRecord
from genremill.models.outliers import fit_distributions
from genremill.models.training.checkpoints import Checkpoint
from genremill.models.training.plan import Plan


@dataclass(frozen=True)
class _TrainFeatures:
    """The distribution of the features in the train split."""

    distributions: nn.ModuleDict
    """Distribution of the train tracks, by input, which finds outliers."""
    histograms: list[Histogram]
    """Histogram of each feature."""


def fit(spark: SparkSession, work: command.Run, data: TrainingSet, sources: Sources) -> command.Outcome:
    """Trains on a training set and writes the model version."""
    cfg = sources.inputs.settings
    why = calibration_run.why_not(sources.inputs.tracks, data.rows[Split.VALIDATION])
    if cfg.target_precision is not None and why is not None:
        raise UsageError(f"--target-precision {cfg.target_precision} cannot be measured: {why}")
    samples = sample(data)
    plan = planned(work, cfg, data, sources, samples)
    last = run_ranks(spark, plan)
    vectors_BF = joined_rows(samples, data.inputs.vectors)
    train_features = _TrainFeatures(
        fit_distributions(vectors_BF, data.inputs.features), histograms(vectors_BF)
    )
    return _seal(work, plan, last, data, sources, train_features)


def _seal(
    work: command.Run,
    plan: Plan,
    last: Checkpoint,
    data: TrainingSet,
    sources: Sources,
    train_features: _TrainFeatures,
) -> command.Outcome:
    cfg, best = sources.inputs.settings, last.part("best")
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
            histograms=tuple(train_features.histograms),
            best_epoch=best_epoch,
            history=history,
        ),
        metrics={"validation": history[best_epoch - 1]},
        code_version=code_version(),
        git_revision=git_revision(),
        created_at=storage.utc_now(),
    )
    version = f"{cfg.model}/{work.run_id}"
    # The model is calibrated on its own predictions: for these it is first saved to the scratch space.
    bare = dataclasses.replace(
        card, outlier_limits=dict.fromkeys(train_features.distributions, sys.float_info.max)
    )
    scratch = work.warehouse.tmp(work.run_id, "model")
    artifact.save(scratch, bare, best, train_features.distributions)
    uncalibrated = PredictionInputs(
        work.warehouse, sources.inputs.tracks, data.inputs, ModelVersion(version, scratch, bare)
    )
    card = calibration_run.calibrated(
        uncalibrated, sources.labeled, data.rows[Split.VALIDATION], cfg.target_precision
    )
    folder = work.warehouse.path("models", version)
    artifact.save(folder, card, best, train_features.distributions)
    storage.remove(plan.checkpoints)
    validation = history[best_epoch - 1].validation_accuracy
    shown = "no validation rows" if validation is None else f"validation accuracy {validation:.3f}"
    LOGGER.info("model %s: best epoch %d, %s", version, best_epoch, shown)
    summary = {"model_version": version, "path": folder, "rows": data.rows, "best_epoch": best_epoch}
    return command.Outcome(summary, f"model {version}: {len(data.classes)} classes, best epoch {best_epoch}")
