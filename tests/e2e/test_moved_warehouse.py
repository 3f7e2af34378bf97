"""A warehouse that was moved works like before, whether its records are relative or of an earlier version."""

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST, Catalog

ACCEPT = ("--max-churn-new", "1", "--max-class-shift", "99")
LOSS = "loss on held-out artists"
OF_COMPARISON = ("churn", "shift of labels", "drift of features", LOSS)


def _as_version_0_1(warehouse: Path) -> None:
    """Changes the records of tags to those of version 0.1.0, which contain full URIs."""
    changed = 0
    for record in (
        *warehouse.rglob("_run.json"),
        *warehouse.rglob("_current.json"),
        *warehouse.glob("_*.json"),
    ):
        text = record.read_text()
        changed += '"models/' in text
        record.write_text(text.replace('"models/', f'"file://{warehouse}/models/'))
    assert changed


@pytest.mark.parametrize("is_earlier", [False, True])
def test_the_loss_of_a_new_model_is_measured_after_a_move(
    catalog: Catalog, tmp_path: Path, *, is_earlier: bool
) -> None:
    first = catalog.run("score")["staged"]
    published = catalog.run("publish")["audits"]
    assert {published[name]["verdict"] for name in OF_COMPARISON} == {"not applicable"}
    catalog.run("train", *FAST, "--seed", "1")
    second = catalog.run("score")["staged"]
    expected = catalog.run("publish", *ACCEPT, "--max-loss", "1", "--dry-run")["audits"][LOSS]
    assert expected["value"] is not None
    if is_earlier:
        _as_version_0_1(Path(catalog.uri))
    shutil.copytree(catalog.folder, tmp_path / "moved")
    shutil.rmtree(catalog.folder)
    moved = Catalog(tmp_path / "moved", catalog.capsys)
    summary = moved.run("publish", *ACCEPT, "--max-loss", str(max(expected["value"], 0) + 0.001))
    audits = summary["audits"]
    assert summary["published"] == second
    assert audits[LOSS]["value"] == pytest.approx(expected["value"])
    assert {audits[name]["verdict"] for name in OF_COMPARISON} == {"passed"}
    model = Path(moved.uri, "models", "linear")
    assert moved.run("evaluate", "--model-version", f"linear/{min(path.name for path in model.iterdir())}")
    assert moved.run("publish", "--rollback")["published"] == first
    some = moved.run("show", next(iter(_ids(moved))))["track"]
    assert some["tag"]["model_version"].startswith("linear/")


def test_a_new_model_is_refused_if_its_loss_cannot_be_measured(catalog: Catalog) -> None:
    """The model of the current tags was removed. The message names the flag that accepts this."""
    catalog.run("score")
    catalog.run("publish")
    old = Path(catalog.uri, "models", "linear")
    before = {path.name for path in old.iterdir()}
    catalog.run("train", *FAST, "--seed", "1")
    for name in before:
        shutil.rmtree(old / name)
    staged = catalog.run("score")["staged"]
    catalog.run("publish", *ACCEPT, exit_code=2)
    page = next(Path(catalog.uri).glob("reports/*/audit.html")).read_text()
    assert "are never opened; `genremill publish --max-loss 1` accepts this" in page
    assert catalog.run("publish", *ACCEPT, "--max-loss", "1", "--run", staged)["published"] == staged


def _ids(catalog: Catalog) -> list[str]:
    with Path(catalog.tracks).open() as table:
        header = next(table).strip().split(",")
        return [next(table).split(",")[header.index("track_id")]]
