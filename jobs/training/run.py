"""Trains a model on a training set and writes the model version."""

import contextlib
import dataclasses
import logging
import sys
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from pyspark.errors import PySparkException
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession
from torch import Tensor, nn

from genremill.infra import records, storage
from genremill.infra.errors import GenremillError, StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import is_local, raised_in_worker
from genremill.infra.version import code_version, git_revision
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.training import calibration as calibration_run
from genremill.jobs.training.dataset import TrainingSet, sample
from genremill.jobs.training.settings import Config
from genremill.jobs.training.sources import Sources
from genremill.models import artifact, zoo
from genremill.models.encoders.base import joined_rows
from genremill.models.encoders.table import codes_in
from genremill.models.evaluation.drift import Histogram, histograms
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import TEXT
from genremill.models.model_card import Cluster, ModelCard, TrainingRecord
from genremill.models.outliers import fit_distributions
from genremill.models.recipe import Recipe
from genremill.models.training import checkpoints, failure, local_ranks, loop, plan as training_plan
from genremill.models.training.checkpoints import Checkpoint
from genremill.models.training.plan import Plan
from genremill.models.weights import write_weights

THREADS = 1
"""Threads per rank: small networks gain little from a second thread, and lose much if cores are shared."""


RAISED: dict[int, type[GenremillError]] = {int(kind.exit_code): kind for kind in (UsageError, StorageError)}
"""The error that is raised for the exit code of a rank."""


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


def planned(
    work: command.Run,
    cfg: Config,
    data: TrainingSet,
    sources: Sources,
    samples: dict[str, npt.NDArray[Any]],
) -> Plan:
    """The plan of the ranks, with encoders that are fitted on the samples."""
    entry = zoo.entry(cfg.model)
    recipe = _recipe(entry.recipe(data.train_rows), cfg)
    vectors_BF = joined_rows(samples, data.inputs.vectors)
    by_genre = Labels(cfg.labels) is Labels.GENRE
    genre_map, made_from = sources.genre_map, sources.inputs.made_from
    card = ModelCard(
        model=cfg.model,
        classes=data.classes,
        features=data.inputs.features,
        size=entry.size(data.train_rows),
        categories=len(codes_in(vectors_BF, data.inputs.features)),
        labels=cfg.labels.value,
        use_popularity=any(one.is_popularity for one in data.inputs.features),
        clusters={genre if by_genre else name: Cluster(number, name) for genre, number, name in genre_map},
        genre_map={genre: number for genre, number, _ in genre_map},
        inputs=data.inputs.names,
        shapes=dict(data.inputs.shapes),
        parts=cfg.part_names,
        tokens=0 if data.known is None else len(data.known),
        fingerprints=dict(data.inputs.fingerprints),
        pooling=cfg.pooling,
        together=data.together,
        snapshots={name: made_from[name] for name in ("tracks", "genre_map") if made_from[name]},
    )
    encoder = zoo.encoder(card)
    encoder.learn(samples if data.known is None else samples | {TEXT: data.known})
    network = entry.build(encoder, len(card.classes), card.size)
    plan = _plan(work, cfg, card, recipe, data, artifact.fitted(network))
    LOGGER.info(
        "%s from %s on %d rows of %d train pairs, %d classes: %d epochs of batch %d, %d worker(s)",
        *(cfg.model, "+".join(card.inputs), data.train_rows, data.rows[Split.TRAIN], len(data.classes)),
        *(recipe.epochs, recipe.batch, cfg.workers),
    )
    return plan


@dataclass(frozen=True)
class _TrainFeatures:
    """The distribution of the features in the train split."""

    distributions: nn.ModuleDict
    """Distribution of the train tracks, by input, which finds outliers."""
    histograms: list[Histogram]
    """Histogram of each feature."""


def _recipe(recipe: Recipe, cfg: Config) -> Recipe:
    flags = ("epochs", "batch", "learning_rate", "schedule", "patience")
    return dataclasses.replace(recipe, **{name: v for name in flags if (v := getattr(cfg, name)) is not None})


def _plan(
    work: command.Run,
    cfg: Config,
    card: ModelCard,
    recipe: Recipe,
    data: TrainingSet,
    fitted: dict[str, Tensor],
) -> Plan:
    bare = dataclasses.replace(card, snapshots={}, clusters={}, genre_map={})
    digest = training_plan.digest(bare, recipe, cfg.seed, cfg.workers, THREADS, list(data.digests))
    initial = work.warehouse.tmp(work.run_id, "initial")
    return Plan(
        card=card,
        recipe=recipe,
        seed=cfg.seed,
        workers=cfg.workers,
        threads=THREADS,
        train=data.train,
        validation=data.validation,
        initial=initial,
        initial_sha256=write_weights(f"{initial}/encoder.safetensors", fitted),
        checkpoints=work.warehouse.path("_checkpoints", digest),
        run_id=work.run_id,
        resume=cfg.resume,
    )


def run_ranks(spark: SparkSession, plan: Plan) -> Checkpoint:
    """The last checkpoint of the ranks, run to their end; what one of them raised is this process's error."""
    failed = f"{plan.checkpoints}/{failure.FAILURE}"
    storage.remove_object(failed)
    if not plan.resume:
        storage.remove(plan.checkpoints)
    logging.getLogger("TorchDistributor").setLevel(logging.ERROR)
    try:
        if is_local(spark):
            found = spark.sparkContext.resources.get("gpu")
            local_ranks.train(plan, found.addresses if found else ())
        else:
            gpus = int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or "0")
            distributor = TorchDistributor(plan.workers, local_mode=False, use_gpu=gpus > 0)
            with contextlib.redirect_stdout(sys.stderr):  # ranks print there, results go to stdout
                distributor.run(loop.train_rank, plan)
    except (RuntimeError, PySparkException) as err:  # from a process here, from a task on a cluster
        if storage.is_object(failed):
            record = records.from_json(storage.read_bytes(failed), failure.Failure, failed)
            if record.diverged:
                raise failure.Diverged(record.message) from err
            raise RAISED.get(record.exit_code, GenremillError)(record.message) from err
        raise raised_in_worker(str(err)) or StorageError(
            f"a training process died; the same command goes on after the last epoch: {err}"
        ) from err
    last = checkpoints.newest(plan.checkpoints)
    if last is None:
        raise StorageError(f"the training left no whole checkpoint in {plan.checkpoints}")
    return last


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
        uncalibrated, sources.labelled, data.rows[Split.VALIDATION], cfg.target_precision
    )
    folder = work.warehouse.path("models", version)
    artifact.save(folder, card, best, train_features.distributions)
    storage.remove(plan.checkpoints)
    validation = history[best_epoch - 1].validation_accuracy
    shown = "no validation rows" if validation is None else f"validation accuracy {validation:.3f}"
    LOGGER.info("model %s: best epoch %d, %s", version, best_epoch, shown)
    summary = {"model_version": version, "path": folder, "rows": data.rows, "best_epoch": best_epoch}
    return command.Outcome(summary, f"model {version}: {len(data.classes)} classes, best epoch {best_epoch}")
