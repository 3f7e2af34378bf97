"""The audit of missing values: a column that loses values or disappears is named, with before and after."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command
from genremill.jobs.audits import missing_values
from genremill.jobs.audits.audit import Audit, AuditInputs, Verdict
from genremill.jobs.nights import steps as night_steps
from genremill.jobs.nights.steps import Config
from genremill.models.features import FeatureSpec
from tests.pure.zoo_cases import case

SPLIT = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}
BEFORE = {"tempo": 0.0, "energy": 0.05, "key": 0.0}
SPARK: Any = None


def tracks(run_id: str, missing: dict[str, float]) -> Snapshot:
    features = [{"name": name, "missing": share} for name, share in missing.items()]
    details = {"features": features, "split": SPLIT}
    return Snapshot(run_id, f"tracks/run={run_id}", 100, "", {}, "", "", details)


def tags(run_id: str, tracks_run: str, model: str = "linear/r1") -> Snapshot:
    details = {"model_version": model, "tracks_run": tracks_run}
    return Snapshot(run_id, f"tags/run={run_id}", 100, "", {}, "", "", details)


def inputs(tmp_path: Path, now: dict[str, float]) -> AuditInputs:
    """Tags of a linear model that uses tempo and energy, after an earlier publication."""
    card = replace(
        case("linear", 10, 2)[0], features=(FeatureSpec("tempo", False), FeatureSpec("energy", False))
    )
    staged = tags("r2", "t2")
    before = tags("r1", "t1")
    return AuditInputs(
        Warehouse.at(str(tmp_path)), card, staged, tracks("t2", now), before, tracks("t1", BEFORE)
    )


@pytest.mark.parametrize(
    ("now", "value", "note"),
    [
        (BEFORE, 0.0, ""),
        (BEFORE | {"tempo": 0.08, "new": 0.9}, 0.08, ""),
        (BEFORE | {"energy": 0.31, "tempo": 0.2}, 0.26, "energy 5.0% → 31.0%, tempo 0.0% → 20.0%"),
        ({"tempo": 0.0, "energy": 0.0}, 1.0, "key 0.0% → no longer used"),
    ],
)
def test_a_rise_is_measured_and_its_columns_are_named(
    tmp_path: Path, now: dict[str, float], value: float, note: str
) -> None:
    found = missing_values.audit(inputs(tmp_path, now), 0.1)
    assert found.value == pytest.approx(value)
    assert found.note == note
    assert found.verdict is (Verdict.REFUSED if note else Verdict.PASSED)


def test_titles_artists_and_the_loss_of_all_genres_count(tmp_path: Path) -> None:
    def with_names(snapshot: Snapshot, **missing: float) -> Snapshot:
        uses = [
            {"column": name, "uses": [role], "reason": "", "missing": missing[role]}
            for name, role in (("song", "title"), ("singer", "artists"), ("style", "genre"))
            if role in missing
        ]
        return replace(snapshot, details=snapshot.details | {"columns": uses})

    before = with_names(tracks("t1", BEFORE), title=0.0, artists=0.1, genre=0.2)
    given = replace(inputs(tmp_path, BEFORE), current_tracks=before)
    now = with_names(given.tracks, title=0.05, artists=1.0, genre=0.9)
    audited = missing_values.audit(replace(given, tracks=now), 0.1)
    assert audited.note == "singer 10.0% → 100.0%"
    now = with_names(given.tracks, title=0.0, genre=1.0)
    audited = missing_values.audit(replace(given, tracks=now), 0.1)
    assert audited.note == "singer 10.0% → no longer used, style 0.0% → 100.0%"


@pytest.mark.parametrize(
    ("with_audio", "after", "note"),
    [(100, 0, "audio 0.0% → 100.0%"), (60, 0, "audio 0.0% → 100.0%"), (100, 1, ""), (0, 0, ""), (0, 100, "")],
)
def test_the_loss_of_all_audio_counts(tmp_path: Path, with_audio: int, after: int, note: str) -> None:
    def with_clips(snapshot: Snapshot, number: int) -> Snapshot:
        return replace(snapshot, details=snapshot.details | {"with_audio": number})

    given = inputs(tmp_path, BEFORE)
    given = replace(given, current_tracks=with_clips(tracks("t1", BEFORE), with_audio))
    assert missing_values.audit(replace(given, tracks=with_clips(given.tracks, after)), 0.1).note == note


def test_a_feature_with_the_name_audio_is_a_feature(tmp_path: Path) -> None:
    def with_feature(snapshot: Snapshot, missing: float, number: int) -> Snapshot:
        features = [{"name": "audio", "missing": missing}]
        return replace(snapshot, details=snapshot.details | {"features": features, "with_audio": number})

    given = inputs(tmp_path, BEFORE)
    given = replace(given, current_tracks=with_feature(given.tracks, 0.0, 100))
    lost = missing_values.audit(replace(given, tracks=with_feature(given.tracks, 0.5, 100)), 0.1)
    assert lost.note == "audio 0.0% → 50.0%"
    lost = missing_values.audit(replace(given, tracks=with_feature(given.tracks, 0.0, 0)), 0.1)
    assert lost.note == "audio 0.0% → 100.0%"
    card = replace(given.card, features=(FeatureSpec("audio", False),))
    new = replace(inputs(tmp_path, BEFORE), card=card, staged=tags("r2", "t2", "linear/r2"))
    assert missing_values.audit(new, 0.1).note == "audio 0.0% → no longer used"


def test_the_limit_1_accepts_that_a_column_is_gone(tmp_path: Path) -> None:
    assert missing_values.audit(inputs(tmp_path, {}), 1.0).verdict is Verdict.PASSED


def test_a_feature_that_only_a_new_model_needs_counts(tmp_path: Path) -> None:
    same = inputs(tmp_path, BEFORE)
    needs_more = replace(same.card, features=(*same.card.features, FeatureSpec("valence", False)))
    other = replace(same, card=needs_more, staged=tags("r2", "t2", "linear/r2"))
    note, flag = "valence 0.0% → no longer used", "max-missing-rise"
    expected = Audit(missing_values.MISSING_VALUES, 1.0, 0.1, note=note, flag=flag)
    assert missing_values.audit(other, 0.1) == expected
    first = replace(other, current=None, current_tracks=None)
    assert missing_values.audit(first, 0.1) == expected
    # The loss was accepted once: the same model is not refused again.
    assert missing_values.audit(replace(other, staged=same.staged), 0.1).value == 0


def test_without_the_earlier_tracks_it_is_not_measured(tmp_path: Path) -> None:
    found = missing_values.audit(replace(inputs(tmp_path, BEFORE), current_tracks=None), 0.1)
    assert (found.value, found.note) == (None, "the tracks of the current tags were removed")


def test_the_first_columns_are_named_and_the_others_are_counted(tmp_path: Path) -> None:
    many = replace(inputs(tmp_path, {}), current_tracks=tracks("t1", dict.fromkeys("gfedcba", 0.0)))
    note = missing_values.audit(many, 0.1).note
    assert note.startswith("a 0.0% → no longer used, b ")
    assert note.endswith("e 0.0% → no longer used and 2 more")


def test_no_model_is_trained_while_a_column_is_missing(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path / "warehouse"))
    genre_map = replace(tracks("g1", {}), path="genre_map/run=g1")
    together = {"tracks": tracks("t1", BEFORE), "genre_map": genre_map, "tags": tags("r1", "t1")}
    for table, snapshot in together.items():
        warehouse.finish(table, snapshot)
    warehouse.publish_together(together, "r1", audited_against=None)
    warehouse.finish("tracks", replace(tracks("t2", {"energy": 0.05, "key": 0.0}), checked=True))
    work = command.Run(warehouse, "r3")
    (tmp_path / "t.csv").touch()
    settings = Config(tracks=str(tmp_path / "t.csv"))
    by_name = {step.name: step for step in night_steps.steps(SPARK, work, settings)}
    for name in ("cluster", "train"):
        assert by_name[name].due() is None
        assert by_name[name].why_idle() == "values are missing: tempo 0.0% → no longer used"
