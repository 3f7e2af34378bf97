"""The pictures of a model report: learning curves, the map of genres, correlations of features."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.heat_map import heat_map
from genremill.infra.pages.name_map import MapPoint, name_map
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
    if any(one.train_cross_entropy is not None for one in epochs):
        loss += " Train is measured during the epoch, validation after it."
    else:
        loss += " This model version did not record it for train pairs."
    train_loss = Series("train", _points(epochs, [one.train_cross_entropy for one in epochs]))
    train_accuracy = Series("train", _points(epochs, [one.train_accuracy for one in epochs]))
    validation_loss = Series("validation", _points(epochs, [one.validation_loss for one in epochs]))
    validation_accuracy = Series("validation", _points(epochs, [one.validation_accuracy for one in epochs]))
    rate = Series("learning rate", _points(epochs, [one.learning_rate for one in epochs]))
    seconds = sum(one.seconds for one in epochs)
    return [
        _curves("Loss", epochs, [train_loss, validation_loss], loss),
        _curves("Accuracy", epochs, [train_accuracy, validation_accuracy], "Top-1 accuracy of pairs.", True),
        _curves(
            "Learning rate",
            epochs,
            [rate],
            f"At the end of each epoch; {len(epochs)} epochs took {seconds:,.0f} s.",
        ),
    ]


def members(clusters: ClusterMap) -> dict[int, list[str]]:
    """The genres of each cluster, by its number."""
    found: dict[int, list[str]] = defaultdict(list)
    for genre, cluster in sorted(clusters.cluster_of.items(), key=lambda entry: (entry[1], entry[0])):
        found[cluster].append(genre)
    return found


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


def correlations(found: Correlations) -> Figure:
    """The correlations of the features with each other and with popularity."""
    values = np.nan_to_num(found.matrix_FF).tolist()
    caption = (
        "Pearson correlation of each two table features. Blue: they rise together. Orange: one falls as the "
        "other rises. Blank: below 0.05."
    )
    name = "Correlation of features"
    chart = heat_map(name, caption, found.names, values, CORRELATION_STEPS, _correlation)
    return Figure(name, chart, caption)


def _points(epochs: Sequence[Epoch], values: Sequence[float | None]) -> list[tuple[float, float]]:
    pairs = zip(epochs, values, strict=True)
    return [(one.epoch, value) for one, value in pairs if value is not None and math.isfinite(value)]


def _curves(
    name: str, epochs: Sequence[Epoch], series: Sequence[Series], caption: str, percent: bool = False
) -> Figure:
    drawn = [line for line in series if line.points]
    first, last = epochs[0].epoch, epochs[-1].epoch
    x = Axis("epoch", first, max(last, first + 1), whole=True)
    y = Axis.over(name, [value for line in drawn for _, value in line.points], percent=percent)
    return line_figure(f"{name} by epoch", caption, x, y, drawn)


def _correlation(value: float) -> str:
    text = "1" if value > 0.995 else f"{abs(value):.2f}".removeprefix("0")
    return f"\N{MINUS SIGN}{text}" if value < 0 else text
