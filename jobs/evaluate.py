"""Measures a model version on held-out tracks and writes the metrics and an HTML report.

Reads a model version, the run of `tracks` that it was trained on, and `features` if an input is audio.
Writes `reports/<run_id>/`.

    spark-submit jobs/evaluate.py --warehouse file:///data/warehouse
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

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


WrittenReport: TypeAlias = tuple[dict[str, object], str, dict[str, str]]
"""The summary, the text, and the files of a report by name: the page first."""


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
        from genremill.jobs.evaluation import comparison  # here: torch takes long

        comparison.check({each.model.version: each.model.card for each in inputs})
    return inputs


def run(spark: SparkSession, work: command.Run, inputs: Sequence[PredictionInputs]) -> command.Outcome:
    """Predicts the held-out tracks, measures, and writes the report."""
    from genremill.jobs.evaluation import measure  # here: torch takes seconds

    header = Header.of(work.warehouse, work.run_id, inputs[0].tracks)
    measured = [
        measure.measured(each, held_out_tracks.sampled(spark, work, each), each.read_tracks(spark), header)
        for each in inputs
    ]
    if len(inputs) > 1:
        summary, text, files = _comparison(inputs, [metrics for metrics, _ in measured], header)
    else:
        summary, text, files = _report(*measured[0])
    if work.dry_run:
        return command.Outcome(summary, f"{text}\ndry run: no report written")
    folder = work.warehouse.path("reports", work.run_id)
    for name, content in files.items():
        storage.write_atomic(f"{folder}/{name}", content.encode())
    report = f"{folder}/{next(iter(files))}"
    return command.Outcome(summary | {"report": report}, f"{text}\nreport: {report}")


def _report(metrics: "Metrics", page: str) -> WrittenReport:
    version, figures, as_json = metrics.subject.model_version, metrics.figures, metrics.as_json()
    text = (
        f"{version} on {figures.rows:,} held-out pairs, {metrics.split} split: top-1 "
        f"{figures.top1.value:.3f} of at most {figures.ceiling_top1:.3f}, top-5 {figures.top5.value:.3f}"
    )
    LOGGER.info(text)
    files = {"report.html": page, "metrics.json": json.dumps(as_json, indent=1)}
    return {"model_version": version, "metrics": as_json}, text, files


def _comparison(
    inputs: Sequence[PredictionInputs], metrics: "list[Metrics]", header: Header
) -> WrittenReport:
    from genremill.jobs.evaluation import comparison  # here: torch takes long

    compared = [
        comparison.Compared(figures, comparison.cost_of(each.model.folder, each.model.card))
        for each, figures in zip(inputs, metrics, strict=True)
    ]
    summary: dict[str, object] = {"models": [each.as_json() for each in compared]}
    page = comparison.render(compared, header)
    files = {"comparison.html": page, "comparison.json": json.dumps(summary, indent=1)}
    return summary, "\n".join(each.line for each in compared), files


main = command.job("evaluate", __doc__, Config, ready, command.with_spark("evaluate", run))

if __name__ == "__main__":
    raise SystemExit(main())
