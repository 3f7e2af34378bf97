"""What a refusal marks: an audit that could not be measured says nothing about the tags and their model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genremill.infra import storage
from genremill.infra.errors import AuditRefused
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, model_registry, publish, snapshots
from genremill.jobs.audits import findings as audit_findings, page as audit_page
from genremill.jobs.audits.audit import Audit, NotMeasured
from genremill.jobs.audits.content import ROW_COUNT
from genremill.jobs.audits.findings import Findings
from genremill.jobs.contracts import TAGS
from tests.pure.test_missing_audit import BEFORE, tags, tracks

SPARK: Any = None
LOSS = Audit("loss on held-out artists", 0.1, 0.025, flag="max-loss")
UNKNOWN = Audit("churn", None, 0.3, flag="max-churn").without_value(NotMeasured("tracks removed"))
FEWER = Audit(ROW_COUNT, 3, 0)


def staged(run_id: str, tracks_run: str, model: str, sha256: str) -> Snapshot:
    return replace(tags(run_id, tracks_run, model), inputs={"sha256": sha256}, checked=True)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse with tags of one model, and staged tags of another."""
    warehouse = Warehouse.at(str(tmp_path))
    for version in ("linear/r1", "linear/r2"):
        storage.write_atomic(warehouse.path("models", version, "model.json"), b"{}")
    current = {"tracks": tracks("t1", BEFORE), "tags": staged("r1", "t1", "linear/r1", "1")}
    for table, snapshot in current.items():
        warehouse.finish(table, snapshot)
    warehouse.publish_together(current, "r1", audited_against=None)
    warehouse.finish("tracks", replace(tracks("t2", BEFORE), checked=True))
    warehouse.finish("tags", staged("r2", "t2", "linear/r2", "2"))
    return warehouse


def marked(warehouse: Warehouse) -> list[str]:
    """The tables with a refused run, and the refused models."""
    ends = ("_refused.json", model_registry.REFUSED)
    names = [stored.name for stored in storage.objects(warehouse.uri) if stored.name.endswith(ends)]
    return sorted(name.rpartition("/")[0] for name in names)


@pytest.mark.parametrize(
    ("audits", "expected"),
    [
        ((UNKNOWN,), []),
        ((LOSS,), ["models/linear/r2", "tags/run=r2", "tracks/run=t2"]),
        ((UNKNOWN, LOSS), ["models/linear/r2", "tags/run=r2", "tracks/run=t2"]),
        ((UNKNOWN, FEWER), ["tags/run=r2"]),
    ],
)
def test_only_what_was_measured_is_marked(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, audits: tuple[Audit, ...], expected: list[str]
) -> None:
    monkeypatch.setattr(type(TAGS), "checked_rows", lambda *_: 100)
    monkeypatch.setattr(snapshots, "read", lambda *_: None)
    monkeypatch.setattr(publish, "resolve", lambda *_: None)
    monkeypatch.setattr(audit_findings, "measure", lambda *_: (Findings(audits, is_new_model=True), None))
    monkeypatch.setattr(audit_page, "write", lambda *_: "audit.html")
    with pytest.raises(AuditRefused, match="the current tags stay current"):
        publish.run(SPARK, command.Run(warehouse, "r3"), publish.Config())
    assert marked(warehouse) == expected


@pytest.mark.parametrize(
    ("model", "sha256", "is_new"),
    [("linear/r1", "1", False), ("linear/r1", "2", True), ("linear/r2", "1", True), ("linear/r2", "2", True)],
)
def test_other_weights_of_the_same_name_are_marked_as_another_model(
    warehouse: Warehouse, model: str, sha256: str, *, is_new: bool
) -> None:
    publish._refuse_model(warehouse, staged("r2", "t2", model, sha256), staged("r1", "t1", "linear/r1", "1"))
    assert marked(warehouse) == ([f"models/{model}"] if is_new else [])
