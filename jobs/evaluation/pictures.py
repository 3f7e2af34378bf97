"""The pictures of a model report: learning, the map of genres, correlations of features."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra.pages import parts
from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.heat_map import heat_map
from genremill.infra.pages.markup import Markup
from genremill.infra.pages.name_map import Place, name_map
from genremill.infra.pages.parts import Column
from genremill.models.evaluation.held_out import Floats

CORRELATION_STEPS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7)


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to; losses in nats."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class ClusterMap:
    """Which cluster a genre is in, an index into `names`; `xy` places genres on a plane."""

    names: Sequence[str]
    cluster_of: Mapping[str, int]
    xy: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Correlations:
    """Pearson correlation of each two of F table features, NaN where one is constant."""

    names: Sequence[str]
    matrix_FF: Floats


def learning(epochs: Sequence[Epoch]) -> Markup:
    """The section of loss, accuracy and learning rate by epoch."""
    if not epochs:
        return parts.section(
            "Learning", parts.absent("Left out: this model version keeps no record of epochs.")
        )
    loss = [
        _by_epoch("train", epochs, [one.train_loss for one in epochs]),
        _by_epoch("validation", epochs, [one.validation_loss for one in epochs]),
    ]
    accuracy = [
        _by_epoch("train", epochs, [one.train_accuracy for one in epochs]),
        _by_epoch("validation", epochs, [one.validation_accuracy for one in epochs]),
    ]
    rate = [_by_epoch("learning rate", epochs, [one.learning_rate for one in epochs])]
    seconds = sum(one.seconds for one in epochs)
    return parts.section(
        "Learning",
        parts.side_by_side(
            _curves("Loss", epochs, loss, "Loss as it was trained on, in nats."),
            _curves("Accuracy", epochs, accuracy, "Top-1 accuracy of pairs.", percent=True),
            _curves(
                "Learning rate",
                epochs,
                rate,
                f"Learning rate at the end of an epoch; {len(epochs)} epochs took {seconds:,.0f} s.",
            ),
        ),
    )


def cluster_map(clusters: ClusterMap | None) -> Markup:
    """The section that lists each cluster's genres, and draws them on a plane."""
    if clusters is None:
        return parts.section("Clusters", parts.absent("Left out: there is no genre map."))
    members: dict[int, list[str]] = defaultdict(list)
    for genre, cluster in sorted(clusters.cluster_of.items()):
        members[cluster].append(genre)
    rows = [[str(one + 1), clusters.names[one], ", ".join(members[one])] for one in sorted(members)]
    columns = [Column("No."), Column("Cluster", number=False), Column("Genres", number=False)]
    listing = parts.table(f"{len(members)} clusters of {len(clusters.cluster_of)} genres.", columns, rows)
    return parts.section("Clusters", listing, _plane(clusters))


def correlations(found: Correlations | None) -> Markup:
    """The section of the features' correlations with each other and with popularity."""
    if found is None:
        return parts.section("Features", parts.absent("Left out: the tracks have no table features."))
    values = np.nan_to_num(found.matrix_FF).tolist()
    picture = heat_map(
        "Correlation of features",
        "Pearson correlation of each two table features, popularity among them.",
        found.names,
        values,
        CORRELATION_STEPS,
        _correlation,
    )
    caption = "Pearson correlation; blue rises together, orange against each other, blank is under 0.05."
    return parts.section("Features", parts.figure(picture, caption))


def _by_epoch(name: str, epochs: Sequence[Epoch], values: Sequence[float | None]) -> Series:
    known = zip(epochs, values, strict=True)
    return Series(name, [(one.epoch, y) for one, y in known if y is not None and math.isfinite(y)])


def _curves(
    title: str, epochs: Sequence[Epoch], series: Sequence[Series], caption: str, percent: bool = False
) -> Markup:
    drawn = [one for one in series if one.points]
    first, last = epochs[0].epoch, epochs[-1].epoch
    x = Axis("epoch", first, max(last, first + 1), whole=True)
    y = Axis.over(title, [value for one in drawn for _, value in one.points], percent=percent)
    description = f"{title} after each of {len(epochs)} epochs."
    return parts.figure(line_chart(f"{title} by epoch", description, x, y, drawn), caption)


def _plane(clusters: ClusterMap) -> Markup:
    if not clusters.xy:
        return parts.absent("No map is drawn: the genres have no coordinates.")
    places = [
        Place(genre, *clusters.xy[genre], group=cluster)
        for genre, cluster in sorted(clusters.cluster_of.items())
        if genre in clusters.xy
    ]
    picture = name_map("Map of genres", "Genres near each other have like mean features.", places)
    return parts.figure(
        picture,
        "The two main directions in which the genres' mean features differ; a number is the cluster's.",
    )


def _correlation(value: float) -> str:
    text = "1" if value > 0.995 else f"{abs(value):.2f}".removeprefix("0")
    return f"\N{MINUS SIGN}{text}" if value < 0 else text
