"""Trains over a grid of learning rates, batch sizes and epochs, and charts accuracy and time.

A combination that was trained before with the same inputs, settings and code is not trained again, so a
study that was killed can continue, and a grid can grow. Accuracy and loss are measured on validation
tracks, so the test split stays unused. The models are not kept: `train` with the same settings makes a
model version.

Takes the flags of `train` with the prefix `--train.`, such as `--train.model linear`. Reads what `train`
reads. Writes `studies/<digest>/`: `cells/*.json`, `study.json` and `study.html`.

    spark-submit jobs/study.py --warehouse file:///data/warehouse --learning-rates 1e-3 1e-2 --batches 64 256
"""

import dataclasses

from pyspark.sql import SparkSession

from genremill.infra import lease
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.flags import in_section
from genremill.jobs.studies.grid import Config, StudyInputs, check
from genremill.jobs.training import sources


def ready(warehouse: Warehouse, cfg: Config) -> StudyInputs:
    """The inputs of the job; raises on every error that is visible without Spark."""
    from genremill.models.training import plan as training_plan  # here: torch takes seconds

    check(cfg)
    with in_section("train", cfg):
        return StudyInputs(cfg, sources.resolve(warehouse, cfg.train), training_plan.code_digest())


def run(spark: SparkSession, work: command.Run, inputs: StudyInputs) -> command.Outcome:
    """Trains the cells that have no result yet, and writes the page about all of them."""
    cfg = inputs.settings
    if work.dry_run:
        known, missing = inputs.known_and_missing()
        lines = [f"would train {cell}" for cell in missing] + [f"known: {cell}" for cell in known]
        would_train = [dataclasses.asdict(cell) for cell in missing]
        return command.Outcome({"would_train": would_train, "known": len(known)}, "\n".join(lines))
    from genremill.jobs.studies import trainings  # here: torch and scipy take seconds

    with in_section("train", cfg), lease.held(f"{inputs.folder}/_study.lease", work.run_id, wait=True):
        return trainings.study(spark, work, inputs)


main = command.job("study", __doc__, Config, ready, command.with_spark("study", run))

if __name__ == "__main__":
    raise SystemExit(main())
