"""Steps of a night: their inputs and reasons."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, evaluate, score
from genremill.jobs.nights import reasons, steps as night_steps
from genremill.jobs.nights.steps import Config, Due, Step

SPARK: Any = None


def settings(folder: Path, **settings: Any) -> Config:
    """The settings of a night on a table in a folder."""
    (folder / "t.csv").touch()
    return Config(tracks=str(folder / "t.csv"), **settings)


def due_if(reason: str | None) -> Due | None:
    return Due(reason, lambda: command.Outcome({})) if reason else None


def test_score_runs_with_the_inputs_that_its_reason_was_computed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[SimpleNamespace] = []
    used: list[object] = []

    def resolve(*_: object) -> SimpleNamespace:
        resolved.append(SimpleNamespace(made_from={"tracks": f"r{len(resolved)}"}))
        return resolved[-1]

    def run(spark: object, work: object, inputs: object) -> command.Outcome:
        used.append(inputs)
        return command.Outcome({})

    monkeypatch.setattr(score, "resolve", resolve)
    monkeypatch.setattr(score, "run", run)
    work = command.Run(Warehouse.at(str(tmp_path)), "r1")
    cfg = settings(tmp_path, score=score.Config(model_version="linear/r1"))
    (step,) = (one for one in night_steps.steps(SPARK, work, cfg) if one.name == "score")
    due = step.due()
    assert due is not None
    due.run()
    assert used == resolved
    assert len(resolved) == 1


def test_without_audio_extract_says_why_it_has_no_work(tmp_path: Path) -> None:
    work = command.Run(Warehouse.at(str(tmp_path)), "r1")
    by_name = {step.name: step for step in night_steps.steps(SPARK, work, settings(tmp_path))}
    assert by_name["extract"].due() is None
    assert by_name["extract"].why_idle() == "no track has an audio path"
    assert by_name["train"].why_idle() == "nothing has changed"


def test_before_the_first_model_the_reason_to_train_is_that_there_is_none(tmp_path: Path) -> None:
    due = reasons.training_due(SPARK, Warehouse.at(str(tmp_path)), reasons.Config())
    assert due is not None
    assert due.reason == "there is no model yet"


def test_a_step_is_expected_to_run_if_a_step_before_it_does() -> None:
    steps = [
        Step("ingest", lambda: due_if("there is no track table yet")),
        Step("extract", lambda: due_if(None)),
        Step("score", lambda: due_if(None), ("ingest",)),
        Step("publish", lambda: due_if(None), ("extract",)),
    ]
    reasons = night_steps.expected(steps, Config(tracks="t.csv"), {"extract": "2 clips are not in the cache"})
    assert reasons == {
        "ingest": "there is no track table yet",
        "extract": "2 clips are not in the cache",
        "score": "ingest would run",
        "publish": "extract would run",
    }


def test_evaluate_compares_all_named_model_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = ("linear/r1", "linear/r2")
    for version in versions:
        (tmp_path / "models" / version).mkdir(parents=True)
        (tmp_path / "models" / version / "model.json").touch()
    evaluated: list[object] = []

    def run(spark: object, work: object, inputs: object) -> command.Outcome:
        evaluated.append(inputs)
        return command.Outcome({})

    monkeypatch.setattr(evaluate, "ready", lambda warehouse, cfg: cfg.model_version)
    monkeypatch.setattr(evaluate, "run", run)
    work = command.Run(Warehouse.at(str(tmp_path)), "r3")
    cfg = settings(tmp_path, evaluate=evaluate.Config(model_version=versions))
    (step,) = (step for step in night_steps.steps(SPARK, work, cfg) if step.name == "evaluate")
    due = step.due()
    assert due is not None
    due.run()
    assert evaluated == [versions]
