"""Which classes a model confuses: by class, by cluster, and genres named after countries.

Shape suffix C: classes. A confusion matrix counts pairs: rows are true classes, columns predicted classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genremill.infra.pages.formats import decimal, percent
from genremill.infra.pages.maps import heat_map
from genremill.infra.pages.parts import Figure
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Floats, Integers
from genremill.models.genres.genre_lists import COUNTRY_GENRES

STEPS = (0.01, 0.03, 0.06, 0.12, 0.25, 0.5)
MOST_FREQUENT = 20
STYLES = 3
"""Number of styles that are listed for each country."""


def matrices(
    classes: Sequence[str], confusion_CC: Integers, noun: str, clusters: ClusterMap | None
) -> tuple[Figure, Figure | None]:
    """The confusion matrix by class, ordered by cluster, and the one by cluster (None without clusters)."""
    if clusters is None:
        return _matrix(classes, confusion_CC, noun), None
    ids_C = _cluster_ids(classes, clusters)
    order_C = np.lexsort((np.array(classes), ids_C))
    numbers, member_C, sizes = np.unique(ids_C, return_inverse=True, return_counts=True)
    in_cluster_CK = np.eye(len(numbers), dtype=np.int64)[member_C]
    ordered_CC = confusion_CC[np.ix_(order_C, order_C)]
    names = [clusters.names.get(number, "in no cluster") for number in numbers.tolist()]
    return (
        _matrix([classes[index] for index in order_C], ordered_CC, noun, sizes.tolist()),
        _matrix(names, in_cluster_CK.T @ confusion_CC @ in_cluster_CK, "cluster"),
    )


def most_frequent(classes: Sequence[str], confusion_CC: Integers) -> list[tuple[str, ...]]:
    """The most frequent confusions: true class, predicted class, pairs, and their share of the true class."""
    wrong_CC = confusion_CC - np.diag(np.diag(confusion_CC))
    label_C = confusion_CC.sum(axis=1)
    largest = np.argsort(-wrong_CC, axis=None, kind="stable")[:MOST_FREQUENT]
    return [
        (classes[label], classes[predicted], f"{pairs:,}", percent(pairs / label_C[label]))
        for label, predicted in zip(*np.unravel_index(largest, wrong_CC.shape), strict=True)
        if (pairs := wrong_CC[label, predicted])
    ]


def _matrix(names: Sequence[str], confusion_CC: Integers, noun: str, blocks: Sequence[int] = ()) -> Figure:
    shares = (confusion_CC / np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)).tolist()
    title = f"Confusion matrix by {noun}"
    caption = f"Rows: the true {noun}. Columns: the predicted {noun}. Numbers and shades: percent of the row."
    picture = heat_map(title, caption, names, shares, STEPS, lambda share: f"{100 * share:.0f}", blocks)
    return Figure(title, picture, caption + (" Outlined: the genres of one cluster." if blocks else ""))


def balance(classes: Sequence[str], confusion_CC: Integers, clusters: ClusterMap) -> str:
    """How evenly the clusters share the pairs, in a sentence; empty if none has pairs."""
    sizes = np.bincount(_cluster_ids(classes, clusters) + 1, confusion_CC.sum(axis=1))[1:]
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return ""
    largest = percent(float(sizes.max() / confusion_CC.sum()))
    return f"Evenness between clusters is {decimal(evenness(sizes))}; the largest has {largest} of the pairs."


def quality_rows(
    classes: Sequence[str], confusion_CC: Integers, clusters: ClusterMap
) -> list[tuple[str, ...]]:
    """Balance and homogeneity of each cluster that has held-out pairs."""
    ids_C = _cluster_ids(classes, clusters)
    return [
        (name, str(number), *_quality(classes, confusion_CC, ids_C == number))
        for number, name in sorted(clusters.names.items())
        if confusion_CC[ids_C == number].sum()
    ]


def _quality(classes: Sequence[str], confusion_CC: Integers, own_C: NDArray[np.bool_]) -> tuple[str, ...]:
    of_genre, predictions_C = confusion_CC[own_C].sum(axis=1), confusion_CC.sum(axis=0)
    pairs, size, predicted = confusion_CC.sum(), of_genre.sum(), predictions_C[own_C].sum()
    inside, right = confusion_CC[np.ix_(own_C, own_C)].sum(), np.diag(confusion_CC)[own_C].sum()
    largest = classes[np.flatnonzero(own_C)[of_genre.argmax()]]
    purity = inside / predicted if predicted else None
    closeness = (inside - right) / (size - right) if own_C.sum() > 1 and size > right else None
    return (
        *(f"{own_C.sum():,}", percent(size / pairs), f"{largest}, {percent(of_genre.max() / size)}"),
        decimal(evenness(of_genre)),
        *map(percent, (right / size, inside / size, purity, closeness, predicted / pairs)),
    )


def country_rows(
    classes: Sequence[str], probability_CC: Floats, confusion_CC: Integers
) -> list[tuple[str, ...]]:
    """For each genre named after a country: its mean probability, and the styles its tracks are taken for.

    `probability_CC` is the mean probability of each class (column) on tracks of each label (row).
    """
    is_country_C = np.array([name in COUNTRY_GENRES for name in classes])
    pairs_C, rows = confusion_CC.sum(axis=1), []
    for country in np.flatnonzero(is_country_C & (pairs_C > 0) & ~is_country_C.all()).tolist():
        probability_C, prediction_C = probability_CC[country], confusion_CC[country] / pairs_C[country]
        own, countries = probability_C[country], probability_C[is_country_C].sum()
        means = (own, countries - own, probability_C[~is_country_C].sum())
        styles = [_styles(classes, np.where(is_country_C, 0, of_C)) for of_C in (probability_C, prediction_C)]
        rows.append((classes[country], f"{pairs_C[country]:,}", *map(percent, means), *styles))
    return rows


def evenness(sizes: Integers | Floats) -> float | None:
    """Entropy of the parts divided by its maximum; None for a single part.

    >>> evenness(np.array([5, 5])), round(evenness(np.array([9, 1])), 3), evenness(np.array([7]))
    (1.0, 0.469, None)
    """
    if len(sizes) < 2:
        return None
    share = sizes[sizes > 0] / sizes.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(sizes)))


def _styles(classes: Sequence[str], share_C: Floats) -> str:
    best = [index for index in np.argsort(-share_C, kind="stable")[:STYLES] if share_C[index] > 0]
    return ", ".join(f"{classes[index]} {percent(float(share_C[index]))}" for index in best) or "none"


def _cluster_ids(classes: Sequence[str], clusters: ClusterMap) -> NDArray[np.int64]:
    """The cluster number of each class, -1 for a class in no cluster."""
    return np.array([clusters.cluster_of.get(name, -1) for name in classes])
