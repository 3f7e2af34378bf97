"""Measures a model version on held-out tracks and writes the metrics and an HTML report.

Reads a model version, the run of `tracks` that it was trained on, and `features` if an input is audio.
Writes `reports/<run_id>/`.

    spark-submit jobs/evaluate.py --warehouse file:///data/warehouse
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.evaluation import held_out_tracks
from genremill.jobs.job_inputs import PredictionInputs

if TYPE_CHECKING:
    from genremill.models.evaluation.metrics import Metrics


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which models are evaluated."""

    model_version: tuple[str, ...] = ()
    """Model versions as NAME/VERSION; with several, the report compares them. [the newest version]"""


def ready(warehouse: Warehouse, cfg: Config) -> list[PredictionInputs]:
    """The inputs of each model version; raises on every error that is visible without Spark."""
    versions = dict.fromkeys(cfg.model_version or (None,))
    inputs = [held_out_tracks.resolve(warehouse, version) for version in versions]
    if len(inputs) > 1:
        from genremill.jobs.evaluation import comparison  # here: scipy takes long

        comparison.check({each.model.version: each.model.card for each in inputs})
    return inputs


def run(spark: SparkSession, work: command.Run, inputs: Sequence[PredictionInputs]) -> command.Outcome:
    """Predicts the held-out tracks, measures, and writes the report."""
    if len(inputs) > 1:
        return _compare(spark, work, inputs)
    metrics, page = _measured(spark, work, inputs[0])
    version, figures = metrics.subject.model_version, metrics.figures
    text = (
        f"{version} on {figures.rows:,} held-out pairs, {metrics.split} split: "
        f"top-1 {figures.top1.value:.3f} of at most {figures.ceiling_top1:.3f}, "
        f"top-5 {figures.top5.value:.3f}"
    )
    LOGGER.info(text)
    summary: dict[str, object] = {"model_version": version, "metrics": metrics.as_json()}
    return _written(work, summary, text, "report.html", page, "metrics.json", metrics.as_json())


def _measured(spark: SparkSession, work: command.Run, inputs: PredictionInputs) -> "tuple[Metrics, str]":
    """The figures of one version on its held-out tracks, and the page of its report."""
    from genremill.jobs.evaluation import measure  # here: torch takes seconds

    sample, header = held_out_tracks.sampled(spark, work, inputs), _header(work, inputs)
    return measure.measured(inputs, sample, inputs.read_tracks(spark), header)


def _header(work: command.Run, inputs: PredictionInputs) -> Header:
    return Header.of(work.warehouse, work.run_id, inputs.tracks)


def _compare(spark: SparkSession, work: command.Run, inputs: Sequence[PredictionInputs]) -> command.Outcome:
    """Measures several versions, and writes one page that compares them."""
    from genremill.jobs.evaluation import comparison, cost  # here: scipy takes long

    compared = [
        comparison.Compared(_measured(spark, work, each)[0], cost.cost_of(each.model.folder, each.model.card))
        for each in inputs
    ]
    summary: dict[str, object] = {"models": [each.as_json() for each in compared]}
    text = "\n".join(each.line for each in compared)
    page = comparison.render(compared, _header(work, inputs[0]))
    return _written(work, summary, text, "comparison.html", page, "comparison.json", summary)


def _written(
    work: command.Run,
    summary: dict[str, object],
    text: str,
    page_name: str,
    page: str,
    figures_name: str,
    figures: dict[str, object],
) -> command.Outcome:
    if work.dry_run:
        return command.Outcome(summary, f"{text}\ndry run: no report written")
    folder = work.warehouse.path("reports", work.run_id)
    report = f"{folder}/{page_name}"
    storage.write_atomic(report, page.encode())
    storage.write_atomic(f"{folder}/{figures_name}", json.dumps(figures, indent=1).encode())
    return command.Outcome(summary | {"report": report}, f"{text}\nreport: {report}")


main = command.job("evaluate", __doc__, Config, ready, command.with_spark("evaluate", run))

if __name__ == "__main__":
    raise SystemExit(main())
