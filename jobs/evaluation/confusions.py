"""Which classes a model takes for which: by class, by cluster, and the most frequent confusions."""

from collections.abc import Sequence

import numpy as np

from genremill.infra.pages import parts
from genremill.infra.pages.heat_map import heat_map
from genremill.infra.pages.markup import Markup
from genremill.infra.pages.parts import Column
from genremill.jobs.evaluation.figures import percent
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Integers, Labels
from genremill.models.evaluation.metrics import Metrics

STEPS = (0.01, 0.03, 0.06, 0.12, 0.25, 0.5)
WORST = 20


def confusions(metrics: Metrics, confusion_CC: Integers, clusters: ClusterMap | None) -> Markup:
    """The section on confusions; genres stand cluster by cluster where there is a map of them."""
    noun = str(metrics.subject.labels)
    worst = _worst(metrics.classes, confusion_CC, noun)
    if clusters is None or metrics.subject.labels is Labels.CLUSTER:
        why = parts.absent(
            "Clusters are not compared: there is no genre map, or they are the classes themselves."
        )
        return parts.section("Confusions", _matrix(metrics.classes, confusion_CC, noun), worst, why)
    cluster_C = np.array([clusters.cluster_of.get(name, -1) for name in metrics.classes])
    order_C = np.lexsort((np.array(metrics.classes), cluster_C))
    names = [metrics.classes[index] for index in order_C]
    known, member_C, sizes = np.unique(cluster_C, return_inverse=True, return_counts=True)
    in_cluster_CK = np.eye(len(known), dtype=np.int64)[member_C]
    cluster_names = [clusters.names[one] if one >= 0 else "in no cluster" for one in known]
    return parts.section(
        "Confusions",
        _matrix(names, confusion_CC[np.ix_(order_C, order_C)], noun, sizes.tolist()),
        parts.side_by_side(
            worst, _matrix(cluster_names, in_cluster_CK.T @ confusion_CC @ in_cluster_CK, "cluster")
        ),
    )


def _matrix(names: Sequence[str], confusion_CC: Integers, noun: str, blocks: Sequence[int] = ()) -> Markup:
    counts_CC = confusion_CC.astype(np.float64)
    of_label_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    picture = heat_map(
        f"Confusion of {len(names)} classes, by {noun}",
        f"Rows: the {noun} on the label. Columns: the {noun} of the answer. Shade: share of the row.",
        names,
        of_label_CC.tolist(),
        STEPS,
        lambda share: f"{100 * share:.0f}",
        blocks,
    )
    outlined = " Outlined: the genres of one cluster." if blocks else ""
    caption = f"By {noun}. A row is the true {noun}, a column the answer; shades are percent of the row."
    return parts.figure(picture, caption + outlined)


def _worst(classes: Sequence[str], confusion_CC: Integers, noun: str) -> Markup:
    """The most frequent confusions of one class with another."""
    wrong_CC = confusion_CC - np.diag(np.diag(confusion_CC))
    label_C = confusion_CC.sum(axis=1)
    largest = np.argsort(-wrong_CC, axis=None, kind="stable")[:WORST]
    rows = [
        [
            classes[label],
            classes[answer],
            f"{wrong_CC[label, answer]:,}",
            percent(wrong_CC[label, answer] / label_C[label]),
        ]
        for label, answer in zip(*np.unravel_index(largest, wrong_CC.shape), strict=True)
        if wrong_CC[label, answer]
    ]
    columns = [
        Column(f"True {noun}", number=False),
        Column("Taken for", number=False),
        Column("Pairs"),
        Column(f"Of the true {noun}"),
    ]
    return parts.table(f"The {len(rows)} most frequent confusions.", columns, rows)
