"""Columns that give the label away: each predicts the genre almost perfectly, and alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame, functions as F

LEAK_SHARE = 0.95
"""A column is a leak if it avoids this share of the errors that always predicting the same label makes."""
SAMPLE_ROWS, FEWEST_ROWS, FEWEST_OF_LABEL = 5000, 40, 4
_LEAVES_PER_LABEL = 4
"""A column that names the label has one range of values per label; a measured one has no such ranges."""


def leaking(rows: DataFrame, candidates: int, labeled_rows: int) -> dict[int, float]:
    """The candidates that give the label away, by position, with their accuracy on held-out rows.

    `rows` has the columns `numbers` and `genres`, and `labeled_rows` of them have a genre. The hash of the
    track draws a sample of these.
    """
    if not candidates:
        return {}
    sample = _drawn(rows.where(F.size("numbers") > 0), labeled_rows).select("numbers", "genre").toArrow()
    if sample.num_rows < FEWEST_ROWS:
        return {}
    flat = sample.column("numbers").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    x_RF = flat.astype(np.float64).reshape(-1, candidates)
    label_R = np.unique(sample.column("genre").to_numpy(), return_inverse=True)[1]
    return leaking_columns(x_RF, label_R)


def leaking_tags(rows: DataFrame, keys: Sequence[str], labeled_rows: int) -> dict[str, float]:
    """The columns of tags that give the label away, with their accuracy on held-out rows that have tags.

    `rows` has the columns `tags` and `genres`.
    """
    if not keys:
        return {}
    sample = _drawn(rows.where(F.size("tags") > 0), labeled_rows).select("tags", "genre").collect()
    by_key: dict[str, list[tuple[list[str], str]]] = defaultdict(list)
    for row in sample:
        for entry in row["tags"]:
            by_key[entry["column"]].append((entry["tags"], row["genre"]))
    accuracies = {key: accuracy_of_tags(by_key[key]) for key in keys}
    return {key: accuracy for key, accuracy in accuracies.items() if accuracy is not None}


def accuracy_of_tags(tagged: Sequence[tuple[Sequence[str], str]]) -> float | None:
    """The accuracy of guessing the label by the most telling tag of a row, if the tags give it away.

    The rows alternate between two halves, and the label of each tag comes from the other half.

    >>> accuracy_of_tags([(["Rock", "loud"], "rock"), (["Jazz", "loud"], "jazz")] * 20)
    """
    labels = Counter(label for _, label in tagged)
    frequent = [(tags, label) for tags, label in tagged if labels[label] >= FEWEST_OF_LABEL]
    if len(frequent) < FEWEST_ROWS or len({label for _, label in frequent}) < 2:
        return None
    right = 0
    for part in (0, 1):
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for tags, label in frequent[1 - part :: 2]:
            for tag in tags:
                seen[tag][label] += 1
        best = {tag: counts.most_common(1)[0] for tag, counts in seen.items()}
        share = {tag: count / (seen[tag].total() + 1) for tag, (_, count) in best.items()}
        for tags, label in frequent[part::2]:
            known = [tag for tag in tags if tag in best]
            right += bool(known) and best[max(known, key=share.__getitem__)][0] == label
    accuracy, majority = right / len(frequent), max(labels.values()) / len(frequent)
    return accuracy if accuracy - majority >= LEAK_SHARE * (1 - majority) else None


def _drawn(rows: DataFrame, labeled_rows: int) -> DataFrame:
    """A sample of the labeled rows, drawn by the hash of the track, with the column `genre`."""
    every = max(labeled_rows // SAMPLE_ROWS, 1)
    order = F.xxhash64("track_id")
    labeled = rows.where((F.size("genres") > 0) & (F.pmod(order, F.lit(every)) == 0))
    return labeled.orderBy(order).limit(2 * SAMPLE_ROWS).withColumn("genre", F.get("genres", F.lit(0)))


def leaking_columns(x_RF: npt.NDArray[np.float64], label_R: npt.NDArray[np.int64]) -> dict[int, float]:
    """The columns of a matrix from which a decision tree predicts the label almost perfectly.

    Parameters
    ----------
    x_RF
        numbers, NaN where a value is missing, shape (rows, columns)
    label_R
        number of the label of each row; rows of a label with fewer than 4 rows are left out
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score  # late: slow to import
    from sklearn.tree import DecisionTreeClassifier

    frequent_R = np.bincount(label_R)[label_R] >= FEWEST_OF_LABEL
    x_RF, label_R = x_RF[frequent_R], label_R[frequent_R]
    labels, counts = np.unique(label_R, return_counts=True)
    if len(labels) < 2 or len(label_R) < FEWEST_ROWS:
        return {}
    majority = counts.max() / len(label_R)
    tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES_PER_LABEL * len(labels), random_state=0)
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    leaks = {}
    for position, x_R in enumerate(x_RF.T):
        if len(np.unique(x_R[~np.isnan(x_R)])) < 2:
            continue
        accuracy = float(cross_val_score(tree, x_R[:, None], label_R, cv=halves).mean())
        if accuracy - majority >= LEAK_SHARE * (1 - majority):
            leaks[position] = accuracy
    return leaks
