"""The training loop of a rank: petastorm reads its shards, DDP averages gradients over ranks.

Random numbers depend on (seed, epoch, rank) only, so a run that continues from a checkpoint ends with the
same weights as an uninterrupted run. Shape suffixes: H heads, B batch, C classes, P measured rows.
"""

import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genremill.infra import records, storage
from genremill.infra.errors import GenremillError
from genremill.infra.log import LOGGER, start_log
from genremill.models import artifact
from genremill.models.encoders.base import Inputs
from genremill.models.model_card import Epoch
from genremill.models.networks.base import Network
from genremill.models.recipe import Watch
from genremill.models.training import checkpoints, optimizer, rank_group
from genremill.models.training.checkpoints import FAILURE, Checkpoint, Diverged, Failure, Progress
from genremill.models.training.manifest import read_manifest
from genremill.models.training.plan import Plan
from genremill.models.training.shards import ShardReader

FEWEST_A_BATCH = 3
"""Smallest batch size: any 4 or more rows split into batches of 2 or 3, and BatchNorm needs 2."""
BATCH = 4096
"""Rows of a batch without gradients."""
MEASURED_ROWS = 1024
"""Train rows on which a model without gradients is measured."""


def train_rank(plan: Plan) -> list[Epoch]:
    """Trains as one rank of a process group. The last checkpoint contains the best weights."""
    rank = int(os.environ["RANK"])
    start_log(plan.run_id, "train" if rank == 0 else f"train[{rank}]")
    torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with rank_group.joined(rank_group.device()) as device:
            return _Trainer(plan, rank, device).train()
    except GenremillError as err:
        failure = Failure(err.exit_code, str(err), isinstance(err, Diverged))
        storage.write_atomic(f"{plan.checkpoints}/{FAILURE}", records.to_json(failure))
        raise


class _Trainer:
    """The state of training on one rank."""

    def __init__(self, plan: Plan, rank: int, device: torch.device) -> None:
        self.plan, self.rank, self.device = plan, rank, device
        self.recipe = plan.recipe
        torch.manual_seed(plan.seed)
        self.network = artifact.build(plan.card).to(device)
        encoder = artifact.read_weights(f"{plan.initial}/encoder.safetensors", plan.initial_sha256)
        self.network.load_state_dict(encoder, strict=False)
        self.network.start()
        self.parallel = _synchronized(self.network) if self.network.is_trainable else self.network
        self.optimizer = optimizer.adamw(self.network, self.recipe)
        self.manifest = read_manifest(plan.train)
        batch = max(self.recipe.batch // plan.workers, FEWEST_A_BATCH)
        self.reader = ShardReader(plan.train, self.manifest, batch, rank, plan.workers, plan.seed)
        self.steps = self.reader.steps
        self.history: list[Epoch] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_figure = 0, math.inf

    def train(self) -> list[Epoch]:
        first = self._resume() + 1
        if self.network.uses_all_rows:
            self.network.fit_train(self._all_rows(self.plan.train))
        for epoch in range(first, self.recipe.epochs + 1):
            patience = self.recipe.patience
            if patience is not None and len(self.history) - self.best_epoch >= patience:
                break
            self._epoch(epoch)
        if self.plan.validation:
            self._fit_held_out()
        return self.history

    def _fit_held_out(self) -> None:
        """Fits the best weights on held-out rows. Every rank gets the same result."""
        folder = self.plan.validation or ""
        self.network.load_state_dict(self.best)
        self.network.eval().fit_held_out(self._all_rows(folder))
        state = self.network.state_dict()
        if all(torch.equal(value, self.best[name]) for name, value in state.items()):
            return
        self.best = {name: value.detach().clone() for name, value in state.items()}
        loss, accuracy = self._validate(folder)
        best = self.history[self.best_epoch - 1]
        self.history[self.best_epoch - 1] = dataclasses.replace(
            best, validation_loss=loss, validation_accuracy=accuracy
        )
        if self.rank == 0:
            self._checkpoint(len(self.history))
            LOGGER.info("Fitted on held-out rows: validation loss %.4f, accuracy %.3f", loss, accuracy)
        dist.barrier()

    def _all_rows(self, folder: str) -> Iterator[tuple[Inputs, Tensor]]:
        """All rows of all ranks, in the order of the files."""
        return self._batches(ShardReader(folder, read_manifest(folder), BATCH, shuffle=False), epoch=1)

    def _batches(self, reader: ShardReader, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        for inputs, label_B in reader.epoch(epoch):
            yield {name: x.to(self.device) for name, x in inputs.items()}, label_B.to(self.device)

    def _epoch(self, epoch: int) -> None:
        started = time.monotonic()
        seed = hashlib.sha256(f"{self.plan.seed} {epoch} {self.rank}".encode()).digest()[:7]
        torch.manual_seed(int.from_bytes(seed, "big"))
        learn = self._train_pass if self.network.is_trainable else self._measure_train
        loss, cross_entropy, correct, rows = learn(epoch)
        validation = self._validate(self.plan.validation) if self.plan.validation else (None, None)
        record = Epoch(
            epoch=epoch,
            train_loss=loss / rows,
            train_accuracy=correct / rows,
            validation_loss=validation[0],
            validation_accuracy=validation[1],
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - started,
            rows=rows,
            train_cross_entropy=cross_entropy / rows,
        )
        self.history.append(record)
        self._keep_best(epoch, record)
        if self.rank == 0:
            self._checkpoint(epoch)
            LOGGER.info(_progress_line(record, self.recipe.epochs))
        dist.barrier()

    def _train_pass(self, epoch: int) -> tuple[float, float, int, int]:
        """Trains on all rows once. Returns the sums of loss, cross-entropy, correct predictions and rows."""
        self.parallel.train(True)
        totals = torch.zeros(4, dtype=torch.float64)
        first = (epoch - 1) * self.steps
        for step, (inputs, label_B) in enumerate(self._batches(self.reader, epoch), start=first):
            loss, cross_entropy, right = self._step(step, inputs, label_B)
            if not math.isfinite(loss):
                raise Diverged(
                    f"the loss is {loss} in epoch {epoch}, step {step + 1 - first} of {self.steps}, "
                    f"on rank {self.rank}. Try a lower --learning-rate"
                )
            sums = [loss * len(label_B), cross_entropy, right, len(label_B)]
            totals += torch.tensor(sums, dtype=torch.float64)
        loss_sum, cross_entropy_sum, correct, rows = self._sum_over_ranks(totals)
        if int(rows) != self.manifest.rows:
            raise GenremillError(
                f"epoch {epoch} read {int(rows)} rows, the manifest has {self.manifest.rows}"
            )
        return loss_sum, cross_entropy_sum, int(correct), int(rows)

    def _measure_train(self, _: int) -> tuple[float, float, int, int]:
        """Loss and correct predictions on the first train rows, extrapolated to all rows."""
        inputs, label_B = next(self._all_rows(self.plan.train))
        label_P = label_B[:MEASURED_ROWS]
        p_PC = self.network.probabilities({name: x[:MEASURED_ROWS] for name, x in inputs.items()})
        loss, correct = _loss_and_correct(p_PC.cpu(), label_P.cpu())
        share = self.manifest.rows / len(label_P)
        return loss * share, loss * share, round(correct * share), self.manifest.rows

    def _step(self, step: int, inputs: Inputs, label_B: Tensor) -> tuple[float, float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step, self.steps)
        logits_HBC: Tensor = self.parallel(inputs)
        loss = self.network.loss(logits_HBC, label_B, self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimizer.step()
        p_BC = self.network.predictive_logits(logits_HBC.detach()).softmax(dim=-1).mean(dim=0)
        return loss.item(), *_loss_and_correct(p_BC, label_B)

    def _validate(self, folder: str) -> tuple[float, float]:
        """Mean cross-entropy and accuracy over the validation rows of all ranks."""
        manifest = read_manifest(folder)
        reader = ShardReader(folder, manifest, BATCH, self.rank, self.plan.workers, shuffle=False)
        totals = torch.zeros(2, dtype=torch.float64)
        for inputs, label_B in self._batches(reader, epoch=1):
            p_BC = self.network.eval().probabilities(inputs)
            totals += torch.tensor(_loss_and_correct(p_BC, label_B), dtype=torch.float64)
        loss, correct = self._sum_over_ranks(totals)
        return loss / manifest.rows, correct / manifest.rows

    def _sum_over_ranks(self, values: Tensor) -> list[float]:
        summed = values.to(self.device)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def _keep_best(self, epoch: int, record: Epoch) -> None:
        """Keeps the weights of the best validation figure, or the last ones if training never stops early.

        A schedule that ends at a rate of 0 is best at its end: on the Spotify table, split by artist, the
        last epoch had a top-1 accuracy of .199, the epoch with the lowest loss .191.
        """
        figure = record.validation_loss
        if self.recipe.watch is Watch.ACCURACY and record.validation_accuracy is not None:
            figure = -record.validation_accuracy
        stops_early = self.recipe.patience is not None
        if figure is None or not stops_early or figure < self.best_figure - self.recipe.min_delta:
            self.best_epoch, self.best_figure = epoch, self.best_figure if figure is None else figure
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _checkpoint(self, epoch: int) -> None:
        state = optimizer.tensors(self.optimizer)
        parts = {"model": self.network.state_dict(), "best": self.best, "optimizer": state}
        tensors = {f"{part}.{name}": value for part, named in parts.items() for name, value in named.items()}
        figure = self.best_figure if math.isfinite(self.best_figure) else None
        progress = Progress(tuple(self.history), self.best_epoch, figure)
        checkpoints.save(self.plan.checkpoints, Checkpoint(epoch, tensors, progress))

    def _resume(self) -> int:
        """Restores the newest checkpoint and returns its epoch; 0 if training starts from the beginning."""
        newest = checkpoints.newest(self.plan.checkpoints) if self.plan.resume else None
        if newest is None:
            return 0
        self.network.load_state_dict(newest.part("model"))
        optimizer.load(self.optimizer, newest.part("optimizer"))
        self.best = {name: value.to(self.device) for name, value in newest.part("best").items()}
        self.history, self.best_epoch = list(newest.progress.history), newest.progress.best_epoch
        figure = newest.progress.best_figure
        self.best_figure = math.inf if figure is None else figure
        if self.rank == 0:
            LOGGER.info("Resuming an interrupted training after epoch %d", newest.epoch)
        return newest.epoch


def _synchronized(network: Network) -> DistributedDataParallel:
    """The network with gradients averaged over ranks. Running statistics come from the first rank.

    Other buffers were fitted before training and are the same on all ranks, so they are not sent.
    """
    running = any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in network.modules())
    return DistributedDataParallel(network, forward_sync_buffers=running)


def _loss_and_correct(p_BC: Tensor, label_B: Tensor) -> tuple[float, int]:
    """Summed cross-entropy and the number of correct predictions."""
    truth_B = p_BC.gather(1, label_B[:, None]).clamp_min(1e-12)
    return float(-truth_B.log().sum()), int((p_BC.argmax(dim=-1) == label_B).sum())


def _progress_line(record: Epoch, epochs: int) -> str:
    line = f"Epoch {record.epoch} of {epochs}: loss {record.train_loss:.4f}, "
    line += f"accuracy {record.train_accuracy:.3f}"
    if record.validation_loss is not None and record.validation_accuracy is not None:
        line += f"; validation {record.validation_loss:.4f}, {record.validation_accuracy:.3f}"
    rate = record.rows / max(record.seconds, 1e-9)
    left = (epochs - record.epoch) * record.seconds
    return f"{line}; {record.seconds:.1f} s, {rate:,.0f} rows/s, {left:.0f} s left"
