"""Which classes a model confuses: by class, by cluster, and the most frequent confusions."""

from collections.abc import Sequence

import numpy as np

from genremill.infra.pages.formats import percent
from genremill.infra.pages.maps import heat_map
from genremill.infra.pages.parts import Figure
from genremill.jobs.evaluation.clusters import cluster_ids
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Integers

STEPS = (0.01, 0.03, 0.06, 0.12, 0.25, 0.5)
MOST_FREQUENT = 20


def matrices(
    classes: Sequence[str], confusion_CC: Integers, noun: str, clusters: ClusterMap | None
) -> tuple[Figure, Figure | None]:
    """The confusion matrix by class, ordered by cluster if there are clusters, and the one by cluster."""
    if clusters is None:
        return _matrix(classes, confusion_CC, noun), None
    ids_C = cluster_ids(classes, clusters)
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
    counts_CC = confusion_CC.astype(np.float64)
    of_label_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    title = f"Confusion matrix by {noun}"
    caption = f"Rows: the true {noun}. Columns: the predicted {noun}. Numbers and shades: percent of the row."
    picture = heat_map(
        title, caption, names, of_label_CC.tolist(), STEPS, lambda share: f"{100 * share:.0f}", blocks
    )
    return Figure(title, picture, caption + (" Outlined: the genres of one cluster." if blocks else ""))
