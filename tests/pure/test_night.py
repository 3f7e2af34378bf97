"""The record of a night, and its page."""

import importlib.util
import json
from pathlib import Path

import pytest

from genremill.infra.errors import UsageError
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights import mlflow_export, page as night_page, record as night_record
from genremill.jobs.nights.input_changes import changes
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


def made(run_id: str, **overrides: object) -> Night:
    """A night that refused what it made."""
    metrics = {
        "model_version": "linear/r1",
        "split": "artist",
        "report": "file:///w/reports/r1/report.html",
        "top1": {"value": 0.3, "low": 0.28, "high": 0.32},
        "any_label": 0.4,
    }
    found = Night(
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
    return Night(**{**found.__dict__, **overrides})


def test_a_record_is_read_as_it_was_written() -> None:
    one = made("r2")
    assert Night.from_json(one.to_json().encode()).to_json() == one.to_json()
    assert Night.from_json(one.to_json().encode()).steps[2].state is State.REFUSED


def test_earlier_nights_are_the_newest_before_one_and_damaged_records_are_passed_over(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    for run_id in ("r1", "r2", "r3", "r4"):
        night_record.keep(warehouse, made(run_id), "page")
    (tmp_path / "reports" / "r2" / "run.json").write_text("{")
    assert [one.run_id for one in night_record.earlier(warehouse, "r4", most=5)] == ["r3", "r1"]
    assert [one.run_id for one in night_record.earlier(warehouse, "r4", most=1)] == ["r3"]


def test_the_page_says_what_was_done_and_nothing_on_it_is_markup_from_data() -> None:
    page = night_page.render(made("r2"), [made("r1", exit_code=0, error="")], HEADER)
    for said in (
        "refused",
        "1 min 15 s",
        "40.0 %",
        "new model",
        "0.610",
        "no_id",
        "28.0 % to 32.0 %",
        "linear/r1",
    ):
        assert said in page, said
    assert 'href="../r1/report.html"' in page
    assert "<script>" not in page
    assert "\x1b" not in page


def test_a_night_without_news_says_so() -> None:
    idle = made(
        "r2", exit_code=0, error="", steps=(StepRecord("ingest", State.SKIPPED),), rejects=(), metrics={}
    )
    page = night_page.render(idle, [], HEADER)
    assert "Nothing has changed since the last run" in page
    assert "Nothing was newly rejected" in page


def test_a_cause_names_what_differs_and_nothing_else() -> None:
    settings = {"seed": 0, "columns": {"id": "track_id", "keep": []}}
    before = {"tracks": "ab", "settings": json.dumps(settings)}
    assert changes(before, before) is None
    now = {"tracks": "ab", "settings": json.dumps(settings | {"columns": {"id": "isrc", "keep": []}})}
    assert changes(before, now) == "columns.id: track_id → isrc"
    assert changes({}, {"map": "r1"}) == "map: none → r1"
    path = {"settings": '{"tracks": "a.csv"}'}  # the table's path, beside the digest of its bytes
    assert changes({"tracks": "ab"} | path, {"tracks": "cd"} | path) == "tracks: ab → cd"


def test_a_night_goes_to_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = f"file://{tmp_path}/mlruns"
    mlflow_export.send(store, made("r2"), "<html>")
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("genremill").experiment_id])
    assert (run.info.run_name, run.info.status) == ("r2", "FAILED")
    assert run.data.metrics["audits/churn"] == 0.4
    assert run.data.metrics["model/top1"] == 0.3
    assert {one.path for one in client.list_artifacts(run.info.run_id)} == {"night.html", "run.json"}


def test_mlflow_that_is_missing_is_told() -> None:
    if importlib.util.find_spec("mlflow") is None:
        with pytest.raises(UsageError, match=r"pip install 'genremill\[mlflow\]'"):
            mlflow_export.check("http://127.0.0.1:9")
    assert mlflow_export.figures(made("r2"))["rows/tags"] == 100
