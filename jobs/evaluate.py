"""Measures a model version on held-out tracks: metrics.json and a self-contained HTML report.

Reads: a model version, and the run of `tracks` it was trained on. Writes: `reports/<run_id>/`.

    spark-submit jobs/evaluate.py --warehouse file:///data/warehouse
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, SparkSession, functions as F, types as T

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import spark_session
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, model_report, model_versions, train
from genremill.jobs.contracts import Split
from genremill.jobs.report_pictures import ClusterMap, Correlations, Epoch
from genremill.jobs.splits import unit_hash
from genremill.models import artifact, calibration
from genremill.models.artifact import ModelCard
from genremill.models.held_out import HeldOut, Labels, SplitBy
from genremill.models.metrics import Metrics, Subject, confusion, measure
from genremill.udfs.tagging import predictor

MAX_TRACKS = 200_000
"""Held-out tracks measured at most, drawn by stable hash: more would not narrow an interval that matters."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which model is measured."""

    model_version: str | None = None
    """<name>/<version> [the newest of the warehouse]."""


@dataclass(frozen=True)
class _Genres:
    """Means of the features by genre, for the map, and the features' correlations."""

    names: tuple[str, ...]
    means: npt.NDArray[np.float64]
    correlations: Correlations | None


def transform(
    tracks: DataFrame, genre_map: DataFrame | None, card: ModelCard, snapshot: Snapshot
) -> DataFrame:
    """Held-out tracks: track_id, table_features, artist_id, unseen, and `labels`, the classes they bear."""
    settings = card.training["settings"]
    cfg = train.Config(per_class=settings["per_class"], seed=settings["seed"])
    pairs = train.transform(tracks, genre_map, cfg, snapshot)
    known = pairs.where(F.col("class").isin(*card.classes))
    held_out = known.where(F.col("split") == Split.TEST.value)
    labels = held_out.groupBy("track_id").agg(F.collect_list("class").alias("labels"))
    trained = known.where(F.col("split") == Split.TRAIN.value).select("track_id").distinct()
    credited = tracks.select("track_id", F.explode("artists").alias("artist"))
    heard = (
        credited.join(trained, "track_id", "left_semi")
        .select("artist")
        .distinct()
        .withColumn("heard", F.lit(True))
    )
    seen = (
        credited.join(labels, "track_id", "left_semi")
        .join(heard, "artist", "inner")
        .select("track_id")
        .distinct()
        .withColumn("seen", F.lit(True))
    )
    return (
        tracks.select("track_id", "artist_id", "table_features")
        .join(labels, "track_id", "inner")
        .join(seen, "track_id", "left")
        .select("track_id", "artist_id", "table_features", F.col("seen").isNull().alias("unseen"), "labels")
    )


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Predicts the held-out tracks, measures, and writes the report."""
    version, folder = model_versions.folder_of(work.warehouse, cfg.model_version)
    card = artifact.read_card(folder)
    snapshot = _trained_on(work.warehouse, version, card)
    tracks = spark.read.parquet(work.warehouse.path(snapshot.path))
    held_out = transform(tracks, _genre_map(spark, work.warehouse, card), card, snapshot)
    sample = held_out.orderBy(unit_hash(0, "track_id")).limit(MAX_TRACKS)
    path = work.warehouse.tmp(work.run_id, "held_out")
    sample.write.parquet(path)
    measured = _collect(spark, path, folder, card, snapshot)
    LOGGER.info("measuring %s on %d held-out pairs", version, len(measured.pair_label_P))
    subject = Subject(version, Labels(card.labels), card.inputs, card.use_popularity)
    metrics = measure(measured, subject)
    page = _page(metrics, measured, card, _genres(tracks, snapshot))
    report = work.warehouse.path("reports", work.run_id)
    if not work.dry_run:
        storage.write_atomic(f"{report}/report.html", page.encode())
        storage.write_atomic(f"{report}/metrics.json", json.dumps(metrics.as_json(), indent=1).encode())
    figures = metrics.figures
    LOGGER.info("top-1 %.3f, top-5 %.3f (%s split)", figures.top1.value, figures.top5.value, metrics.split)
    summary = {"model_version": version, "report": f"{report}/report.html", "metrics": metrics.as_json()}
    text = (
        f"{version} on {figures.rows:,} held-out pairs, {metrics.split} split: "
        f"top-1 {figures.top1.value:.3f} of at most {figures.ceiling_top1:.3f}, "
        f"top-5 {figures.top5.value:.3f}\n"
        f"report: {report}/report.html"
    )
    return command.Outcome(summary, text)


def report_of(warehouse: Warehouse, version: str) -> str | None:
    """The newest report on a model version, or None."""
    for run_id in reversed(storage.folders(warehouse.path("reports"))):
        metrics = warehouse.path("reports", run_id, "metrics.json")
        if storage.exists(metrics) and json.loads(storage.read_bytes(metrics))["model_version"] == version:
            return warehouse.path("reports", run_id, "report.html")
    return None


def _trained_on(warehouse: Warehouse, version: str, card: ModelCard) -> Snapshot:
    run_id = card.snapshots.get("tracks", "")
    snapshot = warehouse.finished("tracks", run_id) if run_id else None
    if snapshot is None:
        raise UsageError(
            f"{version} was trained on run {run_id!r} of tracks, which {warehouse.uri} no longer has"
        )
    return snapshot


def _genre_map(spark: SparkSession, warehouse: Warehouse, card: ModelCard) -> DataFrame | None:
    """The map from genres to the model's labels, out of the artifact; None where labels are genres."""
    if Labels(card.labels) is Labels.GENRE:
        return None
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    rows = [(genre, names[cluster]) for genre, cluster in card.genre_map.items()]
    return spark.createDataFrame(rows, "genre string, cluster_name string")


def _collect(spark: SparkSession, path: str, folder: str, card: ModelCard, snapshot: Snapshot) -> HeldOut:
    """The held-out sample with the model's probabilities, on the driver; bounded by `MAX_TRACKS`."""
    tracks = spark.read.parquet(path)
    predict = predictor(folder, model_versions.positions(card, snapshot))
    schema = T.StructType(
        [
            T.StructField("track_id", T.StringType()),
            T.StructField("probabilities", T.ArrayType(T.FloatType())),
        ]
    )
    answers = tracks.select("track_id", "table_features").mapInArrow(predict, schema)
    table = tracks.drop("table_features").join(answers, "track_id", "inner").orderBy("track_id").toArrow()
    if not len(table):
        raise UsageError("no held-out track bears a label the model knows; nothing can be measured")
    index = {name: at for at, name in enumerate(card.classes)}
    labels = table.column("labels").combine_chunks()
    flat = table.column("probabilities").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    places = sorted({cluster.id: cluster.name for cluster in card.clusters.values()}.items())
    place_of = {number: at for at, (number, _) in enumerate(places)}
    clusters = [place_of[card.clusters[name].id] if name in card.clusters else -1 for name in card.classes]
    by_genre = Labels(card.labels) is Labels.GENRE and bool(places)
    return HeldOut(
        split=SplitBy(snapshot.details["split"]["by"]),
        classes=card.classes,
        probabilities_TC=flat.reshape(len(table), len(card.classes)),
        pair_track_P=np.repeat(np.arange(len(table)), np.diff(labels.offsets.to_numpy())),
        pair_label_P=np.array([index[name] for name in labels.flatten().to_pylist()]),
        artist_T=np.array(table.column("artist_id").to_pylist()),
        unseen_T=np.array(table.column("unseen").to_pylist(), dtype=bool),
        cluster_of_class_C=np.array(clusters) if by_genre else None,
        cluster_names=tuple(name for _, name in places),
    )


def _genres(tracks: DataFrame, snapshot: Snapshot) -> _Genres:
    """Means of the standardised features of each genre, and the correlation of each two features."""
    names = [one["name"] for one in snapshot.details["features"]]
    if not names:
        return _Genres((), np.zeros((0, 0)), None)
    values = tracks.select(
        *(F.get("table_features", F.lit(at)).alias(f"f{at}") for at in range(len(names))), "genres"
    )
    columns = [f"f{at}" for at in range(len(names))]
    pairs = [(a, b) for at, a in enumerate(columns) for b in columns[at + 1 :]]
    row = values.agg(
        *(F.mean(name) for name in columns),
        *(F.stddev(name) for name in columns),
        *(F.corr(a, b) for a, b in pairs),
    ).first()
    found = np.array([np.nan if one is None else one for one in (row or ())], dtype=np.float64)
    mean_F, deviation_F = found[: len(names)], found[len(names) : 2 * len(names)]
    matrix_FF = np.eye(len(names))
    matrix_FF[np.triu_indices(len(names), 1)] = found[2 * len(names) :]
    matrix_FF = np.triu(matrix_FF) + np.triu(matrix_FF, 1).T
    by_genre = values.select(*columns, F.explode("genres").alias("genre")).groupBy("genre")
    means = by_genre.agg(*(F.mean(name).alias(name) for name in columns)).orderBy("genre").collect()
    means_GF = np.array([[row[name] for name in columns] for row in means], dtype=np.float64)
    scale_F = np.where(np.nan_to_num(deviation_F) > 0, deviation_F, 1.0)
    return _Genres(
        tuple(row["genre"] for row in means), (means_GF - mean_F) / scale_F, Correlations(names, matrix_FF)
    )


def _page(metrics: Metrics, held_out: HeldOut, card: ModelCard, genres: _Genres) -> str:
    units = held_out.units()
    answer_P = units.top_T[units.pair_track_P]
    history = card.training.get("history", [])
    fields = Epoch.__dataclass_fields__
    return model_report.render(
        model_report.Report(
            metrics=metrics,
            confusion_CC=confusion(units.pair_label_P, answer_P, len(units.classes)),
            reliability=calibration.reliability(units.confidence_T, units.right_T),
            coverage=calibration.coverage_curve(units.confidence_T, units.right_T),
            epochs=[Epoch(**{name: one[name] for name in fields}) for one in history],
            clusters=_cluster_map(card, genres),
            correlations=genres.correlations,
            facts={
                "Model": f"{card.model}, {len(card.classes)} classes",
                "Train pairs": f"{card.training['rows'][Split.TRAIN]:,}",
                "Best epoch": f"{card.training['best_epoch']} of {len(history)}",
                "Seed": str(card.training["seed"]),
                "Snapshots": ", ".join(f"{table} {run_id}" for table, run_id in card.snapshots.items()),
                "Code": card.code_version,
            },
        )
    )


def _cluster_map(card: ModelCard, genres: _Genres) -> ClusterMap | None:
    """Clusters by genre; on a plane by the two directions in which the genres' means differ most."""
    if not card.genre_map:
        return None
    places = sorted({cluster.id: cluster.name for cluster in card.clusters.values()}.items())
    at = {number: place for place, (number, _) in enumerate(places)}
    cluster_of = {genre: at[number] for genre, number in card.genre_map.items() if number in at}
    xy = None
    if len(genres.names) > 2:
        centred = genres.means - genres.means.mean(axis=0)
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        plane = left[:, :2] * scale[:2]
        xy = {
            name: (float(x), float(y))
            for name, (x, y) in zip(genres.names, plane, strict=True)
            if name in cluster_of
        }
    return ClusterMap([name for _, name in places], cluster_of, xy)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        with spark_session("genremill evaluate") as spark:
            return run(spark, work, cfg)

    return command.main("evaluate", __doc__, Config, job, argv)


if __name__ == "__main__":
    sys.exit(main())
