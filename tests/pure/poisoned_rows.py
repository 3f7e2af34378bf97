"""Hostile training rows, whose values a search chooses that knows how features are scaled.

Shape suffixes: B rows, F features, P hostile rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genremill.models.limits import limits

SHARE = 0.01
"""Share of the hostile rows."""
LABELS = 6
"""Number of labels that the search tries."""
LARGE = 5
"""The choice of the value 1e6."""
INSIDE = 0.99
"""A value this close to a limit is not beyond it, although the hostile rows move the limits."""


@dataclass(frozen=True, eq=False)
class Labeled:
    """Rows of raw features, float32, and the numbers of their labels."""

    x_BF: NDArray[np.float32]
    label_B: NDArray[np.int64]


Choices = tuple[int, ...]
"""The choice for each feature, then for the label."""
Loss = Callable[[Labeled], float]
"""The damage of training on these rows: larger is worse for the victim."""


def values_of(x_BF: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values that a hostile row can have in each feature, shape (choices, F); NaN keeps the true one."""
    low_F, high_F = limits(x_BF)
    median_F = np.median(x_BF, axis=0)
    inside = [median_F + INSIDE * (limit_F - median_F) for limit_F in (low_F, high_F)]
    far = [np.full(x_BF.shape[1], value) for value in (-3e38, -1e6, 1e6, 3e38)]
    return np.stack([np.full(x_BF.shape[1], np.nan), *inside, *far]).astype(np.float32)


def poisoned(rows: Labeled, choices: Choices, seed: int = 0) -> Labeled:
    """The rows, of which a share has the chosen values and label; label -1 draws one for each row."""
    rng = np.random.default_rng(seed)
    hostile_P = rng.choice(len(rows.label_B), int(SHARE * len(rows.label_B)), replace=False)
    x_BF, label_B = rows.x_BF.copy(), rows.label_B.copy()
    chosen_F = values_of(rows.x_BF)[list(choices[:-1]), range(x_BF.shape[1])]
    x_BF[hostile_P] = np.where(np.isnan(chosen_F), x_BF[hostile_P], chosen_F)
    drawn_P = rng.integers(label_B.max() + 1, size=len(hostile_P))
    label_B[hostile_P] = drawn_P if choices[-1] < 0 else choices[-1]
    return Labeled(x_BF, label_B)


def worst(rows: Labeled, loss: Loss, seed: int = 0) -> Choices:
    """The choices that do the most damage, found by changing each choice in turn."""
    rng = np.random.default_rng(seed)
    options = len(values_of(rows.x_BF))
    starts = [(*(option,) * rows.x_BF.shape[1], -1) for option in range(1, options)]
    best = max(starts, key=lambda choices: loss(poisoned(rows, choices)))
    found = loss(poisoned(rows, best))
    for at in rng.permutation(len(best)).tolist():
        labels = rng.permutation(int(rows.label_B.max()) + 1)[:LABELS].tolist()
        for option in (-1, *labels) if at == len(best) - 1 else range(options):
            changed = (*best[:at], option, *best[at + 1 :])
            if changed != best and (damage := loss(poisoned(rows, changed))) > found:
                best, found = changed, damage
    return best
