"""Measures a model version: its predictions on a held-out sample, the figures, and the report."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame, functions as F

from genremill.infra.pages.formats import percent
from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.evaluation import page as model_report
from genremill.jobs.evaluation.figures import ClusterTags
from genremill.jobs.evaluation.pictures import ClusterMap, Correlations
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.snapshot_details import TracksDetails
from genremill.jobs.training import predictions
from genremill.models.evaluation import calibration
from genremill.models.evaluation.calibration import tag_figures
from genremill.models.evaluation.held_out import HeldOut, Labels
from genremill.models.evaluation.metrics import Metrics, Subject, measure
from genremill.models.evaluation.scores import confusion, mean_probability
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard, TrainingRecord
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tagging import abstentions, outliers

MOST_CORRELATED = 64
"""Largest number of features in the heat map of correlations."""
CORRELATED_TRACKS = 50_000
"""Largest number of tracks that correlations are computed from, drawn by a stable hash."""


def measured(
    inputs: PredictionInputs, sample: DataFrame, tracks: DataFrame, header: Header
) -> tuple[Metrics, str]:
    """The figures of a model on a bounded sample of held-out tracks, and the page of its report."""
    collected = predictions.collected(inputs, sample)
    held_out, card = collected.held_out, inputs.model.card
    subject = Subject(inputs.model.version, Labels(card.labels), card.inputs, card.use_popularity)
    outlier_T = outliers(card, collected.distances_TI)
    abstained_T = abstentions(card, held_out.top_T, held_out.confidence_T)
    tags = tag_figures(held_out, outlier_T, abstained_T)
    alone = None if card.artist_pooling is None else collected.alone
    metrics = dataclasses.replace(measure(held_out, subject, alone), tags=tags)
    return metrics, _page(metrics, held_out, inputs, tracks, header)


def _page(
    metrics: Metrics, held_out: HeldOut, inputs: PredictionInputs, tracks: DataFrame, header: Header
) -> str:
    units, card = held_out.units(), inputs.model.card
    training, features = card.training, TracksDetails.of(inputs.tracks).feature_names
    report = model_report.Report(
        metrics=metrics,
        header=header,
        confusion_CC=confusion(units.pair_label_P, units.top_T[units.pair_track_P], len(units.classes)),
        probability_CC=mean_probability(units),
        reliability=calibration.reliability(units.confidence_T, units.right_T),
        coverage=calibration.coverage_curve(units.confidence_T, units.right_T),
        thresholds=_thresholds(card, held_out),
        epochs=training.history,
        fits_input_weights=card.model.endswith("fusion") and bool(training.rows.get(Split.VALIDATION)),
        clusters=_cluster_map(card, tracks, len(features)),
        correlations=_correlations(tracks, features),
        facts={
            "Model": f"{card.model}, {len(card.classes)} classes",
            **popularity(card, inputs.tracks),
            **_artist_facts(metrics),
            "Train pairs": f"{training.rows[Split.TRAIN]:,}",
            "Weights": weights(training),
            "Seed": str(training.seed),
            "Snapshots": ", ".join(f"{table} {run_id}" for table, run_id in card.snapshots.items()),
            "Code": card.code_version,
        },
    )
    return model_report.render(report)


def _artist_facts(metrics: Metrics) -> dict[str, str]:
    """What the predictions for the other tracks of an artist bring, if the model uses them."""
    if metrics.alone is None:
        return {}
    top1, top5 = metrics.alone.top1.value, metrics.alone.top5.value
    return {
        "Tracks of an artist": f"combined; each track alone: top-1 {percent(top1)}, top-5 {percent(top5)}"
    }


def popularity(card: ModelCard, snapshot: Snapshot) -> dict[str, str]:
    """Whether popularity is an input of the model; nothing if the table does not say what popularity is."""
    if card.use_popularity:
        return {"Popularity": "an input"}
    named = [each.name for each in card.features if "popular" in each.name.lower() and not each.is_popularity]
    if named:
        return {"Popularity": f"{', '.join(named)} is an input, like any other numeric column"}
    known = any(feature.is_popularity for feature in TracksDetails.of(snapshot).features)
    return {"Popularity": "not an input"} if known else {}


def weights(training: TrainingRecord) -> str:
    """Which epoch's weights the model has, and why."""
    epoch = f"of epoch {training.best_epoch} of {len(training.history)}"
    is_last, recipe = training.best_epoch == len(training.history), training.recipe
    if recipe is None or (is_last and recipe.patience is None):
        return f"{epoch}: the last epoch's weights are kept, because training does not stop early"
    if training.history[training.best_epoch - 1].validation_loss is None:
        return f"{epoch}: the last epoch's weights are kept, because there are no validation tracks"
    return f"{epoch}: those with the best validation {recipe.watch}"


def _thresholds(card: ModelCard, held_out: HeldOut) -> list[ClusterTags]:
    """What the threshold of each cluster does; empty without thresholds and for the split `rows`."""
    if card.thresholds is None or held_out.split is SplitBy.ROWS:
        return []
    clusters = {cluster.id: cluster for cluster in card.clusters.values()}
    id_C = np.array([card.clusters[name].id if name in card.clusters else -1 for name in card.classes])
    tagged_T = ~abstentions(card, held_out.top_T, held_out.confidence_T)
    rows = []
    for number in np.unique(id_C).tolist():
        cluster, of_T = clusters.get(number), id_C[held_out.top_T] == number
        name, threshold = cluster.name if cluster else "no cluster", card.thresholds.of(cluster)
        flags = (of_T, of_T & tagged_T, of_T & tagged_T & held_out.right_T)
        rows.append(ClusterTags(name, threshold, *(int(flag_T.sum()) for flag_T in flags)))
    return rows


def _cluster_map(card: ModelCard, tracks: DataFrame, features: int) -> ClusterMap | None:
    """Clusters by genre, and each genre on the plane in which the mean features of the genres differ most."""
    if not card.genre_map:
        return None
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    cluster_of = {genre: number for genre, number in card.genre_map.items() if number in names}
    genres, means_GF = _genre_means(tracks, features) if features else ([], np.zeros((0, 0)))
    if len(genres) <= 2:
        return ClusterMap(names, cluster_of)
    left, scale, _ = np.linalg.svd(means_GF - means_GF.mean(axis=0), full_matrices=False)
    plane_G2 = np.zeros((len(genres), 2))  # of one feature, the second coordinate is 0
    plane_G2[:, : len(scale)] = left[:, :2] * scale[:2]
    plane = zip(genres, plane_G2.tolist(), strict=True)
    return ClusterMap(names, cluster_of, {name: (x, y) for name, (x, y) in plane if name in cluster_of})


def _genre_means(tracks: DataFrame, features: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The genres, and the means of their standardized features; 0 if no track of the genre has a value."""
    columns = [f"f{index}" for index in range(features)]
    indexed = (F.get("table_features", F.lit(index)).alias(name) for index, name in enumerate(columns))
    values = tracks.select(*indexed, "genres")
    row = values.agg(*(F.mean(name) for name in columns), *(F.stddev(name) for name in columns)).first()
    figures = np.array([np.nan if value is None else value for value in (row or ())], dtype=np.float64)
    mean_F, deviation_F = np.split(figures, 2)
    by_genre = values.select(*columns, F.explode("genres").alias("genre")).groupBy("genre")
    means = by_genre.agg(*(F.mean(name).alias(name) for name in columns)).orderBy("genre").collect()
    means_GF = np.array([[row[name] for name in columns] for row in means], dtype=np.float64)
    scale_F = np.where(np.nan_to_num(deviation_F) > 0, deviation_F, 1.0)
    return [row["genre"] for row in means], np.nan_to_num((means_GF - mean_F) / scale_F)


def _correlations(tracks: DataFrame, names: list[str]) -> Correlations | None:
    """The correlation of each two features over a sample of tracks; None for too many features to show.

    It is over the tracks that have both values.
    """
    if not 0 < len(names) <= MOST_CORRELATED:
        return None
    drawn = tracks.where(F.size("table_features") > 0).orderBy(unit_hash("sample", 0, "track_id"))
    table = drawn.select("table_features").limit(CORRELATED_TRACKS).toArrow()
    values_TF = matrix(table.column("table_features")).astype(np.float64)
    # A constant feature has no correlation: NaN.
    return Correlations(names, pd.DataFrame(values_TF).corr().to_numpy())
