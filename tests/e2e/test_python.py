"""The Python interface: jobs as functions, tables as DataFrames, errors, and the notebook."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import genremill
from genremill.jobs import publish
from tests.docs import notebook
from tests.e2e.conftest import Catalog


@pytest.fixture(scope="module")
def published(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A warehouse with current tags and a report."""
    uri = str(tmp_path_factory.mktemp("python") / "warehouse")
    shutil.copytree(ready / "warehouse", uri)
    genremill.evaluate(uri)
    genremill.score(uri)
    genremill.publish(uri)
    return uri


def test_a_job_returns_what_the_command_prints(catalog: Catalog) -> None:
    summary = genremill.score(Path(catalog.uri), dry_run=True)
    printed = catalog.run("score", "--dry-run")
    assert summary.pop("run_id") != printed.pop("run_id")
    assert summary == printed
    assert "audit the staged tags" in (genremill.publish.__doc__ or "")


def test_settings_are_nested_as_in_a_yaml_file(catalog: Catalog) -> None:
    table = Path(catalog.tracks)
    table.write_text(table.read_text().replace("track_name", "name"))
    steps = genremill.plan(
        catalog.uri, tracks=table, ingest={"columns": {"title": "name"}}, train={"model": "linear"}
    )["steps"]
    assert steps[0]["name"] == "ingest"


def test_tables_are_frames_of_any_kind(published: str, spark: SparkSession) -> None:
    tags = genremill.Warehouse(published).tags
    (run,) = Path(published, "tags").glob("run=*")
    expected = pq.read_table(run).to_pandas().sort_values("track_id", ignore_index=True)
    frame = tags().sort_values("track_id", ignore_index=True)
    assert frame["cluster_id"].dtype == pd.Int32Dtype()
    assert frame["label"].tolist() == expected["label"].tolist()
    assert tags.uri == f"file://{run}"
    assert tags.snapshot.rows == len(expected)
    columns = ["track_id", "label"]
    assert tags("arrow", columns).num_rows == tags("spark", columns).count() == len(expected)
    assert tags("arrow", columns).column_names == tags("spark", columns).columns == columns
    warehouse = genremill.Warehouse(published)
    assert {*warehouse.tracks(columns=["track_id"])["track_id"]} == {*frame["track_id"]}
    assert {*frame["label"].dropna()} <= {*warehouse.genre_map()["genre"]}
    assert len(warehouse.genre_profiles("arrow")) == len(warehouse.genre_map("arrow"))


def test_all_tables_of_an_object_are_of_one_generation(published: str, tmp_path: Path) -> None:
    copy = str(tmp_path / "warehouse")
    shutil.copytree(published, copy)
    before = genremill.Warehouse(copy)
    old = before.tags.uri
    genremill.score(copy)
    genremill.publish(copy, publish.Config(max_churn=1.0))
    assert before.tags.uri == old
    assert genremill.Warehouse(copy).tags.uri != old


def test_the_model_in_use_and_its_figures(published: str) -> None:
    warehouse = genremill.Warehouse(published)
    model = warehouse.model()
    assert {model.version} == {*warehouse.tags()["model_version"]}
    assert model.card.model == "linear"
    (report,) = Path(published, "reports").glob("*/metrics.json")
    assert warehouse.metrics() == json.loads(report.read_text())
    assert warehouse.metrics(model.version)["model_version"] == model.version


def test_errors_have_the_exit_codes_of_the_commands(catalog: Catalog, published: str) -> None:
    for wrong, message in (
        (lambda: genremill.ingest(catalog.uri), "expected --tracks TABLE or --tracks-from-audio FOLDER"),
        (lambda: genremill.show(catalog.uri), r"show\(\): the setting track is missing"),
        (lambda: genremill.ingest(catalog.uri, trakcs="x"), r"'trakcs'; did you mean tracks\?"),
        (
            lambda: genremill.train(catalog.uri, epochs="many"),
            "expected a whole number; found 'many'",
        ),
        (lambda: genremill.train(catalog.uri, publish.Config(), epochs=1), "found both: epochs"),
        (lambda: genremill.Warehouse(catalog.uri).tags(), "run `genremill publish` first"),
        (lambda: genremill.Warehouse(catalog.uri).metrics(), "run `genremill evaluate`"),
        (lambda: genremill.Warehouse(catalog.uri + "x"), "there is no warehouse at this place"),
        (lambda: genremill.Warehouse(published).tags("dask"), "expected pandas, arrow, polars or spark"),  # type: ignore[call-overload]
        (lambda: genremill.Warehouse(published).tags("arrow", ["lable"]), "has no column 'lable'; it has: "),
    ):
        with pytest.raises(genremill.UsageError, match=message) as caught:
            wrong()
        assert caught.value.exit_code == 2


def test_rejects_over_the_limit_are_an_error_with_the_summary(catalog: Catalog) -> None:
    clips = catalog.folder / "clips"
    clips.mkdir()
    (clips / "bad.mp3").write_bytes(b"no audio")
    table = catalog.folder / "one.csv"
    table.write_text("track_id,track_genre,tempo,audio_uri\na,pop,120.5,bad.mp3\nb,rock,99.5,bad.mp3\n")
    uri = str(catalog.folder / "other")
    genremill.ingest(uri, tracks=table)
    with pytest.raises(genremill.RejectsOverLimit) as caught:
        genremill.extract(uri, audio_root=[str(clips)])
    assert caught.value.exit_code == 3
    assert caught.value.summary["features"]["gtzan57"]["rejected"] == {"not_audio": 2}


def test_unknown_names_are_attribute_errors_and_known_ones_are_listed() -> None:
    assert {*genremill.__all__} <= {*dir(genremill)}
    assert all(getattr(genremill, name) is not None for name in genremill.__all__)
    with pytest.raises(AttributeError, match="no attribute 'tgas'"):
        genremill.tgas  # noqa: B018


def test_the_notebook_runs(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document = json.loads(notebook.NOTEBOOK.read_text())
    kept = [cell.get("outputs") for cell in document["cells"]]
    notebook.run(document)
    new = [cell.get("outputs") for cell in document["cells"]]
    assert [bool(outputs) for outputs in new] == [bool(outputs) for outputs in kept]
    assert kept[-1] == new[-1]
