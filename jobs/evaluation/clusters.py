"""Clusters as a model hears them: how balanced, how homogeneous; and where country-named genres land."""

from collections.abc import Sequence

import numpy as np

from genremill.infra.pages import parts
from genremill.infra.pages.markup import Markup
from genremill.infra.pages.parts import Column
from genremill.jobs.evaluation.figures import decimal, percent
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Floats, Integers, Labels
from genremill.models.evaluation.metrics import Metrics
from genremill.models.genres.country_genres import COUNTRY_GENRES

LANDS = 3
"""Styles that are named for each country."""


def cluster_quality(metrics: Metrics, confusion_CC: Integers, clusters: ClusterMap | None) -> Markup:
    """The section on each cluster's balance and homogeneity."""
    classes, title = metrics.classes, "How good clusters are"
    if clusters is None or metrics.subject.labels is Labels.CLUSTER:
        why = "Left out: there is no genre map, or clusters are the classes themselves."
        return parts.section(title, parts.absent(why))
    cluster_C = np.array([clusters.cluster_of.get(name, -1) for name in classes])
    labels_C, answers_C = confusion_CC.sum(axis=1), confusion_CC.sum(axis=0)
    present = [one for one in range(len(clusters.names)) if labels_C[cluster_C == one].sum()]
    sizes = np.array([labels_C[cluster_C == one].sum() for one in present], dtype=np.float64)
    rows = []
    for one, size in zip(present, sizes, strict=True):
        own_C = cluster_C == one
        of_genre = labels_C[own_C]
        inside, right = confusion_CC[np.ix_(own_C, own_C)].sum(), np.diag(confusion_CC)[own_C].sum()
        answers = answers_C[own_C].sum()
        largest = np.flatnonzero(own_C)[of_genre.argmax()]
        rows.append(
            [
                clusters.names[one],
                f"{own_C.sum():,}",
                percent(size / labels_C.sum()),
                f"{classes[largest]}, {percent(of_genre.max() / size)}",
                decimal(evenness(of_genre)),
                percent(right / size),
                percent(inside / size),
                percent(inside / answers if answers else None),
                percent((inside - right) / (size - right) if own_C.sum() > 1 and size > right else None),
                percent(answers / answers_C.sum()),
            ]
        )
    if not rows:
        return parts.section(title, parts.absent("Left out: no held-out pair has a label of a cluster."))
    shares = ("Evenness", "Right genre", "Right cluster", "Purity", "Closeness", "Chance")
    headings = ("Cluster", "Genres", "Of all pairs", "Largest genre", *shares)
    columns = parts.columns(*headings, text=("Cluster", "Largest genre"))
    return parts.section(
        title,
        parts.prose(
            f"Balance between clusters: evenness {decimal(evenness(sizes))}, the largest holds "
            f"{percent(sizes.max() / labels_C.sum())} of the pairs. Evenness is entropy over its maximum, 1 "
            "for equal parts; within a cluster it is that of its genres. Purity: share of the answers in a "
            "cluster whose label is in it. Closeness: share of its pairs' wrong answers that are in it; "
            "chance: of all answers."
        ),
        parts.table("Balance and homogeneity of each cluster.", columns, rows),
    )


def countries(classes: Sequence[str], probability_CC: Floats, confusion_CC: Integers) -> Markup:
    """The section on where genres named after countries land among the styles.

    `probability_CC` is the mean probability of each class (column) on tracks of each label (row).
    """
    is_country_C = np.array([name in COUNTRY_GENRES for name in classes])
    pairs_C = confusion_CC.sum(axis=1)
    there = np.flatnonzero(is_country_C & (pairs_C > 0)).tolist()
    if not there or is_country_C.all():
        why = "Left out: no held-out genre is named after a country."
        return parts.section("Countries", parts.absent(why))
    rows = []
    for at in there:
        probability_C, answer_C = probability_CC[at], confusion_CC[at] / pairs_C[at]
        rows.append(
            [
                classes[at],
                f"{pairs_C[at]:,}",
                percent(probability_C[at]),
                percent(probability_C[is_country_C].sum() - probability_C[at]),
                percent(probability_C[~is_country_C].sum()),
                _likeliest(classes, np.where(is_country_C, 0, probability_C)),
                _likeliest(classes, np.where(is_country_C, 0, answer_C)),
            ]
        )
    columns = [
        Column("Genre", number=False),
        *(Column(name) for name in ("Pairs", "Itself", "Other countries", "Styles")),
        Column("Likeliest styles", number=False),
        Column("Styles most answered", number=False),
    ]
    caption = (
        "Mean probability on a genre's tracks: of itself, the other countries, all genres named for styles."
    )
    return parts.section("Countries", parts.table(caption, columns, rows))


def evenness(sizes: Integers | Floats) -> float | None:
    """Entropy of the parts over the most it could be; None where there is only one part.

    >>> evenness(np.array([5, 5])), round(evenness(np.array([9, 1])), 3), evenness(np.array([7]))
    (1.0, 0.469, None)
    """
    if len(sizes) < 2:
        return None
    share = sizes[sizes > 0] / sizes.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(sizes)))


def _likeliest(classes: Sequence[str], share_C: Floats) -> str:
    best = np.argsort(-share_C, kind="stable")[:LANDS]
    return (
        ", ".join(f"{classes[at]} {percent(float(share_C[at]))}" for at in best if share_C[at] > 0) or "none"
    )
