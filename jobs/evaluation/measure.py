"""Measures a model version: its predictions on a held-out sample, the figures, and the report."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, functions as F

from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Snapshot
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.evaluation import page as model_report
from genremill.jobs.evaluation.confidence import ClusterTags
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
from genremill.models.model_card import ModelCard
from genremill.udfs.arrow_rows import matrix
from genremill.udfs.tagging import abstentions, outliers

MOST_CORRELATED = 64
"""Features that the heat map of correlations shows at most."""
CORRELATED_TRACKS = 50_000
"""Tracks of which correlations are computed at most, drawn by stable hash."""


@dataclass(frozen=True)
class _Genres:
    """Means of the features by genre, for the map, and the correlations of the features."""

    names: tuple[str, ...]
    means: npt.NDArray[np.float64]
    correlations: Correlations | None


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
    metrics = dataclasses.replace(measure(held_out, subject), tags=tags)
    return metrics, _page(metrics, held_out, inputs, _genres(tracks, inputs.tracks), header)


def _genres(tracks: DataFrame, snapshot: Snapshot) -> _Genres:
    """Means of the standardized features of each genre, and the correlation of each two features."""
    names = TracksDetails.of(snapshot).feature_names
    if not names:
        return _Genres((), np.zeros((0, 0)), None)
    columns = [f"f{index}" for index in range(len(names))]
    values = tracks.select(
        *(F.get("table_features", F.lit(index)).alias(name) for index, name in enumerate(columns)), "genres"
    )
    row = values.agg(*(F.mean(name) for name in columns), *(F.stddev(name) for name in columns)).first()
    figures = np.array([np.nan if value is None else value for value in (row or ())], dtype=np.float64)
    mean_F, deviation_F = np.split(figures, 2)
    by_genre = values.select(*columns, F.explode("genres").alias("genre")).groupBy("genre")
    means = by_genre.agg(*(F.mean(name).alias(name) for name in columns)).orderBy("genre").collect()
    means_GF = np.array([[row[name] for name in columns] for row in means], dtype=np.float64)
    scale_F = np.where(np.nan_to_num(deviation_F) > 0, deviation_F, 1.0)
    return _Genres(
        tuple(row["genre"] for row in means), (means_GF - mean_F) / scale_F, _correlations(tracks, names)
    )


def _correlations(tracks: DataFrame, names: list[str]) -> Correlations | None:
    """The correlation of each two features over a sample of tracks; None for too many features to show."""
    if len(names) > MOST_CORRELATED:
        return None
    complete = tracks.where(F.size("table_features") > 0).orderBy(unit_hash("sample", 0, "track_id"))
    table = complete.select("table_features").limit(CORRELATED_TRACKS).toArrow()
    values_TF = matrix(table.column("table_features")).astype(np.float64)
    with np.errstate(invalid="ignore"):  # a constant feature has no correlation: NaN
        matrix_FF = np.corrcoef(values_TF, rowvar=False)
    return Correlations(names, np.atleast_2d(matrix_FF))


def _page(
    metrics: Metrics, held_out: HeldOut, inputs: PredictionInputs, genres: _Genres, header: Header
) -> str:
    units, card = held_out.units(), inputs.model.card
    prediction_P = units.top_T[units.pair_track_P]
    training = card.training
    report = model_report.Report(
        metrics=metrics,
        header=header,
        confusion_CC=confusion(units.pair_label_P, prediction_P, len(units.classes)),
        probability_CC=mean_probability(units),
        reliability=calibration.reliability(units.confidence_T, units.right_T),
        coverage=calibration.coverage_curve(units.confidence_T, units.right_T),
        thresholds=_thresholds(card, held_out),
        epochs=training.history,
        fits_input_weights=card.model.endswith("fusion") and bool(training.rows.get(Split.VALIDATION)),
        clusters=_cluster_map(card, genres),
        correlations=genres.correlations,
        facts={
            "Model": f"{card.model}, {len(card.classes)} classes",
            **popularity(card, inputs.tracks),
            "Train pairs": f"{training.rows[Split.TRAIN]:,}",
            "Best epoch": f"{training.best_epoch} of {len(training.history)}",
            "Seed": str(training.seed),
            "Snapshots": ", ".join(f"{table} {run_id}" for table, run_id in card.snapshots.items()),
            "Code": card.code_version,
        },
    )
    return model_report.render(report)


def popularity(card: ModelCard, snapshot: Snapshot) -> dict[str, str]:
    """Whether popularity is an input of the model; nothing if the table does not say what popularity is."""
    named = [
        feature.name
        for feature in card.features
        if "popular" in feature.name.lower() and not feature.is_popularity
    ]
    if card.use_popularity:
        return {"Popularity": "an input"}
    if named:
        return {"Popularity": f"{', '.join(named)} is an input, like any other numeric column"}
    known = any(feature.is_popularity for feature in TracksDetails.of(snapshot).features)
    return {"Popularity": "not an input"} if known else {}


def _thresholds(card: ModelCard, held_out: HeldOut) -> list[ClusterTags]:
    """What the threshold of each cluster does; empty without thresholds and for the split `rows`."""
    if card.thresholds is None or held_out.split is SplitBy.ROWS:
        return []
    clusters = {cluster.id: cluster for cluster in card.clusters.values()}
    cluster_of_C = np.array(
        [card.clusters[name].id if name in card.clusters else -1 for name in card.classes]
    )
    cluster_T = cluster_of_C[held_out.top_T]
    tagged_T = ~abstentions(card, held_out.top_T, held_out.confidence_T)
    return [
        ClusterTags(
            name=clusters[number].name if number >= 0 else "no cluster",
            threshold=card.thresholds.of(clusters.get(number)),
            predictions=int((cluster_T == number).sum()),
            tagged=int((tagged_T & (cluster_T == number)).sum()),
            right=int((held_out.right_T & tagged_T & (cluster_T == number)).sum()),
        )
        for number in sorted(set(cluster_of_C.tolist()))
    ]


def _cluster_map(card: ModelCard, genres: _Genres) -> ClusterMap | None:
    """Clusters by genre, and each genre on the plane in which the mean features of the genres differ most."""
    if not card.genre_map:
        return None
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    cluster_of = {genre: number for genre, number in card.genre_map.items() if number in names}
    if len(genres.names) <= 2:
        return ClusterMap(names, cluster_of)
    centered = genres.means - genres.means.mean(axis=0)
    left, scale, _ = np.linalg.svd(centered, full_matrices=False)
    plane = zip(genres.names, left[:, :2] * scale[:2], strict=True)
    return ClusterMap(
        names, cluster_of, {name: (float(x), float(y)) for name, (x, y) in plane if name in cluster_of}
    )
