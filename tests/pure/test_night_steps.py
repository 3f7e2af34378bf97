"""Steps of a night: their inputs and reasons."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, evaluate, ingest, score
from genremill.jobs.nights import reasons, steps as night_steps
from genremill.jobs.nights.steps import Config, Due, Step
from tests.pure.generation_cases import made, published, run_id

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


def newest_tracks(warehouse: Warehouse) -> str:
    newest = warehouse.newest("tracks")
    assert newest is not None
    return newest.run_id


def test_a_night_builds_on_the_tracks_of_its_table_even_if_they_were_refused(tmp_path: Path) -> None:
    cfg, warehouse = settings(tmp_path), Warehouse.at(str(tmp_path / "warehouse"))
    table = ingest.inputs(night_steps.ingest_settings(cfg))
    published(warehouse, 1)
    refused = made(warehouse, "tracks", 2)
    warehouse.finish("tracks", dataclasses.replace(refused, inputs=table))
    warehouse.refuse("tracks", run_id(2), "drift")
    work = command.Run(warehouse, "r1")
    (step,) = (one for one in night_steps.steps(SPARK, work, cfg) if one.name == "ingest")
    assert step.due() is None
    assert newest_tracks(night_steps.building(work, table).warehouse) == run_id(2)
    assert newest_tracks(warehouse) == run_id(1)


def test_a_night_with_a_changed_table_reads_it_and_does_not_build_on_refused_tracks(tmp_path: Path) -> None:
    cfg, warehouse = settings(tmp_path), Warehouse.at(str(tmp_path / "warehouse"))
    table = ingest.inputs(night_steps.ingest_settings(cfg))
    published(warehouse, 1)
    made(warehouse, "tracks", 2)
    warehouse.refuse("tracks", run_id(2), "drift")
    work = command.Run(warehouse, "r1")
    (step,) = (one for one in night_steps.steps(SPARK, work, cfg) if one.name == "ingest")
    due = step.due()
    assert due is not None
    assert due.reason.startswith("from: tracks1 → none; tracks: none → ")
    assert newest_tracks(night_steps.building(work, table).warehouse) == run_id(1)
    warehouse.finish("tracks", dataclasses.replace(made(warehouse, "tracks", 3), inputs=table))
    assert step.due() is None
    assert newest_tracks(night_steps.building(work, table).warehouse) == run_id(3)


def test_a_night_builds_on_the_tracks_of_its_table_after_a_rollback(tmp_path: Path) -> None:
    cfg, warehouse = settings(tmp_path), Warehouse.at(str(tmp_path / "warehouse"))
    table = ingest.inputs(night_steps.ingest_settings(cfg))
    published(warehouse, 1)
    published(warehouse, 2, inputs=table)
    warehouse.roll_back("r")
    work = command.Run(warehouse, "r1")
    assert newest_tracks(night_steps.building(work, table).warehouse) == run_id(2)
    assert newest_tracks(warehouse) == run_id(1)


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
