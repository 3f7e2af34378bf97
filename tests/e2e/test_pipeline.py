"""All jobs in order, each on the output of the one before, on a small demo catalog."""

import json
import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from genremill.jobs import cli, command, evaluate
from genremill.jobs.contracts import quoted
from genremill.jobs.nights import steps as night_steps
from tests.e2e.conftest import FAST, Catalog


def _labels(spark: SparkSession, catalog: Catalog) -> dict[str, str]:
    current = catalog.warehouse.current("tags")
    assert current is not None
    tags = spark.read.parquet(catalog.warehouse.path(current.snapshot.path))
    return {row["track_id"]: row["label"] for row in tags.select("track_id", "label").collect()}


def test_every_track_is_tagged_and_the_report_shows_the_accuracy(
    spark: SparkSession, catalog: Catalog
) -> None:
    metrics = catalog.run("evaluate")["metrics"]
    staged = catalog.run("score")
    assert catalog.warehouse.current("tags") is None
    catalog.run("publish")
    tables = catalog.run("tables")
    assert tables["tags"]["rows"] == tables["tracks"]["rows"] == staged["rows"]
    tags = spark.read.parquet(tables["tags"]["path"])
    row = tags.orderBy("track_id").first()
    assert row is not None
    assert row["status"] == "tagged"
    assert row["label"] == row["top"][0]["label"]
    assert [label["probability"] for label in row["top"]] == sorted(
        (label["probability"] for label in row["top"]), reverse=True
    )
    assert len(row["top"]) == 5
    genre_map = spark.read.parquet(tables["genre_map"]["path"])
    clusters = {genre["genre"]: genre["cluster_id"] for genre in genre_map.collect()}
    some = tags.where("label IS NOT NULL").limit(50).collect()
    assert all(tag["cluster_id"] == clusters[tag["label"]] for tag in some)
    # 30 genres: much better than chance on held-out artists, and below the ceiling.
    assert 0.3 < metrics["top1"]["value"] < metrics["ceiling_top1"]
    assert metrics["split"] == "artist"
    page = next(Path(catalog.uri).glob("reports/*/report.html")).read_text()
    assert "artist split" in page


def test_scores_do_not_depend_on_batches_or_partitions(spark: SparkSession, catalog: Catalog) -> None:
    catalog.run("score")
    catalog.run("publish")
    labels = _labels(spark, catalog)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        catalog.run("score")
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    catalog.run("publish")
    assert _labels(spark, catalog) == labels


def test_publish_rolls_back_and_publishes_a_named_run(spark: SparkSession, catalog: Catalog) -> None:
    first = catalog.run("score")["staged"]
    catalog.run("publish")
    second = catalog.run("score")["staged"]
    assert catalog.run("publish")["published"] == second
    assert catalog.run("publish", "--rollback")["published"] == first
    assert catalog.run("tables")["tags"]["run_id"] == first
    catalog.run("publish", exit_code=2)  # a withdrawn run is published only by name
    assert catalog.run("publish", "--run", second)["published"] == second


@pytest.mark.parametrize(
    ("spoil", "audit"),
    [
        (
            "SELECT * FROM tags WHERE track_id NOT IN (SELECT min(track_id) FROM tags)",
            "tracks without tags 1",
        ),
        ("SELECT * EXCEPT (label), 'polka' AS label FROM tags", "rows with an unknown label"),
        ("SELECT * EXCEPT (top), slice(top, 1, 0) AS top FROM tags", "tagged rows without a label"),
        ("SELECT * FROM tags UNION ALL SELECT * FROM tags", "different values of track_id"),
        (
            "SELECT * EXCEPT (top), transform(top, one -> named_struct('label', 'polka', 'probability', "
            "one.probability)) AS top FROM tags",
            "rows with an unknown label",
        ),
        (
            "SELECT * EXCEPT (confidence), float('nan') AS confidence FROM tags",
            "rows with an invalid probability",
        ),
    ],
)
def test_invalid_tags_are_refused_and_the_old_tags_stay_current(
    spark: SparkSession, catalog: Catalog, spoil: str, audit: str
) -> None:
    good = catalog.run("score")["staged"]
    catalog.run("publish")
    bad = catalog.run("score")["staged"]
    folder = Path(catalog.uri) / "tags" / f"run={bad}"
    spark.read.parquet(str(folder)).createOrReplaceTempView("tags")
    columns = spark.table("tags").columns
    spark.sql(spoil).select(*columns).write.parquet(str(folder) + "-spoiled")
    for file in folder.glob("part-*"):
        file.unlink()
    for file in Path(str(folder) + "-spoiled").glob("part-*"):
        shutil.copy(file, folder)
    assert cli.main(["publish", "--warehouse", catalog.uri]) == 2
    assert audit in catalog.capsys.readouterr().err
    assert catalog.run("tables")["tags"]["run_id"] == good


def test_tags_of_a_part_of_the_tracks_are_refused_but_the_model_is_not(catalog: Catalog) -> None:
    catalog.run("score")
    catalog.run("publish")
    second = catalog.run("train", "--model", "linear", "--epochs", "1", "--seed", "5")["model_version"]
    assert catalog.run("score", "--limit", "200")["model_version"] == second
    catalog.run("publish", exit_code=2)
    assert catalog.run("score", "--dry-run")["model_version"] == second


def test_a_model_of_another_warehouse_tags_a_catalog_without_labels(
    spark: SparkSession, catalog: Catalog
) -> None:
    model = next(Path(catalog.uri).glob("models/linear/*"))
    lines = Path(catalog.tracks).read_text().splitlines()
    (catalog.folder / "unlabeled.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    other = Catalog(catalog.folder / "other", catalog.capsys)
    other.run("nightly", "--tracks", str(catalog.folder / "unlabeled.csv"), "--score.model", str(model))
    tables = other.run("tables")
    assert set(tables) == {"tracks", "tags"}
    assert tables["tags"]["rows"] == tables["tracks"]["rows"]


def test_kept_columns_reach_the_tags(spark: SparkSession, tmp_path: Path, catalog: Catalog) -> None:
    lines = Path(catalog.tracks).read_text().splitlines()
    names = ["isrc", "rel.date", "a`b", "top[0]", "label.x"]
    kept = [f"{lines[0]},{','.join(names)}"]
    kept += [f"{line}{''.join(f',{name}{at}' for name in names)}" for at, line in enumerate(lines[1:])]
    (tmp_path / "kept.csv").write_text("\n".join(kept))
    catalog.run("ingest", "--tracks", str(tmp_path / "kept.csv"), "--columns.keep", *names)
    catalog.run("score")
    catalog.run("publish")
    tables = catalog.run("tables")
    tags, tracks = (spark.read.parquet(tables[name]["path"]) for name in ("tags", "tracks"))
    both = [frame.select("track_id", *map(quoted, names)) for frame in (tags, tracks)]
    assert both[0].exceptAll(both[1]).count() == 0
    assert both[0].count() == both[1].count() == tables["tags"]["rows"]


def test_nightly_skips_what_has_not_changed(spark: SparkSession, catalog: Catalog) -> None:
    flags = [
        "--tracks",
        catalog.tracks,
        "--train.model",
        "linear",
        "--train.epochs",
        "2",
        "--cluster.clusters",
        "5",
        "--publish.max-churn-new",
        "1",
    ]
    assert set(catalog.run("nightly", *flags, "--dry-run")["steps"]) >= {
        "cluster",
        "train",
        "score",
        "publish",
    }
    first = catalog.run("nightly", *flags)["steps"]
    assert [name for name, result in first.items() if result == "skipped"] == [
        "extract"
    ]  # without --audio-root
    before = catalog.run("tables")
    second = catalog.run("nightly", *flags)["steps"]
    assert set(second.values()) == {"skipped"}
    assert catalog.run("tables") == before
    third = catalog.run("nightly", *flags, "--train.seed", "1", "--dry-run")["steps"]
    assert list(third) == ["train", "evaluate", "score", "publish"]


def test_nightly_publishes_staged_tags_and_keeps_a_rollback(catalog: Catalog) -> None:
    flags = ["--tracks", catalog.tracks, "--train.model", "linear", "--train.epochs", "2"]
    flags += ["--cluster.clusters", "5", "--publish.max-churn-new", "1"]
    flags += ["--publish.max-class-shift", "99", "--publish.max-loss", "1"]
    old_model = catalog.run("score")["model_version"]
    catalog.run("publish")
    catalog.run("nightly", *flags)
    new = catalog.run("tables")["tags"]["run_id"]
    catalog.run("publish", "--rollback")
    steps = catalog.run("nightly", *flags)["steps"]
    assert steps["train"] == "skipped"
    assert steps["score"]["model_version"] == old_model
    # A named run is published again, and stays current.
    any_model = ["--max-churn-new", "1", "--max-class-shift", "99", "--max-loss", "1"]
    catalog.run("publish", "--run", new, *any_model)
    assert set(catalog.run("nightly", *flags)["steps"].values()) == {"skipped"}
    # As if killed between score and publish: the staged tags are published, and not computed again.
    for file in ("_generation.json", "tags/_current.json"):
        Path(catalog.uri, file).unlink()
    steps = catalog.run("nightly", *flags)["steps"]
    assert [name for name, result in steps.items() if result != "skipped"] == ["publish"]
    assert catalog.run("tables")["tags"]["run_id"] == new


def test_a_model_whose_tags_were_refused_is_not_used_again(catalog: Catalog) -> None:
    first = catalog.run("score")["model_version"]
    catalog.run("publish")
    flags = ["--model", "linear", "--epochs", "1", "--use-popularity", "--seed", "3"]
    second = catalog.run("train", *flags)["model_version"]
    assert catalog.run("score")["model_version"] == second
    staged = catalog.run("publish", "--max-churn-new", "0.01", exit_code=2)
    assert staged == {}
    assert catalog.run("score", "--dry-run")["model_version"] == first
    assert catalog.run("score", "--dry-run", "--model-version", second)["model_version"] == second
    catalog.run("publish", "--max-churn-new", "1", "--max-class-shift", "99", "--max-loss", "1")
    assert catalog.run("score", "--dry-run")["model_version"] == second


def test_tags_of_earlier_tracks_are_published_only_by_name(catalog: Catalog) -> None:
    staged = catalog.run("score")["staged"]
    catalog.run("ingest", "--tracks", catalog.tracks, "--limit", "1000", "--max-vanished", "1")
    catalog.run("publish", exit_code=2)
    assert catalog.run("publish", "--run", staged)["published"] == staged


def test_models_are_compared_on_one_page(catalog: Catalog) -> None:
    linear = catalog.run("train", *FAST, "--epochs", "1")["model_version"]
    knn = catalog.run("train", "--model", "knn", "--per-class", "10")["model_version"]
    hybrid = ["--model", "hybrid", "--parts", "linear+fcnn", "--inputs", "table", "--epochs", "1"]
    joined = catalog.run("train", *hybrid)["model_version"]
    found = catalog.run("evaluate", "--model-version", linear, knn, joined)
    first, second, third = found["models"]
    assert first["metrics"]["model_version"] == linear
    assert second["metrics"]["rows"] < first["metrics"]["rows"]
    assert min(model["cost"]["score_seconds"] for model in found["models"]) > 0
    assert third["cost"]["megabytes"] > first["cost"]["megabytes"]
    page = Path(found["report"].removeprefix("file://")).read_text()
    for version in (linear, knn, joined):
        assert page.count(version) >= 5
    auc = first["metrics"]["per_class"]["rock"]["roc_auc"]
    assert f"{auc:.3f}" in page
    best = max(found["models"], key=lambda model: model["metrics"]["per_class"]["rock"]["f1"] or 0)
    rock = page[page.index(">rock<") :][:400]
    assert best["metrics"]["model_version"] in rock


def test_without_a_test_split_evaluation_is_skipped_with_a_warning(
    spark: SparkSession, catalog: Catalog
) -> None:
    catalog.run("ingest", "--tracks", catalog.tracks, "--fractions", "0.9", "0.1", "0")
    catalog.run("train", "--model", "linear", "--epochs", "1")
    catalog.run("evaluate", exit_code=2)
    work = command.Run(catalog.warehouse, "r1")
    assert night_steps.evaluate_or_warn(spark, work, evaluate.Config()).summary == {"report": None}


def test_a_model_can_use_cluster_labels_and_balanced_classes(catalog: Catalog) -> None:
    trained = catalog.run("train", *FAST, "--labels", "cluster", "--per-class", "100", "--use-popularity")
    assert sum(trained["rows"].values()) == 600
    metrics = catalog.run("evaluate")["metrics"]
    assert metrics["labels"] == "cluster"
    assert len(metrics["classes"]) == 6
    assert metrics["rows"] == trained["rows"]["test"]
    assert metrics["use_popularity"] is True


def test_two_workers_train_as_accurately_as_one(catalog: Catalog) -> None:
    one = catalog.run("evaluate")["metrics"]["top1"]["value"]
    catalog.run("train", *FAST, "--workers", "2")
    two = catalog.run("evaluate")["metrics"]["top1"]["value"]
    assert abs(one - two) < 0.03


def test_a_loss_of_nan_is_a_usage_error(catalog: Catalog) -> None:
    flags = ["train", "--warehouse", catalog.uri, "--model", "linear", "--learning-rate", "1e38"]
    assert cli.main(flags) == 2
    assert "Try a lower --learning-rate" in catalog.capsys.readouterr().err


@pytest.mark.parametrize("method", ["kmeans", "spectral", "affinity", "agglomerative"])
def test_the_clustering_methods_of_the_reports(spark: SparkSession, catalog: Catalog, method: str) -> None:
    flags = [] if method == "affinity" else ["--clusters", "5"]
    found = catalog.run("cluster", "--method", method, "--fit-on", "all", "--use-popularity", *flags)
    assert found["genres"] == 30
    assert found["stability"] is not None
    tables = catalog.run("tables")
    profiles = spark.read.parquet(tables["genre_profiles"]["path"])
    assert profiles.count() == 30
    assert {len(row["means"]) for row in profiles.collect()} == {13 + 12 + 4}


def test_a_manual_genre_map_sets_the_clusters(spark: SparkSession, catalog: Catalog) -> None:
    (catalog.folder / "map.yaml").write_text("rock: loud\npunk: loud\njazz: soft\npolka: odd\n")
    found = catalog.run("cluster", "--method", "manual", "--map", str(catalog.folder / "map.yaml"))
    assert (found["genres"], found["clusters"], found["unknown_genres"]) == (3, 2, ["polka"])
    rows = spark.read.parquet(catalog.run("tables")["genre_map"]["path"]).collect()
    assert {row["genre"]: row["cluster_name"] for row in rows} == {
        "rock": "loud",
        "punk": "loud",
        "jazz": "soft",
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["cluster", "--method", "manual"], "--method manual needs --map FILE"),
        (["cluster", "--method", "manual", "--map", "/nowhere.yaml"], "no such file"),
        (["cluster", "--clusters", "99"], "expected 1 to 30"),
        (["train", "--model", "wavenet"], "no model is named 'wavenet'"),
        (["train", "--model", "lstm"], "lstm takes inputs of the kind sequence; found table: vector"),
        (
            ["train", "--parts", "linear+mlp4"],
            "only hybrid has parts; expected the names of different models",
        ),
        (["train", "--model", "hybrid"], "only hybrid has parts; expected the names of different models"),
        (["train", "--exactly"], "--exactly needs --per-class N"),
        (["train", "--exactly", "--per-class", "9"], "--exactly --per-class 9: expected 10 or more"),
        (["train", "--exactly", "--per-class", "9999"], "The largest possible value is --per-class"),
        (["train", "--workers", "0"], "expected 1 or more"),
        (["train", "--seed", "-1"], "--seed -1: expected 0 to"),
        (["train", "--learning-rate", "nan"], "expected a number above 0"),
        (["score", "--limit", "0"], "--limit 0: expected 1 or more"),
        (["train", "--config", "/nowhere.yaml"], "--config /nowhere.yaml: no such file"),
        (["train", "--inputs", "gtzan57"], "has no features of the set 'gtzan57'; it has: none"),
        (["train", "--model", "mlp4"], "Run `genremill extract --features gtzan57`"),
        (["train", "--inputs", "table+table"], "expected different names, joined by +"),
        (["cluster", "--inputs", "table+"], "expected different names, joined by +"),
        (["score", "--model-version", "linear/../.."], "no such model"),
        (["score", "--model", "/tmp"], "is not a model"),
        (["publish", "--run", "never"], "no complete run"),
        (["publish"], "no staged tags"),
        (["evaluate", "--model-version", "linear/never"], "no such model"),
        (["train", "--wrokers", "2"], "did you mean --workers?"),
        (["trian"], "did you mean 'train'?"),
    ],
)
def test_wrong_usage_is_one_clear_error(catalog: Catalog, flags: list[str], message: str) -> None:
    assert cli.main([flags[0], "--warehouse", catalog.uri, *flags[1:]]) == 2
    err = catalog.capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_config_file_sets_the_flags(catalog: Catalog) -> None:
    (catalog.folder / "nightly.yaml").write_text("model: linear\nepochs: 2\nuse-popularity: true\n")
    flags = ["train", "--config", str(catalog.folder / "nightly.yaml"), "--epochs", "1"]
    version = catalog.run(*flags)["model_version"]
    card = json.loads((Path(catalog.uri) / "models" / version / "model.json").read_text())
    assert (card["model"], len(card["training"]["history"]), card["use_popularity"]) == ("linear", 1, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: linear\n", "no flag is named 'modle'; did you mean model?"),
        ("!!python/object/apply:os.system ['touch never']\n", "is not plain YAML"),
        ("- model\n", "expected a mapping"),
        ("use-popularity: maybe\n", "expected true or false"),
    ],
)
def test_an_invalid_config_file_is_a_usage_error(catalog: Catalog, text: str, message: str) -> None:
    (catalog.folder / "c.yaml").write_text(text)
    assert cli.main(["train", "--warehouse", catalog.uri, "--config", str(catalog.folder / "c.yaml")]) == 2
    assert message in catalog.capsys.readouterr().err
    assert not Path("never").exists()
