"""Trains over a grid of learning rates, batch sizes and epochs, and charts accuracy and time.

A combination that was trained before with the same inputs, settings and code is not trained again, so a
study that was killed can continue, and a grid can grow. Accuracy and loss are measured on validation
tracks, so the test split stays unused. The models are not kept: `train` with the same settings makes a
model version.

Reads what `train` reads. Writes `studies/<digest>/`: `cells/*.json`, `study.json` and `study.html`.

    spark-submit jobs/study.py --warehouse file:///data/warehouse --learning-rates 1e-3 1e-2 --batches 64 256
"""

import dataclasses
import hashlib
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pyspark.sql import SparkSession

from genremill.infra import lease, storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.pages.parts import Header
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.flags import in_section
from genremill.jobs.studies.grid import SETTINGS, Cell, Reached, best_of, record, recorded
from genremill.jobs.training import sources
from genremill.jobs.training.settings import Config as TrainConfig
from genremill.jobs.training.sources import TrainingInputs


@dataclass(frozen=True, kw_only=True)
class Config:
    """The grid of settings, and the settings that all trainings share."""

    learning_rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    """Largest learning rates to try."""
    batches: tuple[int, ...] = (32, 128, 512)
    """Batch sizes to try: pairs in a step, over all workers."""
    epoch_counts: tuple[int, ...] = (5, 10, 20)
    """Numbers of epochs to try."""
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def cells(self) -> list[Cell]:
        """The cells of the grid, the fastest first."""
        grid = itertools.product(self.learning_rates, self.batches, self.epoch_counts)
        return sorted((Cell(*one) for one in grid), key=lambda one: (one.epochs, -one.batch, one))

    def settings(self, cell: Cell) -> TrainConfig:
        """The settings of one training."""
        return dataclasses.replace(self.train, **dataclasses.asdict(cell))


@dataclass(frozen=True)
class StudyInputs:
    """What a study reads, and its settings."""

    settings: Config
    training: TrainingInputs
    code: str
    """Digest of the training code."""

    @property
    def made_from(self) -> dict[str, str]:
        """The record of what the result of a cell depends on, in addition to the cell itself."""
        shared = dataclasses.replace(self.training.settings, resume=True)
        return dataclasses.replace(self.training, settings=shared).made_from | {"code": self.code}

    @property
    def folder(self) -> str:
        """The folder of the study: studies with equal inputs share their results."""
        record = json.dumps(self.made_from, sort_keys=True).encode()
        return self.training.warehouse.path("studies", hashlib.sha256(record).hexdigest()[:20])


def ready(work: command.Run, cfg: Config) -> StudyInputs:
    """The inputs of the job; raises on every error that is visible without Spark."""
    from genremill.models.training import plan as training_plan  # here: torch takes seconds

    check(cfg)
    with in_section("train", cfg):
        return StudyInputs(cfg, sources.resolve(work.warehouse, cfg.train), training_plan.code_digest())


def run(spark: SparkSession, work: command.Run, inputs: StudyInputs) -> command.Outcome:
    """Trains the cells that have no result yet, and writes the page about all of them."""
    cfg = inputs.settings
    if work.dry_run:
        known, missing = _known(inputs)
        lines = [f"would train {cell}" for cell in missing] + [f"known: {cell}" for cell in known]
        would = {"would_train": [dataclasses.asdict(cell) for cell in missing], "known": len(known)}
        return command.Outcome(would, "\n".join(lines))
    with in_section("train", cfg), lease.held(f"{inputs.folder}/_study.lease", work.run_id, wait=True):
        return _studied(spark, work, inputs)


def _known(inputs: StudyInputs) -> tuple[dict[Cell, Reached], list[Cell]]:
    """The results of the cells that were trained before, and the cells that have to be trained."""
    cells = inputs.settings.cells
    known = recorded(inputs.folder, cells) if inputs.settings.train.resume else {}
    return known, [cell for cell in cells if cell not in known]


def _studied(spark: SparkSession, work: command.Run, inputs: StudyInputs) -> command.Outcome:
    from genremill.jobs.studies import page as study_page  # here: scipy takes long

    cfg, folder, made_from = inputs.settings, inputs.folder, inputs.made_from
    known, missing = _known(inputs)
    counts = {"trained": len(missing), "known": len(known)}
    if missing:
        known |= {one.cell: one for one in _trained(spark, work, inputs, missing)}
    reached = [known[cell] for cell in cfg.cells]
    best = best_of(reached)
    figures = {
        "best": best.as_json() if best else None,
        "cells": [one.as_json() for one in reached],
        "made_from": made_from,
    }
    storage.write_atomic(f"{folder}/study.json", json.dumps(figures, indent=1).encode())
    report = f"{folder}/study.html"
    header = Header.of(work.warehouse, work.run_id, inputs.training.tracks)
    page = study_page.render(cfg.train.model, reached, header)
    storage.write_atomic(report, page.encode())
    summary = counts | {"best": figures["best"], "cells": figures["cells"], "report": report}
    said = "no cell has figures" if best is None else f"best of {len(reached)}: {study_page.line(best)}"
    return command.Outcome(summary, f"{said}\nreport: {report}", nothing_new=not missing)


def _trained(
    spark: SparkSession, work: command.Run, inputs: StudyInputs, cells: list[Cell]
) -> Iterator[Reached]:
    """Trains cells on one training set, and saves the result of each before the next starts."""
    from genremill.jobs.training import run as training_run
    from genremill.jobs.training.dataset import sample
    from genremill.models.training import failure

    data, prepared = sources.prepared(spark, work, inputs.training)
    if data.validation is None:
        raise UsageError("a study needs validation tracks, and the split of these tracks has none")
    samples, pairs = sample(data), data.rows[Split.VALIDATION]
    for number, cell in enumerate(cells, start=1):
        LOGGER.info("training %d of %d: %s", number, len(cells), cell)
        plan = training_run.planned(work, inputs.settings.settings(cell), data, prepared, samples)
        try:
            last = training_run.run_ranks(spark, plan)
        except failure.Diverged as err:
            LOGGER.warning("%s: %s", cell, err)
            reached = Reached(cell, pairs, failed=str(err))
        else:
            reached = Reached.by(cell, pairs, last.progress.history, last.progress.best_epoch)
        record(inputs.folder, reached)
        storage.remove(plan.checkpoints)
        yield reached


def check(cfg: Config) -> None:
    """Raises on a grid or settings that are wrong for every data set."""
    grid: dict[str, tuple[float, ...]] = {
        "--learning-rates": cfg.learning_rates,
        "--batches": cfg.batches,
        "--epoch-counts": cfg.epoch_counts,
    }
    for flag, values in grid.items():
        shown = " ".join(f"{value:g}" for value in values)
        if not values or len(set(values)) < len(values):
            raise UsageError(f"{flag} {shown}: expected one or more different values")
        if flag == "--learning-rates" and not all(0 < value < math.inf for value in values):
            raise UsageError(f"{flag} {shown}: expected numbers above 0")
        if flag != "--learning-rates" and min(values) < 1:
            raise UsageError(f"{flag} {shown}: expected 1 or more")
    for name, flag in zip(SETTINGS, grid, strict=True):
        if getattr(cfg.train, name) is not None:
            raise UsageError(f"--train.{name.replace('_', '-')} is varied by the study; use {flag} instead")
    if cfg.train.target_precision is not None:
        raise UsageError(
            "--train.target-precision does not change the results of a study; use it with `genremill train`"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("study", __doc__, Config, command.with_spark("study", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
