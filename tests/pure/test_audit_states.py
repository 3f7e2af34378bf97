"""The state of an audit: what blocks publication, what is only reported, and what has nothing to compare."""

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genremill.infra import records, storage
from genremill.infra.warehouse import Warehouse
from genremill.jobs.audits import audit as audit_module, churn, content, drift, paired_accuracy
from genremill.jobs.audits.audit import Audit, AuditInputs, Limits, NotApplicable, NotMeasured, Verdict
from genremill.jobs.audits.churn import Churn
from genremill.jobs.audits.content import LabelCounts
from genremill.jobs.audits.findings import Findings
from genremill.models.evaluation.drift import Histogram
from genremill.models.features import FeatureSpec
from genremill.models.model_card import TrainingRecord
from tests.pure.test_missing_audit import BEFORE, SPLIT, inputs, tags

SPARK: Any = None
UNKNOWN, NOTHING = NotMeasured("tracks removed"), NotApplicable("first tags")
AUDIT = Audit("churn", None, 0.3, flag="max-churn")
DRIFT = Audit("drift of features", None, 0.25, flag="max-drift")
LABELS = LabelCounts({"rock": 60, "pop": 40}, 0.0)


@pytest.mark.parametrize(
    ("audit", "verdict", "blocks_new", "blocks_same"),
    [
        (replace(AUDIT, value=0.2), Verdict.PASSED, False, False),
        (replace(AUDIT, value=0.4), Verdict.REFUSED, True, True),
        (replace(AUDIT, value=0.4, refuses=False), Verdict.FLAGGED, False, False),
        (AUDIT.without_value(UNKNOWN), Verdict.NOT_MEASURED, True, False),
        (replace(AUDIT, refuses=False).without_value(UNKNOWN), Verdict.NOT_MEASURED, False, False),
        (replace(AUDIT, limit=0.99).without_value(UNKNOWN), Verdict.NOT_MEASURED, True, False),
        (replace(AUDIT, limit=1.0).without_value(UNKNOWN), Verdict.NOT_MEASURED, False, False),
        (replace(DRIFT, limit=5.0).without_value(UNKNOWN), Verdict.NOT_MEASURED, True, False),
        (replace(DRIFT, limit=100.0).without_value(UNKNOWN), Verdict.NOT_MEASURED, False, False),
        (AUDIT.without_value(NOTHING), Verdict.NOT_APPLICABLE, False, False),
    ],
)
def test_what_was_not_measured_blocks_only_a_new_model(
    audit: Audit, verdict: Verdict, *, blocks_new: bool, blocks_same: bool
) -> None:
    assert audit.verdict is verdict
    assert audit.passed == (verdict in (Verdict.PASSED, Verdict.NOT_APPLICABLE))
    for is_new, blocks in ((True, blocks_new), (False, blocks_same)):
        findings = Findings((audit,), is_new)
        assert findings.refused == ([audit] if blocks else [])
        assert findings.as_json()["audits"][audit.name] == asdict(audit) | {"verdict": verdict.value}


def test_the_message_names_the_flag_that_accepts_what_was_not_measured() -> None:
    accept = "churn not measured: tracks removed; `genremill publish --max-churn 1` accepts this"
    assert str(AUDIT.without_value(UNKNOWN)) == accept
    assert str(DRIFT.without_value(UNKNOWN)).endswith("; `genremill publish --max-drift 100` accepts this")
    assert str(AUDIT.without_value(NOTHING)) == "churn not applicable: first tags"
    reported = replace(AUDIT, refuses=False).without_value(UNKNOWN)
    assert str(reported) == "churn not measured: tracks removed"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        (None, Verdict.NOT_APPLICABLE),
        (Churn(tracks=0, changed=0, new_tracks=100, vanished=100), Verdict.NOT_MEASURED),
        (Churn(tracks=100, changed=0, new_tracks=0, vanished=0), Verdict.PASSED),
        (Churn(tracks=100, changed=31, new_tracks=0, vanished=0), Verdict.REFUSED),
    ],
)
def test_churn_without_a_common_track_is_not_measured(
    tmp_path: Path, changes: Churn | None, verdict: Verdict
) -> None:
    assert churn.audit(changes, inputs(tmp_path, BEFORE), Limits()).verdict is verdict


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (None, LABELS, Verdict.NOT_APPLICABLE),
        (LabelCounts({}, 1.0), LABELS, Verdict.NOT_APPLICABLE),
        (LABELS, LabelCounts({}, 1.0), Verdict.NOT_MEASURED),
        (LABELS, LABELS, Verdict.PASSED),
        (LABELS, LabelCounts({"rock": 100}, 0.0), Verdict.REFUSED),
    ],
)
def test_a_shift_of_labels_without_labels_is_not_measured(
    before: LabelCounts | None, now: LabelCounts, verdict: Verdict
) -> None:
    assert content.label_audit(now, before, 0.25).verdict is verdict


def _new_model(given: AuditInputs) -> AuditInputs:
    return replace(given, staged=tags("r2", "t2", "linear/r2"))


def _with_split(given: AuditInputs, *, before: dict[str, Any], now: dict[str, Any]) -> AuditInputs:
    assert given.current_tracks is not None
    earlier = replace(given.current_tracks, details=given.current_tracks.details | {"split": before})
    later = replace(given.tracks, details=given.tracks.details | {"split": now})
    return replace(_new_model(given), tracks=later, current_tracks=earlier)


ROWS, OTHER = SPLIT | {"by": "rows"}, SPLIT | {"seed": 1}
CASES: dict[str, tuple[Callable[[AuditInputs], AuditInputs], Verdict]] = {
    "there are no other tags": (lambda given: replace(given, current=None), Verdict.NOT_APPLICABLE),
    "the model is the same": (lambda given: given, Verdict.NOT_APPLICABLE),
    "tracks of the current tags were removed": (
        lambda given: replace(_new_model(given), current_tracks=None),
        Verdict.NOT_MEASURED,
    ),
    "have another split": (lambda given: _with_split(given, before=SPLIT, now=OTHER), Verdict.NOT_MEASURED),
    "tags have another split": (
        lambda given: _with_split(given, before=SPLIT, now=ROWS),
        Verdict.NOT_MEASURED,
    ),
    "no track is held out": (lambda given: _with_split(given, before=ROWS, now=ROWS), Verdict.NOT_APPLICABLE),
}


@pytest.mark.parametrize("why", CASES)
def test_why_the_loss_on_held_out_artists_has_no_value(tmp_path: Path, why: str) -> None:
    change, verdict = CASES[why]
    gain, audit = paired_accuracy.audit(SPARK, change(inputs(tmp_path, BEFORE)), 0.025)
    assert gain is None
    assert audit.verdict is verdict
    assert why in audit.note


@pytest.mark.parametrize("card", [None, b'{"format": 99}', b"{"])
def test_the_loss_is_not_measured_if_the_current_model_cannot_be_read(
    tmp_path: Path, card: bytes | None
) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    if card is not None:
        storage.write_atomic(warehouse.path("models", "linear", "r1", "model.json"), card)
    with pytest.raises(NotMeasured, match="the model linear/r1 of the current tags cannot be read: "):
        paired_accuracy._card(warehouse, tags("r1", "t1"))


def test_other_weights_under_the_same_name_are_a_new_model(tmp_path: Path) -> None:
    given = inputs(tmp_path, BEFORE)
    assert given.current is not None
    assert not given.has_new_model
    staged, current = replace(given.staged, inputs={"sha256": "1"}), given.current
    assert replace(given, staged=staged, current=replace(current, inputs={"sha256": "2"})).has_new_model
    assert not replace(given, staged=staged, current=replace(current, inputs={"sha256": "1"})).has_new_model
    assert not replace(given, staged=staged, current=None).has_new_model


def test_every_limit_can_be_checked_and_accepts_what_was_not_measured() -> None:
    names = {field.name.replace("_", "-") for field in fields(Limits)}
    assert names == set(audit_module.ACCEPTS_ALL)
    assert len({*audit_module.SHARES, *audit_module.INDICES}) == len(names)


SAMPLE = np.random.default_rng(0).normal(size=(2000, 2)).astype(np.float32)
EMPTY = SAMPLE[:0]


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (SAMPLE, SAMPLE, Verdict.PASSED),
        (SAMPLE, SAMPLE * 1000, Verdict.REFUSED),
        (SAMPLE, EMPTY, Verdict.NOT_MEASURED),
        (EMPTY, SAMPLE, Verdict.NOT_MEASURED),
    ],
)
def test_drift_without_features_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: drift.Sample, now: drift.Sample, verdict: Verdict
) -> None:
    monkeypatch.setattr(drift, "sample", lambda *_: before)
    given = inputs(tmp_path, BEFORE)
    assert drift.since_current(SPARK, given, now, 0.25)[1].verdict is verdict
    without = replace(given, card=replace(given.card, features=()))
    assert drift.since_current(SPARK, without, EMPTY, 0.25)[1].verdict is Verdict.NOT_APPLICABLE
    removed = replace(given, current_tracks=None)
    assert drift.since_current(SPARK, removed, now, 0.25)[1].verdict is Verdict.NOT_MEASURED
    first = replace(removed, current=None)
    assert drift.since_current(SPARK, first, now, 0.25)[1].verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("now", [SAMPLE, SAMPLE * 1000, EMPTY])
@pytest.mark.parametrize("histograms", [(), tuple(Histogram.of(column) for column in SAMPLE.T)])
def test_drift_since_training_never_blocks(
    tmp_path: Path, now: drift.Sample, histograms: tuple[Histogram, ...]
) -> None:
    card = replace(
        inputs(tmp_path, BEFORE).card,
        features=(FeatureSpec("tempo", False), FeatureSpec("energy", False)),
        training=TrainingRecord(histograms=histograms),
    )
    _, audit = drift.since_training(card, now, 0.25)
    assert not audit.blocks(is_new_model=True)
    labels = content.training_label_audit({"rock": 1} if len(histograms) else {}, LABELS, 0.0)
    assert not labels.blocks(is_new_model=True)


def test_the_record_of_audits_is_json(tmp_path: Path) -> None:
    findings = Findings((AUDIT.without_value(UNKNOWN), AUDIT.without_value(NOTHING)), is_new_model=True)
    storage.write_atomic(f"file://{tmp_path}/audits.json", records.to_json(findings.as_json()))
