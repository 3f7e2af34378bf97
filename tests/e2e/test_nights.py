"""Consecutive nights: only new work is done, wrong tags are not published, and everything is recorded."""

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genremill.infra import lease
from genremill.jobs import cli
from genremill.jobs.nights import record as night_record
from genremill.jobs.nights.record import Night
from genremill.jobs.snapshot_details import TagsDetails
from tests.e2e.conftest import FAST, Catalog

Row = dict[str, str]
FLAGS = ["--train.model", "linear", "--train.epochs", "30", "--train.batch", "64", "--cluster.clusters", "6"]


def read(table: Path) -> tuple[list[Row], list[str]]:
    """The complete rows of a table, and its header."""
    with table.open(newline="") as source:
        reader = csv.DictReader(source)
        return [row for row in reader if None not in row.values()], list(reader.fieldnames or ())


def write(table: Path, header: list[str], rows: list[Row]) -> None:
    """Writes a table; an old file is replaced."""
    with table.open("w", newline="") as out:
        writer = csv.DictWriter(out, header)
        writer.writeheader()
        writer.writerows(rows)


class Nights:
    """A catalog that is tagged night after night."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.rows, self.header = read(catalog.folder / "whole.csv")

    def write_table(self, rows: list[Row]) -> None:
        """Writes the track table of the next night."""
        write(Path(self.catalog.tracks), self.header, rows)

    def run(self, *flags: str, exit_code: int = 0) -> Night:
        """Runs a night and returns its record."""
        self.catalog.run("nightly", "--tracks", self.catalog.tracks, *FLAGS, *flags, exit_code=exit_code)
        return night_record.earlier(self.catalog.warehouse, most=1)[0]

    def files(self) -> set[str]:
        """All files of the warehouse, without the reports."""
        root = Path(self.catalog.uri)
        names = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        return {name for name in names if not name.startswith("reports/")}

    def tags(self) -> str:
        """The id of the current run of tags."""
        return self.runs()["tags"]

    def runs(self) -> dict[str, str]:
        """The id of the current run of each table."""
        return {table: record["run_id"] for table, record in self.catalog.run("tables").items()}


@pytest.fixture(scope="module")
def kept(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the catalog after its first night, `kept`; the tests work in `live`."""
    folder = tmp_path_factory.mktemp("nights")
    shutil.copytree(ready, folder / "live")
    live = folder / "live"
    shutil.copy(live / "tracks.csv", live / "whole.csv")
    rows, header = read(live / "whole.csv")
    write(live / "tracks.csv", header, rows[:-20])
    where = ["--warehouse", str(live / "warehouse"), "--tracks", str(live / "tracks.csv")]
    assert cli.main(["nightly", *where, *FLAGS]) == 0
    shutil.copytree(live, folder / "kept")
    return folder


@pytest.fixture
def nights(kept: Path, capsys: pytest.CaptureFixture[str]) -> Nights:
    """A catalog after its first night. Its path is always the same: another path would be another table."""
    shutil.rmtree(kept / "live")
    shutil.copytree(kept / "kept", kept / "live")
    return Nights(Catalog(kept / "live", capsys))


def ran(night: Night) -> dict[str, str]:
    """The reasons of the steps that ran."""
    return {step.name: step.cause for step in night.steps if step.state.value == "ran"}


def test_each_change_runs_the_steps_that_depend_on_it(nights: Nights) -> None:
    files, tags = nights.files(), nights.tags()
    idle = nights.run()
    assert ran(idle) == {}
    assert (nights.files(), nights.tags()) == (files, tags)
    assert nights.catalog.run("plan", "--tracks", nights.catalog.tracks, *FLAGS)["steps"] == []

    nights.write_table(nights.rows)
    plan = nights.catalog.run("plan", "--tracks", nights.catalog.tracks, *FLAGS, "--price-per-hour", "3600")
    assert [step["name"] for step in plan["steps"]] == ["ingest", "score", "publish"]
    assert plan["money"] == pytest.approx(3600 * plan["core_hours"])
    assert plan["core_hours"] > 0
    assert nights.files() == files
    grown = nights.run()
    causes = ran(grown)
    assert list(causes) == ["ingest", "score", "publish"]
    assert causes["ingest"].startswith("tracks: ")
    assert causes["score"].startswith("tracks: ")
    ingest, publish = grown.step("ingest"), grown.step("publish")
    assert ingest is not None
    assert publish is not None
    assert ingest.summary["changes"]["new"] > 0
    assert publish.summary["churn"]["changed"] == 0
    assert publish.summary["churn"]["new_tracks"] == ingest.summary["changes"]["new"]

    named = nights.rows[:40]
    nights.write_table([row | {"track_genre": "polka"} for row in named] + nights.rows[40:])
    learned = nights.run("--publish.max-churn-new", "1", "--publish.max-loss", "1")
    assert ran(learned)["train"].startswith("genres that the model does not know: polka (")
    assert list(ran(learned)) == ["ingest", "cluster", "train", "evaluate", "score", "publish"]
    assert ran(nights.run()) == {}


def test_a_model_with_an_input_of_earlier_versions_is_replaced(nights: Nights) -> None:
    version = model_of_tags(nights)
    path = Path(nights.catalog.uri, "models", version, "model.json")
    path.write_text(path.read_text().replace('"table"', '"artist"'))
    assert cli.main(["score", "--warehouse", nights.catalog.uri]) == 2
    assert "this model, linear, uses the input 'artist', " in nights.catalog.capsys.readouterr().err
    night = nights.run()
    assert ran(night)["train"] == f"this version of genremill cannot use model {version}"
    assert model_of_tags(nights) != version
    assert ran(nights.run()) == {}


def test_training_never_and_always(nights: Nights) -> None:
    nights.write_table([row | {"track_genre": "polka"} for row in nights.rows[:40]] + nights.rows[40:])
    assert "train" not in ran(nights.run("--train.when", "never"))
    flags = ["--train.when", "always", "--publish.max-churn-new", "1", "--publish.max-loss", "1"]
    nights.write_table(nights.rows)
    assert "train" in ran(nights.run(*flags))
    assert "train" not in ran(nights.run(*flags))
    assert "train" in ran(nights.run("--train.max-age-days", "0", *flags))


def model_of_tags(nights: Nights) -> str:
    tags = nights.catalog.warehouse.require("tags", "publish")
    return TagsDetails.of(tags).model_version


def test_a_model_trained_by_hand_is_not_used_by_a_night(nights: Nights) -> None:
    first = model_of_tags(nights)
    experiment = nights.catalog.run("train", *FAST, "--seed", "5")["model_version"]
    assert nights.catalog.run("plan", "--tracks", nights.catalog.tracks, *FLAGS)["steps"] == []
    assert ran(nights.run()) == {}

    nights.write_table(nights.rows)
    assert list(ran(nights.run())) == ["ingest", "score", "publish"]
    assert model_of_tags(nights) == first

    loose = ["--publish.max-churn-new", "1", "--publish.max-loss", "1", "--publish.max-class-shift", "99"]
    named = [*loose, "--score.model-version", experiment]
    assert [
        step["name"]
        for step in nights.catalog.run("plan", "--tracks", nights.catalog.tracks, *FLAGS, *named)["steps"]
    ] == ["score", "publish"]
    retrained = nights.run("--train.seed", "1", *loose)
    assert ran(retrained)["train"] == "seed: 0 → 1"
    assert model_of_tags(nights) == f"linear/{retrained.run_id}"
    nights.run(*named)
    assert model_of_tags(nights) == experiment


def test_a_second_night_at_the_same_time_is_a_usage_error(nights: Nights) -> None:
    files = nights.files()
    with lease.held(f"{nights.catalog.warehouse.uri}/_night.lease", "20260101T000000-abcdef"):
        arguments = ["nightly", "--warehouse", nights.catalog.uri, "--tracks", nights.catalog.tracks, *FLAGS]
        assert cli.main(arguments) == 2
        assert "run 20260101T000000-abcdef (process" in nights.catalog.capsys.readouterr().err
    assert nights.files() == files
    nights.run()


def _shuffled(rows: list[Row]) -> list[Row]:
    """Swaps the features of the tracks: the distributions stay the same, but most tags change."""
    others = rows.copy()
    random.Random(0).shuffle(others)
    kept = ("track_id", "artists", "album_name", "track_name", "track_genre", "audio_uri")
    return [other | {name: row[name] for name in kept} for row, other in zip(rows, others, strict=True)]


def _louder(rows: list[Row]) -> list[Row]:
    return [
        row | {"loudness": str(float(row["loudness"]) + 8)} for row in rows if _is_number(row["loudness"])
    ]


def _is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "", 1).isdigit()


@pytest.mark.parametrize(
    ("change_table", "step", "audit"),
    [
        (lambda rows: rows[: len(rows) // 2], "ingest", "expected at most --ingest.max-vanished 0.2"),
        (_shuffled, "publish", "churn 0."),
        (_louder, "publish", "drift of features"),
    ],
)
def test_a_bad_track_table_is_refused(
    nights: Nights, change_table: Callable[[list[Row]], list[Row]], step: str, audit: str
) -> None:
    before = nights.runs()
    nights.write_table(change_table(nights.rows))
    refused = nights.run(exit_code=2)
    assert refused.steps[-1].name == step
    assert audit in refused.error
    assert nights.runs() == before
    again = nights.run(exit_code=2)
    assert again.error.partition(";")[0] == refused.error.partition(";")[0]
    assert list(ran(again)) == []
    assert nights.runs() == before
    page = Path(nights.catalog.uri, "reports", refused.run_id, "night.html").read_text()
    assert "It ended early." in page
    if step == "publish":
        audit_page = Path(nights.catalog.uri, "reports", refused.run_id, "audit.html").read_text()
        assert audit_page.rpartition("<tbody>")[2].count("<tr>") == 20
    nights.write_table(nights.rows)
    corrected = nights.run()
    assert {name: nights.runs()[name] for name in ("tracks", "tags")} == dict.fromkeys(
        ("tracks", "tags"), corrected.run_id
    )
    ingest, publish = corrected.step("ingest"), corrected.step("publish")
    assert ingest is not None
    assert publish is not None
    assert ingest.summary["changes"]["vanished"] == 0
    assert publish.summary["churn"]["changed"] == 0


def test_tags_that_were_rolled_back_are_not_published_again(nights: Nights) -> None:
    first = nights.runs()
    nights.write_table(nights.rows)
    second = nights.run()
    later = nights.runs()
    nights.catalog.run("score")  # the same tags under another run id
    nights.catalog.run("publish", "--rollback")
    assert nights.runs() == first
    assert ran(nights.run()) == {}
    assert cli.main(["publish", "--warehouse", nights.catalog.uri]) == 2
    assert "were rolled back" in nights.catalog.capsys.readouterr().err
    assert ran(nights.run()) == {}
    assert nights.runs() == first
    nights.catalog.run("publish", "--run", second.run_id)
    assert nights.runs() == later
    assert ran(nights.run()) == {}


def test_tags_of_a_worse_model_are_only_published_with_a_higher_limit(nights: Nights) -> None:
    before = nights.tags()
    flags = [
        "--train.seed",
        "1",
        "--train.epochs",
        "1",
        "--train.learning-rate",
        "1e-5",
        "--publish.max-churn-new",
        "1",
    ]
    flags += ["--publish.max-class-shift", "99"]
    refused = nights.run(*flags, exit_code=2)
    assert "loss on held-out artists" in refused.error
    assert nights.tags() == before
    step = refused.step("publish")
    assert step is not None
    assert step.summary["gain"]["value"] < -0.05
    record = json.loads(Path(nights.catalog.uri, "reports", refused.run_id, "run.json").read_text())
    audit: dict[str, Any] = record["steps"][-1]["summary"]["audits"]["loss on held-out artists"]
    assert (audit["verdict"], audit["limit"]) == ("refused", 0.025)
    nights.catalog.run(
        "publish",
        "--run",
        refused.run_id,
        "--max-loss",
        "1",
        "--max-churn-new",
        "1",
        "--max-class-shift",
        "99",
    )
    assert nights.tags() == refused.run_id
