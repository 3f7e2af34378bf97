"""Whether a model is no worse than another on the same held-out artists.

Shape suffixes: A artists (or blocks of them), R bootstrap replicates.
"""

import numpy as np
import numpy.typing as npt

from genremill.models.evaluation.metrics import COVERAGE, Interval

REPLICATES = 1000


def paired_difference(
    tracks_A: npt.NDArray[np.integer], gained_A: npt.NDArray[np.integer], seed: int = 0
) -> Interval:
    """Accuracy of the second model minus that of the first, with a 95 % interval by bootstrap over artists.

    `tracks_A` counts the held-out tracks of each artist, 1 or more. `gained_A` counts the tracks that only
    the second model has right, minus those that only the first has right.

    >>> paired_difference(np.array([10, 10]), np.array([1, 1]))
    Interval(value=0.1, low=0.1, high=0.1)
    """
    artists = len(tracks_A)
    drawn = np.random.default_rng(seed).multinomial(artists, np.full(artists, 1 / artists), size=REPLICATES)
    replicates_R = (drawn @ gained_A) / (drawn @ tracks_A)
    low, high = np.quantile(replicates_R, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return Interval(float(gained_A.sum() / tracks_A.sum()), float(low), float(high))
