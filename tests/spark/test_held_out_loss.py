"""The loss on held-out artists: its value, and why it has none."""

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from pyspark.sql import DataFrame, SparkSession

from genremill.infra.warehouse import Snapshot
from genremill.jobs.audits import paired_accuracy
from genremill.jobs.audits.audit import AuditInputs, Verdict
from tests.pure.test_missing_audit import BEFORE, inputs, tags

Rows: TypeAlias = list[tuple[str, str, list[str], str]]

LABELLED: Rows = [("1", "a", ["rock"], "test"), ("2", "b", ["pop"], "test"), ("3", "c", ["pop"], "train")]
UNLABELLED: Rows = [(track, artist, [], split) for track, artist, _, split in LABELLED]
ONLY_TRAINING = [*UNLABELLED[:2], LABELLED[2]]
ROCK, RIGHT, NONE = (("1", "rock"), ("2", "rock")), (("1", "rock"), ("2", "pop")), ()


@pytest.mark.parametrize(
    ("before", "now", "staged", "value", "verdict"),
    [
        (LABELLED, LABELLED, RIGHT, 0.5, Verdict.PASSED),
        (LABELLED, LABELLED, ROCK, 0.0, Verdict.PASSED),
        (UNLABELLED, LABELLED, ROCK, 0.0, Verdict.PASSED),
        (UNLABELLED, UNLABELLED, RIGHT, None, Verdict.NOT_APPLICABLE),
        (ONLY_TRAINING, ONLY_TRAINING, RIGHT, None, Verdict.NOT_APPLICABLE),
        (LABELLED, ONLY_TRAINING, RIGHT, None, Verdict.NOT_MEASURED),
        (LABELLED, LABELLED, NONE, None, Verdict.NOT_MEASURED),
    ],
)
def test_the_loss_and_why_it_has_no_value(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: Rows,
    now: Rows,
    staged: tuple[tuple[str, str], ...],
    value: float | None,
    verdict: Verdict,
) -> None:
    """The current tags are all `rock`, so that one of the two held-out tracks is right."""
    tracks = "track_id string, artist_id string, genres array<string>, split string"
    labels = "track_id string, top array<struct<label: string>>"
    frames = {
        f"tracks/run=t{number}": spark.createDataFrame(rows, tracks)
        for number, rows in ((1, before), (2, now))
    }
    for number, predicted in ((1, ROCK), (2, staged)):
        rows = [(track, [(label,)]) for track, label in predicted]
        frames[f"tags/run=r{number}"] = spark.createDataFrame(rows, labels)

    def read(self: AuditInputs, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        return frames[snapshot.path]

    given = inputs(tmp_path, BEFORE)
    given = replace(given, staged=tags("r2", "t2", "linear/r2"), card=replace(given.card, labels="genre"))
    monkeypatch.setattr(AuditInputs, "read", read)
    monkeypatch.setattr(paired_accuracy, "_card", lambda *_: given.card)
    gain, audit = paired_accuracy.audit(spark, given, 1.0)
    assert audit.verdict is verdict
    assert (gain.value if gain else None) == value
