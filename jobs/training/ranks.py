"""Plans and runs the ranks that train a model; encoders are fitted on a sample of the rows."""

import contextlib
import dataclasses
import logging
import sys
from typing import Any

import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.errors import PySparkException
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from genremill.infra import records, storage
from genremill.infra.errors import GenremillError, StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import is_local, raised_in_worker
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.training.dataset import AUGMENTED, TrainingSet
from genremill.jobs.training.settings import Config
from genremill.jobs.training.sources import Sources
from genremill.models import artifact, zoo
from genremill.models.encoders.base import joined_rows
from genremill.models.encoders.table import codes_in, with_limits, with_missing_marked
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import ScalingRule
from genremill.models.model_card import Cluster, ModelCard
from genremill.models.training import checkpoints, local_ranks, loop, manifest, plan as training_plan
from genremill.models.training.checkpoints import FAILURE, Checkpoint, Diverged, Failure
from genremill.models.training.plan import Plan
from genremill.udfs.arrow_rows import matrix

THREADS = 1
"""Threads per rank: small networks gain little from a second thread, and lose much if cores are shared."""
FIT_ROWS, FIT_VALUES = 1_000_000, 32_000_000
"""Limits of the sample on which an encoder is fitted: train rows, and values in them."""
SCAN_ROWS = 1024
RAISED: dict[int, type[GenremillError]] = {int(kind.exit_code): kind for kind in (UsageError, StorageError)}
"""The error that is raised for the exit code of a rank."""

Samples = dict[str, npt.NDArray[Any]]
"""Raw inputs by name, each of shape (rows, width)."""


def sample(data: TrainingSet) -> Samples:
    """The first train rows of original audio: a random sample, because the shards are in hash order."""
    left = min(FIT_ROWS, max(FIT_VALUES // data.inputs.values, 1))
    names = list(data.inputs.names)
    store, folder = storage.arrow(data.train)
    tables = []
    with manifest.storage_errors(data.train):
        # Without read-ahead: a scanner would read far more rows than are needed.
        shard_rows = ds.dataset(folder, filesystem=store, format="parquet")
        batches = shard_rows.to_batches(
            filter=~ds.field(AUGMENTED) if AUGMENTED in shard_rows.schema.names else None,
            columns=names,
            batch_size=SCAN_ROWS,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
        )
        for batch in batches:
            tables.append(batch.slice(0, left))
            left -= len(tables[-1])
            if not left:
                break
    table = pa.Table.from_batches(tables)
    return {name: matrix(table.column(name)) for name in names}


def planned(work: command.Run, cfg: Config, data: TrainingSet, sources: Sources, samples: Samples) -> Plan:
    """The plan of the ranks, with encoders that are fitted on the samples."""
    entry, rows = zoo.entry(cfg.model), data.windows[Split.TRAIN]
    card = _card(cfg, data, sources, samples)
    flags = ("epochs", "batch", "learning_rate", "schedule", "patience")
    given = {name: value for name in flags if (value := getattr(cfg, name)) is not None}
    recipe = dataclasses.replace(entry.recipe(rows), **given)
    encoder = zoo.encoder(card)
    encoder.learn({**samples, **data.known})
    network = entry.build(encoder, len(card.classes), card.size)
    bare = dataclasses.replace(card, snapshots={}, clusters={}, genre_map={})
    digest = training_plan.digest(bare, recipe, cfg.seed, cfg.workers, THREADS, list(data.digests))
    initial = work.warehouse.tmp(work.run_id, "initial")
    LOGGER.info(
        "%s from %s on %d rows of %d train pairs, %d classes: %d epochs of batch %d, %d worker(s)",
        *(cfg.model, "+".join(card.inputs), rows, data.rows[Split.TRAIN], len(data.classes)),
        *(recipe.epochs, recipe.batch, cfg.workers),
    )
    return Plan(
        card=card,
        recipe=recipe,
        seed=cfg.seed,
        workers=cfg.workers,
        threads=THREADS,
        train=data.train,
        validation=data.validation,
        initial=initial,
        initial_sha256=artifact.write_weights(f"{initial}/encoder.safetensors", artifact.fitted(network)),
        checkpoints=work.warehouse.path("_checkpoints", digest),
        run_id=work.run_id,
        resume=cfg.resume,
    )


def _card(cfg: Config, data: TrainingSet, sources: Sources, samples: Samples) -> ModelCard:
    """The card of the untrained model."""
    inputs, genre_map, made_from = data.inputs, sources.genre_map, sources.inputs.made_from
    by_genre, vectors_BF = cfg.labels is Labels.GENRE, joined_rows(samples, inputs.vectors)
    features = with_missing_marked(vectors_BF, inputs.features)
    return ModelCard(
        model=cfg.model,
        classes=data.classes,
        features=with_limits(vectors_BF, features) if cfg.scaling is ScalingRule.ROBUST else features,
        size=zoo.entry(cfg.model).size(data.windows[Split.TRAIN]),
        categories=len(codes_in(vectors_BF, inputs.features)),
        labels=cfg.labels.value,
        use_popularity=any(feature.is_popularity for feature in inputs.features),
        clusters={genre if by_genre else name: Cluster(number, name) for genre, number, name in genre_map},
        genre_map={genre: number for genre, number, _ in genre_map},
        inputs=inputs.names,
        shapes=dict(inputs.shapes),
        parts=cfg.part_names,
        tokens={name: len(known) for name, known in data.known.items()},
        fingerprints=inputs.fingerprints,
        scaling_rule=cfg.scaling,
        pooling=cfg.pooling,
        together=data.together,
        snapshots={name: made_from[name] for name in ("tracks", "genre_map") if made_from[name]},
    )


def run_ranks(spark: SparkSession, plan: Plan) -> Checkpoint:
    """Runs the ranks to their end; returns the last checkpoint, or raises the error of a failed rank."""
    failed = f"{plan.checkpoints}/{FAILURE}"
    storage.remove_object(failed)
    if not plan.resume:
        storage.remove(plan.checkpoints)
    logging.getLogger("TorchDistributor").setLevel(logging.ERROR)
    try:
        if is_local(spark):
            gpu = spark.sparkContext.resources.get("gpu")
            local_ranks.train(plan, gpu.addresses if gpu else ())
        else:
            gpus = int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or "0")
            distributor = TorchDistributor(plan.workers, local_mode=False, use_gpu=gpus > 0)
            with contextlib.redirect_stdout(sys.stderr):  # ranks print there, results go to stdout
                distributor.run(loop.train_rank, plan)
    except (RuntimeError, PySparkException) as err:  # from a process here, from a task on a cluster
        if storage.is_object(failed):
            record = records.from_json(storage.read_bytes(failed), Failure, failed)
            if record.diverged:
                raise Diverged(record.message) from err
            raise RAISED.get(record.exit_code, GenremillError)(record.message) from err
        raise raised_in_worker(str(err)) or StorageError(
            f"a training process died; run the same command again to continue after the last epoch: {err}"
        ) from err
    last = checkpoints.newest(plan.checkpoints)
    if last is None:
        raise StorageError(f"the training has written no complete checkpoint to {plan.checkpoints}")
    return last
