"""The record of a night, its page and its export to MLflow."""

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights import estimates, mlflow_export, page as night_page, record as night_record
from genremill.jobs.nights.estimates import PlannedStep
from genremill.jobs.nights.reasons import changes
from genremill.jobs.nights.record import Night, Rejected, State, StepRecord, TableRecord

HEADER = Header("r2", "2026-11-21 02:00 UTC", "file:///wh", "no tracks yet")
HOSTILE = "<script>alert(1)</script>\x1b[31m=cmd()|"
AUDIT = {"name": "churn", "value": 0.4, "limit": 0.3, "refuses": True, "note": "", "verdict": "refused"}
PUBLISHED = {
    "audits": {"churn": AUDIT, "shift of labels": AUDIT | {"value": None, "verdict": "not measured"}},
    "churn": {
        "tracks": 100,
        "changed": 40,
        "new_tracks": 3,
        "vanished": 1,
        "causes": {"new model": 30, "new features": 10},
        "clusters_changed": 0,
        "genres": [{"label": HOSTILE, "before": 50, "after": 20, "left": 30}],
        "flows": [[HOSTILE, "rock", 30]],
    },
    "drift": [{"feature": "tempo", "index": 0.61}, {"feature": HOSTILE, "index": 0.01}],
    "training_drift": [{"feature": "tempo", "index": 0.3}],
}


def make_night(run_id: str, **overrides: Any) -> Night:
    """A night whose tags were refused."""
    metrics = {
        "model_version": "linear/r1",
        "split": "artist",
        "report": "file:///w/reports/r1/report.html",
        "top1": {"value": 0.3, "low": 0.28, "high": 0.32},
        "any_label": 0.4,
    }
    night = Night(
        run_id,
        "2026-11-21T02:00:00Z",
        seconds=75.2,
        cores=2,
        exit_code=2,
        error=f"tags are refused: {HOSTILE}",
        steps=(
            StepRecord(
                "ingest",
                State.RAN,
                f"tracks: {HOSTILE}",
                3.0,
                {"changes": {"new": 1, "changed": 2, "vanished": 3}},
            ),
            StepRecord("extract", State.SKIPPED),
            StepRecord("publish", State.REFUSED, "run r2 is staged", 2.0, PUBLISHED, 2),
        ),
        tables=(TableRecord("tags", "r1", 100, "r1", 100),),
        rejects=(Rejected("ingest", "no_id", 7, (("file:///t.csv:3", HOSTILE),)),),
        metrics=metrics,
    )
    return dataclasses.replace(night, **overrides)


def test_a_record_is_read_as_it_was_written() -> None:
    night = make_night("r2")
    assert records.from_json(records.to_json(night), Night, "run.json") == night


def test_numpy_floats_are_written_as_numbers() -> None:
    step = StepRecord("cluster", State.RAN, summary={"silhouette": np.float64(0.25)})
    assert json.loads(records.to_json(step))["summary"] == {"silhouette": 0.25}


@pytest.mark.parametrize("text", ["{", '{"run_id": 1, "started_at": ""}', "[]", '{"steps": [{"name": "x"}]}'])
def test_damaged_records_are_skipped(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    for run_id in ("r1", "r2"):
        night_record.keep(warehouse, make_night(run_id), "page")
    (tmp_path / "reports" / "r2" / "run.json").write_text(text)
    with caplog.at_level("WARNING"):
        assert [night.run_id for night in night_record.earlier(warehouse, most=5)] == ["r1"]
    assert "reports/r2/run.json is not a valid Night record" in caplog.text


def test_earlier_nights_are_listed_newest_first(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    for run_id in ("r1", "r2", "r3", "r4"):
        night_record.keep(warehouse, make_night(run_id), "page")
    assert [night.run_id for night in night_record.earlier(warehouse, most=5)] == ["r4", "r3", "r2", "r1"]
    assert [night.run_id for night in night_record.earlier(warehouse, most=1)] == ["r4"]


def test_the_page_shows_the_record_and_escapes_all_data() -> None:
    page = night_page.render(make_night("r2"), [make_night("r1", exit_code=0, error="")], HEADER)
    for text in (
        "refused",
        "1 min 15 s",
        "40.0 %",
        "new model",
        "0.610",
        "no_id",
        "28.0 % to 32.0 %",
        "linear/r1",
    ):
        assert text in page, text
    assert 'href="../r1/report.html"' in page
    assert "<script>" not in page
    assert "\x1b" not in page


def test_the_page_of_a_night_without_changes_says_so() -> None:
    idle = make_night(
        "r2", exit_code=0, error="", steps=(StepRecord("ingest", State.SKIPPED),), rejects=(), metrics={}
    )
    page = night_page.render(idle, [], HEADER)
    assert "Nothing has changed since the last run" in page
    assert "Nothing was newly rejected" in page


def test_input_changes_name_each_difference() -> None:
    settings = {"seed": 0, "columns": {"id": "track_id", "keep": []}}
    before = {"tracks": "ab", "settings": json.dumps(settings)}
    assert changes(before, before) is None
    now = {"tracks": "ab", "settings": json.dumps(settings | {"columns": {"id": "isrc", "keep": []}})}
    assert changes(before, now) == "columns.id: track_id → isrc"
    assert changes({}, {"map": "r1"}) == "map: none → r1"
    path = {"settings": '{"tracks": "a.csv"}'}  # a setting with the name of an input
    assert changes({"tracks": "ab"} | path, {"tracks": "cd"} | path) == "tracks: ab → cd"


def test_a_night_is_sent_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = f"file://{tmp_path}/mlruns"
    mlflow_export.send(store, make_night("r2"), "<html>")
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("genremill").experiment_id])
    assert (run.info.run_name, run.info.status) == ("r2", "FAILED")
    assert run.data.metrics["audits/churn"] == 0.4
    assert run.data.metrics["model/top1"] == 0.3
    artifacts = client.list_artifacts(run.info.run_id)
    assert {artifact.path for artifact in artifacts} == {
        "night.html",
        "run.json",
    }


def test_mlflow_must_be_installed() -> None:
    if importlib.util.find_spec("mlflow") is None:
        with pytest.raises(UsageError, match=r"pip install 'genremill\[mlflow\]'"):
            mlflow_export.check("http://127.0.0.1:9")
    assert mlflow_export.figures(make_night("r2"))["rows/tags"] == 100


def test_the_text_of_a_plan_ends_with_the_total_and_shows_a_cost_only_with_a_price() -> None:
    table, clips = storage.Inventory(1, 2000, "ab"), estimates.Clips()
    known = PlannedStep("ingest", "tracks: r1 → r2", "tracks", 0.25, "as in night r1")
    unknown = PlannedStep("train", "there is no model yet", "models", None, "it never ran here")
    last = [
        estimates.as_text(table, clips, steps, money).splitlines()[-1]
        for steps, money in (([known], None), ([known], 0.5), ([known, unknown], 0.5), ([unknown], 0.0))
    ]
    assert last == [
        "in all: 0.2500 core hours",
        "in all: 0.2500 core hours, which cost 0.50",
        "in all: at least 0.2500 core hours, which cost 0.50",
        "in all: unknown: no step ran here before",
    ]
