"""Whether the predictions for an artist's other tracks help, measured on validation artists.

Shape suffixes: T tracks with other tracks of their artist, P pairs of these tracks and a label, C classes.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from genremill.models.artist_pooling import (
    MOST_POWER,
    MOST_PRIOR,
    ArtistPooling,
    combined,
    logarithms,
    others,
    with_other_tracks,
)
from genremill.models.evaluation.calibration import fitted_temperature
from genremill.models.evaluation.held_out import HeldOut
from genremill.models.evaluation.metrics import paired_difference

START = ArtistPooling(own=0.5, others=0.8, prior=0.5)
"""Where the fit starts: about the best values on the Spotify table."""
FEWEST_ARTISTS = 50
"""Fewer artists with several validation tracks are not enough."""
BLOCKS = 2000
"""Artists are resampled in this many blocks."""


def fitted_artist_pooling(alone: HeldOut, artist_T: NDArray[np.int64]) -> ArtistPooling | None:
    """The use of an artist's other tracks that gives the labels of `alone` the greatest likelihood.

    Both powers are then scaled so that the confidences are calibrated. `alone` are the calibrated predictions
    for each track alone, and `artist_T` the numbers of the artists or -1, as in `with_other_tracks`. None if
    there are too few artists with several tracks, or if the 95 % interval of the gain of accuracy includes 0.
    """
    if (np.bincount(artist_T[artist_T >= 0]) > 1).sum() < FEWEST_ARTISTS:
        return None
    pooling = _likeliest(alone, artist_T)
    together = _combined(alone, artist_T, pooling)
    gained_T = together.right_T.astype(np.int64) - alone.right_T
    block_T = artist_T % BLOCKS
    tracks_A = np.bincount(block_T)
    gained_A = np.bincount(block_T, gained_T)[tracks_A > 0].astype(np.int64)
    gain = paired_difference(tracks_A[tracks_A > 0], gained_A)
    if gain.low is None or gain.low <= 0:
        return None
    temperature = fitted_temperature(together.only(others(alone.probabilities_TC, artist_T)[0] > 0))
    own, of_others = (min(power / temperature, MOST_POWER) for power in (pooling.own, pooling.others))
    return ArtistPooling(own, of_others, pooling.prior)


def _combined(alone: HeldOut, artist_T: NDArray[np.int64], pooling: ArtistPooling) -> HeldOut:
    p_TC = with_other_tracks(alone.probabilities_TC, artist_T, pooling)
    return replace(alone, probabilities_TC=p_TC)


def _likeliest(alone: HeldOut, artist_T: NDArray[np.int64]) -> ArtistPooling:
    """The pooling with the least mean cross-entropy of the pairs whose track has others."""
    from scipy.optimize import minimize  # slow to import, and not needed for scoring

    others_T, mean_TC = others(alone.probabilities_TC, artist_T)
    has_T = others_T > 0
    own_TC, mean_TC = logarithms(alone.probabilities_TC[has_T]), logarithms(mean_TC)
    inside_P = has_T[alone.pair_track_P]
    track_P = (np.cumsum(has_T) - 1)[alone.pair_track_P[inside_P]]
    label_P = alone.pair_label_P[inside_P]

    def loss(parameters: NDArray[np.float64]) -> float:
        log_TC = combined(own_TC, mean_TC, others_T[has_T], _pooling(parameters))
        log_TC -= log_TC.max(axis=1, keepdims=True)
        norm_T = np.log(np.exp(log_TC).sum(axis=1))
        return float((norm_T[track_P] - log_TC[track_P, label_P]).mean())

    start = np.sqrt([START.own, START.others, START.prior])
    best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-5, "maxiter": 200})
    return _pooling(best.x)


def _pooling(parameters: NDArray[np.float64]) -> ArtistPooling:
    """The pooling of three numbers, whose squares are its values."""
    own, of_others, prior = np.square(parameters).round(4).tolist()
    return ArtistPooling(min(own, MOST_POWER), min(of_others, MOST_POWER), min(prior, MOST_PRIOR))
