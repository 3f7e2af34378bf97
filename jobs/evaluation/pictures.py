"""The pictures of a model report: learning curves, the map of genres, correlations of features."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.maps import MapPoint, heat_map, name_map
from genremill.infra.pages.parts import Figure
from genremill.models.evaluation.held_out import Floats
from genremill.models.model_card import Epoch

CORRELATION_STEPS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)


@dataclass(frozen=True)
class ClusterMap:
    """Name by cluster number, cluster number by genre; `xy` places genres on a plane."""

    names: Mapping[int, str]
    cluster_of: Mapping[str, int]
    xy: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Correlations:
    """Pearson correlation of each two of F table features, NaN where a feature is constant."""

    names: Sequence[str]
    matrix_FF: Floats


def learning(epochs: Sequence[Epoch]) -> list[Figure]:
    """Loss, accuracy and learning rate by epoch; nothing without epochs."""
    if not epochs:
        return []
    loss = "Cross-entropy of the predictions, in nats per pair; 0 is best."
    if any(epoch.train_cross_entropy is not None for epoch in epochs):
        loss += " Train is measured during the epoch, validation after it."
    else:
        loss += " This model version did not record it for train pairs."
    seconds = sum(epoch.seconds for epoch in epochs)
    rate = f"At the end of each epoch; {len(epochs)} epochs took {seconds:,.0f} s."
    curves = {"train": "train_cross_entropy", "validation": "validation_loss"}
    accuracies = {"train": "train_accuracy", "validation": "validation_accuracy"}
    return [
        _curves("Loss", epochs, curves, loss),
        _curves("Accuracy", epochs, accuracies, "Top-1 accuracy of pairs.", percent=True),
        _curves("Learning rate", epochs, {"learning rate": "learning_rate"}, rate),
    ]


def genre_map(clusters: ClusterMap) -> Figure | None:
    """The genres on a plane; None if they have no coordinates."""
    if not clusters.xy:
        return None
    points = [
        MapPoint(genre, *clusters.xy[genre], group=cluster)
        for genre, cluster in sorted(clusters.cluster_of.items())
        if genre in clusters.xy
    ]
    caption = (
        "Genres near each other have similar mean features. The axes are the two directions in which these "
        "differ most. The number is that of the cluster."
    )
    return Figure("Map of genres", name_map("Map of genres", caption, points), caption)


def correlations(features: Correlations) -> Figure:
    """The correlations of the features with each other and with popularity."""
    values = np.nan_to_num(features.matrix_FF).tolist()
    caption = (
        "Pearson correlation of each two table features. Blue: they rise together. Orange: one falls as the "
        "other rises. Blank: below 0.05."
    )
    name = "Correlation of features"
    chart = heat_map(name, caption, features.names, values, CORRELATION_STEPS, _correlation)
    return Figure(name, chart, caption)


def _curves(
    name: str, epochs: Sequence[Epoch], fields: Mapping[str, str], caption: str, percent: bool = False
) -> Figure:
    """Lines over the epochs, by name of the line and field of the epoch; unknown values are left out."""
    drawn = []
    for line, field in fields.items():
        values = [(epoch.epoch, getattr(epoch, field)) for epoch in epochs]
        if points := [(x, y) for x, y in values if y is not None and math.isfinite(y)]:
            drawn.append(Series(line, points))
    first, last = epochs[0].epoch, epochs[-1].epoch
    x_axis = Axis("epoch", first, max(last, first + 1), whole=True)
    y_axis = Axis.over(name, [y for line in drawn for _, y in line.points], percent=percent)
    return line_figure(f"{name} by epoch", caption, x_axis, y_axis, drawn)


def _correlation(value: float) -> str:
    text = "1" if value > 0.995 else f"{abs(value):.2f}".removeprefix("0")
    return f"\N{MINUS SIGN}{text}" if value < 0 else text
