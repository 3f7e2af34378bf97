"""Measures a model version on held-out tracks: metrics.json and a self-contained HTML report.

Reads: a model version, the run of `tracks` it was trained on, `features` where it takes audio.
Writes: `reports/<run_id>/`.

    spark-submit jobs/evaluate.py --warehouse file:///data/warehouse
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, model_registry, snapshots, train
from genremill.jobs.catalog.recordings import folded
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features import model_inputs
from genremill.jobs.training.pairs import labelled_tracks
from genremill.models.evaluation.held_out import Labels
from genremill.models.model_card import ModelCard, read_card

if TYPE_CHECKING:
    from genremill.models.evaluation.metrics import Metrics

MAX_TRACKS = 200_000
"""Held-out tracks measured at most, drawn by stable hash: more would not narrow an interval that matters."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which models are evaluated."""

    model_version: tuple[str, ...] = ()
    """Model versions as NAME/VERSION; with several, the report compares them. [the newest version]"""


def transform(
    tracks: DataFrame, genre_map: DataFrame | None, card: ModelCard, snapshot: Snapshot, inputs: Sequence[str]
) -> DataFrame:
    """Held-out tracks: track_id, artist_id, columns `inputs`, unseen, and `labels`, the classes they bear."""
    settings = card.training.settings
    exactly = settings.get("exactly", False)
    cfg = train.Config(per_class=settings["per_class"], exactly=exactly, seed=settings["seed"])
    pairs = train.transform(tracks, genre_map, cfg, snapshot)
    held_out = labelled_tracks(tracks, pairs, Split.TEST, card.classes, inputs)
    known = F.col("class").isin(*card.classes)
    trained = pairs.where(known & (F.col("split") == Split.TRAIN.value)).select("track_id").distinct()
    credited = tracks.select("track_id", F.explode("artists").alias("name")).select(
        "track_id", folded(F.col("name")).alias("artist")
    )
    heard = (
        credited.join(trained, "track_id", "left_semi")
        .select("artist")
        .distinct()
        .withColumn("heard", F.lit(True))
    )
    seen = (
        credited.join(held_out, "track_id", "left_semi")
        .join(heard, "artist", "inner")
        .select("track_id")
        .distinct()
        .withColumn("seen", F.lit(True))
    )
    return held_out.join(seen, "track_id", "left").select(
        "track_id", "artist_id", *inputs, F.col("seen").isNull().alias("unseen"), "labels"
    )


def ready(work: command.Run, cfg: Config) -> None:
    """Raises on all errors that can be seen without Spark."""
    cards = {}
    for asked in cfg.model_version or (None,):
        version, folder = model_registry.folder_of(work.warehouse, asked)
        cards[version] = read_card(folder)
        _trained_on(work.warehouse, version, cards[version])
    if len(cards) > 1:
        from genremill.jobs.evaluation import comparison  # here: scipy takes long to import

        comparison.check(cards)


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Predicts the held-out tracks, measures, and writes the report."""
    if len(cfg.model_version) > 1:
        return _compared(spark, work, cfg)
    metrics, page = _measured(spark, work, *cfg.model_version)
    version, figures = metrics.subject.model_version, metrics.figures
    text = (
        f"{version} on {figures.rows:,} held-out pairs, {metrics.split} split: "
        f"top-1 {figures.top1.value:.3f} of at most {figures.ceiling_top1:.3f}, "
        f"top-5 {figures.top5.value:.3f}"
    )
    LOGGER.info(text)
    summary = {"model_version": version, "metrics": metrics.as_json()}
    if work.dry_run:
        return command.Outcome(summary, f"{text}\ndry run: no report written")
    report = work.warehouse.path("reports", work.run_id)
    summary["report"] = f"{report}/report.html"
    storage.write_atomic(f"{report}/report.html", page.encode())
    storage.write_atomic(f"{report}/metrics.json", json.dumps(metrics.as_json(), indent=1).encode())
    return command.Outcome(summary, f"{text}\nreport: {report}/report.html")


def _measured(spark: SparkSession, work: command.Run, version: str | None = None) -> "tuple[Metrics, str]":
    """The figures of one version on its held-out tracks, and its report's page."""
    from genremill.jobs.evaluation import measure
    from genremill.jobs.training import (
        predictions,  # here: torch takes seconds to import, and --help needs none
    )

    version, folder = model_registry.folder_of(work.warehouse, version)
    card = read_card(folder)
    snapshot = _trained_on(work.warehouse, version, card)
    tracks = snapshots.read(spark, work.warehouse, snapshot)
    taken = model_inputs.of_model(work.warehouse, snapshot, card)
    usable = taken.of_usable(spark, work, tracks)
    held_out = transform(usable, _genre_map(spark, work.warehouse, card), card, snapshot, taken.columns)
    sample = held_out.orderBy(unit_hash("sample", 0, "track_id")).limit(MAX_TRACKS)
    sample = snapshots.checkpoint(work, sample, "held_out", version)
    model = predictions.Model(version, folder, card, snapshot, taken)
    header = Header.of(work.warehouse, work.run_id, snapshot)
    return measure.measured(model, sample, tracks, header)


def _compared(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Measures several versions, and writes one page about all of them."""
    from genremill.jobs.evaluation import comparison, cost

    folders = dict(model_registry.folder_of(work.warehouse, version) for version in cfg.model_version)
    cards = {version: read_card(folder) for version, folder in folders.items()}
    comparison.check(cards)
    compared = []
    for version, folder in folders.items():
        metrics, _ = _measured(spark, work, version)
        compared.append(comparison.Compared(metrics, cost.cost_of(folder, cards[version])))
    summary: dict[str, object] = {"models": [one.as_json() for one in compared]}
    text = "\n".join(one.line for one in compared)
    if work.dry_run:
        return command.Outcome(summary, f"{text}\ndry run: no report written")
    report = work.warehouse.path("reports", work.run_id)
    tracks = _trained_on(work.warehouse, compared[0].version, cards[compared[0].version])
    page = comparison.render(compared, Header.of(work.warehouse, work.run_id, tracks))
    storage.write_atomic(f"{report}/comparison.html", page.encode())
    storage.write_atomic(f"{report}/comparison.json", json.dumps(summary, indent=1).encode())
    summary["report"] = f"{report}/comparison.html"
    return command.Outcome(summary, f"{text}\nreport: {report}/comparison.html")


def report_of(warehouse: Warehouse, version: str) -> str | None:
    """The newest report on a model version, or None."""
    for run_id in reversed(storage.folders(warehouse.path("reports"))):
        metrics = warehouse.path("reports", run_id, "metrics.json")
        if storage.is_object(metrics) and _model_of(metrics) == version:
            return warehouse.path("reports", run_id, "report.html")
    return None


def _model_of(metrics: str) -> str | None:
    try:
        return str(json.loads(storage.read_bytes(metrics))["model_version"])
    except (ValueError, KeyError, TypeError):
        LOGGER.warning("%s is damaged and passed over", metrics)
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.main("evaluate", __doc__, Config, command.with_spark("evaluate", run), argv, ready)


if __name__ == "__main__":
    sys.exit(main())
