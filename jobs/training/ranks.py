"""Runs the ranks of a training: processes on this machine, or tasks on a cluster."""

import contextlib
import logging
import sys

from pyspark.errors import PySparkException
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from genremill.infra import records, storage
from genremill.infra.errors import GenremillError, StorageError, UsageError
from genremill.infra.session import is_local, raised_in_worker
from genremill.models.training import checkpoints, local_ranks, loop
from genremill.models.training.checkpoints import FAILURE, Checkpoint, Diverged, Failure
from genremill.models.training.plan import Plan

RAISED: dict[int, type[GenremillError]] = {int(kind.exit_code): kind for kind in (UsageError, StorageError)}
"""The error that is raised for the exit code of a rank."""


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
