"""Columns that give the label away: each predicts the genre almost perfectly, and alone."""

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
    labeled = rows.where((F.size("genres") > 0) & (F.size("numbers") > 0))
    every = max(labeled_rows // SAMPLE_ROWS, 1)
    order = F.xxhash64("track_id")
    drawn = labeled.where(F.pmod(order, F.lit(every)) == 0).orderBy(order).limit(2 * SAMPLE_ROWS)
    sample = drawn.select("numbers", F.get("genres", F.lit(0)).alias("genre")).toArrow()
    if sample.num_rows < FEWEST_ROWS or not candidates:
        return {}
    flat = sample.column("numbers").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    x_RF = flat.astype(np.float64).reshape(-1, candidates)
    label_R = np.unique(sample.column("genre").to_numpy(), return_inverse=True)[1]
    return leaking_columns(x_RF, label_R)


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
