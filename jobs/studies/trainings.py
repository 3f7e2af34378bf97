"""Trains the cells of a study, and writes their results and the page."""

import json
from collections.abc import Iterator

from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.pages.parts import Header
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.studies import page as study_page
from genremill.jobs.studies.grid import CellResult, GridPoint, StudyInputs, best_of, record
from genremill.jobs.training import sources
from genremill.jobs.training.ranks import planned, run_ranks, sample
from genremill.models.training import checkpoints


def study(spark: SparkSession, work: command.Run, inputs: StudyInputs) -> command.Outcome:
    """Trains the missing cells, and writes the records and the page of all cells."""
    known, missing = inputs.known_and_missing()
    counts = {"trained": len(missing), "known": len(known)}
    if missing:
        known |= {result.cell: result for result in _trained(spark, work, inputs, missing)}
    results = [known[cell] for cell in inputs.settings.cells]
    best = best_of(results)
    figures = {"best": best.as_json() if best else None, "cells": [result.as_json() for result in results]}
    document = json.dumps(figures | {"made_from": inputs.made_from}, indent=1)
    storage.write_atomic(f"{inputs.folder}/study.json", document.encode())
    header = Header.of(work.warehouse, work.run_id, inputs.training.tracks)
    page = study_page.render(inputs.settings.train.model, results, header)
    report = f"{inputs.folder}/study.html"
    storage.write_atomic(report, page.encode())
    text = "no cell has figures" if best is None else f"best of {len(results)}: {study_page.line(best)}"
    summary = counts | figures | {"report": report}
    return command.Outcome(summary, f"{text}\nreport: {report}", nothing_new=not missing)


def _trained(
    spark: SparkSession, work: command.Run, inputs: StudyInputs, cells: list[GridPoint]
) -> Iterator[CellResult]:
    """Trains cells on one training set, and saves the result of each before the next starts."""
    data, prepared = sources.prepared(spark, work, inputs.training)
    if data.validation is None:
        raise UsageError("a study needs validation tracks, and the split of these tracks has none")
    samples, pairs = sample(data), data.rows[Split.VALIDATION]
    for number, cell in enumerate(cells, start=1):
        LOGGER.info("training %d of %d: %s", number, len(cells), cell)
        plan = planned(work, inputs.settings.settings(cell), data, prepared, samples)
        try:
            last = run_ranks(spark, plan)
        except checkpoints.Diverged as err:
            LOGGER.warning("%s: %s", cell, err)
            result = CellResult(cell, pairs, failed=str(err))
        else:
            history, best_epoch = last.progress.history, last.progress.best_epoch
            best, seconds = history[best_epoch - 1], sum(epoch.seconds for epoch in history)
            measured = (best.validation_accuracy, best.validation_loss, best.train_accuracy)
            result = CellResult(cell, pairs, *measured, best_epoch, seconds)
        record(inputs.folder, result)
        storage.discard(plan.checkpoints)
        yield result
