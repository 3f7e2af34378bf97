"""Tables about clusters: how balanced and how homogeneous they are, and where country-named genres land."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genremill.infra.pages.formats import decimal, percent
from genremill.infra.pages.parts import Cell, Table
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Floats, Integers
from genremill.models.genres.country_genres import COUNTRY_GENRES

STYLES = 3
"""Styles that are named for each country."""


def cluster_ids(classes: Sequence[str], clusters: ClusterMap) -> NDArray[np.int64]:
    """The cluster number of each class, -1 for a class in no cluster."""
    return np.array([clusters.cluster_of.get(name, -1) for name in classes])


def balance(classes: Sequence[str], confusion_CC: Integers, clusters: ClusterMap | None) -> str:
    """How evenly the clusters share the pairs, in a sentence; empty without clusters."""
    if clusters is None:
        return ""
    ids_C = cluster_ids(classes, clusters)
    sizes = np.bincount(ids_C + 1, confusion_CC.sum(axis=1))[1:]
    sizes = sizes[sizes > 0]
    if not len(sizes):
        return ""
    largest = percent(float(sizes.max() / confusion_CC.sum()))
    return f"Evenness between clusters is {decimal(evenness(sizes))}; the largest has {largest} of the pairs."


def quality(classes: Sequence[str], confusion_CC: Integers, clusters: ClusterMap | None) -> Table | None:
    """Balance and homogeneity of each cluster; None without clusters."""
    if clusters is None:
        return None
    ids_C = cluster_ids(classes, clusters)
    rows = [
        _quality_row(number, name, classes, confusion_CC, ids_C == number)
        for number, name in sorted(clusters.names.items())
        if confusion_CC[ids_C == number].sum()
    ]
    if not rows:
        return Table([], caption="Left out: no held-out pair has a label in a cluster.")
    return Table(
        rows,
        ("Cluster", "Largest genre"),
    )


def _quality_row(
    number: int, name: str, classes: Sequence[str], confusion_CC: Integers, own_C: NDArray[np.bool_]
) -> dict[str, str | Cell]:
    of_genre, predictions_C = confusion_CC[own_C].sum(axis=1), confusion_CC.sum(axis=0)
    size, predicted = of_genre.sum(), predictions_C[own_C].sum()
    inside, right = confusion_CC[np.ix_(own_C, own_C)].sum(), np.diag(confusion_CC)[own_C].sum()
    largest = classes[np.flatnonzero(own_C)[of_genre.argmax()]]
    has_closeness = own_C.sum() > 1 and size > right
    return {
        "Cluster": name,
        "No.": str(number),
        "Genres": f"{own_C.sum():,}",
        "Of all pairs": percent(size / confusion_CC.sum()),
        "Largest genre": f"{largest}, {percent(of_genre.max() / size)}",
        "Evenness": decimal(evenness(of_genre)),
        "Right genre": percent(right / size),
        "Right cluster": percent(inside / size),
        "Purity": percent(inside / predicted if predicted else None),
        "Closeness": percent((inside - right) / (size - right) if has_closeness else None),
        "Chance": percent(predicted / predictions_C.sum()),
    }


def countries(classes: Sequence[str], probability_CC: Floats, confusion_CC: Integers) -> Table:
    """Where genres named after countries land among the styles.

    `probability_CC` is the mean probability of each class (column) on tracks of each label (row).
    """
    is_country_C = np.array([name in COUNTRY_GENRES for name in classes])
    pairs_C = confusion_CC.sum(axis=1)
    held_out = np.flatnonzero(is_country_C & (pairs_C > 0)).tolist()
    if not held_out or is_country_C.all():
        return Table([], caption="Left out: no held-out genre is named after a country.")
    rows = []
    for country in held_out:
        probability_C, prediction_C = probability_CC[country], confusion_CC[country] / pairs_C[country]
        rows.append(
            {
                "Genre": classes[country],
                "Pairs": f"{pairs_C[country]:,}",
                "Itself": percent(probability_C[country]),
                "Other countries": percent(probability_C[is_country_C].sum() - probability_C[country]),
                "Styles": percent(probability_C[~is_country_C].sum()),
                "Most probable styles": _styles(classes, np.where(is_country_C, 0, probability_C)),
                "Styles predicted most": _styles(classes, np.where(is_country_C, 0, prediction_C)),
            }
        )
    return Table(
        rows,
        ("Genre", "Most probable styles", "Styles predicted most"),
    )


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
