"""A study of training settings on the demo catalog: what it trains, skips and shows."""

import json
from pathlib import Path

import pytest

from genremill.infra import storage
from genremill.jobs import cli, model_registry
from tests.e2e.conftest import Catalog
from tests.pure.page_reader import texts

FAST = ["--train.model", "linear", "--batches", "64", "--epoch-counts", "2"]


def cells(catalog: Catalog) -> dict[str, int]:
    """Modification time of each record of a cell, by its path."""
    return {str(file): file.stat().st_mtime_ns for file in Path(catalog.uri).glob("studies/*/cells/*")}


def test_a_study_continues_and_can_grow(catalog: Catalog) -> None:
    newest = model_registry.newest(catalog.warehouse)
    rates = ["--learning-rates", "0.001", "0.03"]
    planned = catalog.run("study", *FAST, *rates, "--dry-run")
    assert [cell["learning_rate"] for cell in planned["would_train"]] == [0.001, 0.03]
    assert not cells(catalog)

    first = catalog.run("study", *FAST, *rates)
    assert (first["trained"], first["known"]) == (2, 0)
    slow, quick = first["cells"]
    assert slow["learning_rate"] == 0.001
    assert quick["accuracy"] > max(slow["accuracy"], 2 / 30)  # twice a guess
    assert quick["loss"] < slow["loss"]
    assert min(slow["seconds"], quick["seconds"]) > 0
    assert first["best"] == quick

    written = cells(catalog)
    assert len(written) == 2
    second = catalog.run("study", *FAST, *rates)
    assert (second["trained"], second["known"]) == (0, 2)
    assert second["cells"] == first["cells"]
    assert cells(catalog) == written

    # If the loss of a training becomes NaN, only that training ends.
    third = catalog.run("study", *FAST, *rates, "1e38")
    assert (third["trained"], third["known"]) == (1, 2)
    assert third["cells"][:2] == first["cells"]
    assert third["cells"][2]["accuracy"] is None
    assert "the loss is" in third["cells"][2]["failed"]
    assert third["best"] == quick
    assert written.items() <= cells(catalog).items()

    page = storage.read_bytes(third["report"]).decode()
    shown = texts(page, "td")
    for cell in (slow, quick):
        assert f"{100 * cell['accuracy']:.1f} %" in shown
        assert f"{cell['loss']:.3f}" in shown
        assert f"{cell['seconds']:,.1f} s" in shown
    assert "Validation accuracy by learning rate" in texts(page, "title")
    assert json.loads(storage.read_bytes(third["report"].replace(".html", ".json")))["best"] == quick
    # A study keeps no model version and no temporary files.
    assert model_registry.newest(catalog.warehouse) == newest
    assert not storage.folders(catalog.warehouse.path("_checkpoints"))
    assert not storage.folders(catalog.warehouse.path("_tmp"))


def test_a_cell_has_the_same_result_as_train(catalog: Catalog) -> None:
    studied = catalog.run("study", *FAST, "--learning-rates", "0.03")["best"]
    flags = ["--model", "linear", "--batch", "64", "--epochs", "2", "--learning-rate", "0.03"]
    version = catalog.run("train", *flags)["model_version"]
    card = json.loads((Path(catalog.uri) / "models" / version / "model.json").read_text())
    validation = card["metrics"]["validation"]
    assert studied["accuracy"] == validation["validation_accuracy"]
    assert studied["loss"] == validation["validation_loss"]


def test_other_inputs_make_another_study_and_a_cell_with_a_damaged_record_is_trained_again(
    catalog: Catalog,
) -> None:
    flags = [*FAST, "--learning-rates", "0.03"]
    catalog.run("study", *flags)
    (record,) = cells(catalog)
    whole = Path(record).read_text()
    Path(record).write_text(whole[:20])
    assert catalog.run("study", *flags)["trained"] == 1
    assert catalog.run("study", *flags)["known"] == 1
    assert catalog.run("study", *flags, "--train.seed", "1", "--dry-run")["known"] == 0
    assert len(catalog.run("study", *flags, "--train.no-resume", "--dry-run")["would_train"]) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning-rates", "0.01", "0"], "--learning-rates 0.01 0: expected numbers above 0"),
        (["--learning-rates", "nan"], "--learning-rates nan: expected numbers above 0"),
        (["--batches", "64", "64"], "--batches 64 64: expected one or more different values"),
        (["--epoch-counts", "0"], "--epoch-counts 0: expected 1 or more"),
        (["--train.epochs", "3"], "--train.epochs is varied by the study; use --epoch-counts"),
        (
            ["--train.learning-rate", "3"],
            "--train.learning-rate is varied by the study; use --learning-rates",
        ),
        (["--train.target-precision", "0.9"], "--train.target-precision does not change the results"),
        (["--train.model", "wavenet"], "no model is named 'wavenet'"),
    ],
)
def test_a_wrong_grid_is_an_error_of_one_line(catalog: Catalog, flags: list[str], message: str) -> None:
    assert cli.main(["study", "--warehouse", catalog.uri, *flags]) == 2
    err = catalog.capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
