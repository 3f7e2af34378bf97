"""Columns that give the label away: each predicts the genre almost perfectly, and alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pyspark.sql import Column, DataFrame, functions as F

from genremill.models.encoders.text_tokens import text_columns
from genremill.models.features import TextKind, text_kind

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


def leaking_texts(rows: DataFrame, filled: Mapping[str, int], labeled_share: float) -> dict[str, float]:
    """The columns of tags or text that give the label away, with their accuracy for other artists.

    `rows` has the columns `tags`, `texts`, `artists` and `genres`. `filled` are the numbers of rows with a
    value, by input of a model, such as `tags:lastfm`.
    """
    accuracies = {}
    for name, count in filled.items():
        own, is_tags = entries_of(name), text_kind(name) is TextKind.TAGS
        value = F.get(own, F.lit(0))["tags" if is_tags else "text"]
        tags = value if is_tags else F.array(value)
        artist = F.coalesce(F.lower(F.get("artists", F.lit(0))), "track_id")
        half = F.pmod(F.xxhash64(artist), F.lit(2)).alias("half")
        drawn = _drawn(rows.where(F.size(own) > 0), int(count * labeled_share))
        sample = drawn.select(tags.alias("tags"), "genre", half).collect()
        accuracies[name] = accuracy_of_tags([(row["tags"], row["genre"], row["half"]) for row in sample])
    return {name: accuracy for name, accuracy in accuracies.items() if accuracy is not None}


def entries_of(name: str) -> Column:
    """The entry of a row for an input that is text, as a list of one; an empty list if it has none."""
    (column,), key = text_columns([name]), name.partition(":")[2]
    return F.filter(column, lambda entry: entry["column"] == key)


def accuracy_of_tags(rows: Sequence[tuple[Sequence[str], str, int]]) -> float | None:
    """The accuracy of guessing the label from one tag, if the tags give the label away.

    A row has tags, a label, and the half of its artist, 0 or 1. Each tag stands for its most frequent label
    in the other half. The guess for a row comes from the tag for which this label is the most frequent. A tag
    that only one artist has does not count, because it is missing in the other half.

    >>> accuracy_of_tags([(["Rock", "live"], "rock", 0), (["Jazz", "live"], "jazz", 1)] * 20)
    """
    labels = Counter(label for _, label, _ in rows)
    frequent = [row for row in rows if labels[row[1]] >= FEWEST_OF_LABEL]
    if len(frequent) < FEWEST_ROWS or len({label for _, label, _ in frequent}) < 2:
        return None
    halves = [_guesses([(tags, label) for tags, label, half in frequent if half == part]) for part in (0, 1)]
    right = 0
    for tags, label, half in frequent:
        found = [halves[1 - half][tag] for tag in tags if tag in halves[1 - half]]
        right += bool(found) and max(found)[1] == label
    accuracy, majority = right / len(frequent), max(labels.values()) / len(frequent)
    return accuracy if accuracy - majority >= LEAK_SHARE * (1 - majority) else None


def _guesses(rows: Sequence[tuple[Sequence[str], str]]) -> dict[str, tuple[float, str]]:
    """For each tag, its most frequent label, after the share of the tag's rows that have this label."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for tags, label in rows:
        for tag in tags:
            counts[tag][label] += 1
    best = {tag: labels.most_common(1)[0] for tag, labels in counts.items()}
    return {tag: (count / (counts[tag].total() + 1), label) for tag, (label, count) in best.items()}


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
