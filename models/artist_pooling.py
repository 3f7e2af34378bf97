"""Combines the predictions for the tracks of one artist.

Shape suffixes: T tracks, C classes, A artists.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

Probabilities = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

FLOOR = 1e-3
"""A probability counts as at least FLOOR / C, so that no track can exclude a class."""
MOST_POWER, MOST_PRIOR = 10.0, 1000.0
Power = Annotated[float, Meta(ge=0, le=MOST_POWER)]


@dataclass(frozen=True)
class ArtistPooling:
    """How much the predictions for the other tracks of an artist count; fitted on validation artists.

    The probabilities of a track get a power, are multiplied by a power of the mean probabilities of the
    artist's `n` other tracks, and are normalized. The share `s = n / (n + prior)` rises with the number of
    tracks; the two powers are `1 - s + s · own` and `s · others`.
    """

    own: Power
    """The power of the track's probabilities, for an artist with many tracks."""
    others: Power
    """The power of the mean of the other tracks, for an artist with many tracks."""
    prior: Annotated[float, Meta(ge=0, le=MOST_PRIOR)]
    """Number of other tracks at which the share is one half."""


def with_other_tracks(p_TC: Probabilities, artist_T: Integers, pooling: ArtistPooling) -> Probabilities:
    """Combines the probabilities of each track with the mean of its artist's other tracks.

    Parameters
    ----------
    p_TC
        probabilities, shape (T, C)
    artist_T
        number of the artist of each track, from 0; -1 if the artist is not known
    pooling
        how much the other tracks count

    >>> p = np.array([[0.6, 0.4], [0.1, 0.9], [0.6, 0.4]], np.float32)
    >>> with_other_tracks(p, np.array([0, 0, -1]), ArtistPooling(1.0, 1.0, 0.0)).round(2)
    array([[0.14, 0.86],
           [0.14, 0.86],
           [0.6 , 0.4 ]], dtype=float32)
    """
    others_T, mean_TC = others(p_TC, artist_T)
    is_one_of_several_T = others_T > 0
    if not is_one_of_several_T.any():
        return p_TC
    result_TC = p_TC.copy()
    own_TC = logarithms(p_TC[is_one_of_several_T])
    log_TC = combined(own_TC, logarithms(mean_TC), others_T[is_one_of_several_T], pooling)
    log_TC -= log_TC.max(axis=1, keepdims=True)
    np.exp(log_TC, out=log_TC)
    log_TC /= log_TC.sum(axis=1, keepdims=True)
    result_TC[is_one_of_several_T] = log_TC
    return result_TC


def others(p_TC: Probabilities, artist_T: Integers) -> tuple[Integers, Probabilities]:
    """The number of other tracks of each track's artist, shape (T,), and the means of their probabilities.

    The means are for the tracks that have others: of shape (tracks with others, C).
    """
    known_T = artist_T >= 0
    others_T = np.zeros(len(artist_T), np.int64)
    others_T[known_T] = np.bincount(artist_T[known_T])[artist_T[known_T]] - 1
    own_TC, of_T = p_TC[others_T > 0], artist_T[others_T > 0]
    if not len(of_T):
        return others_T, own_TC
    order_T = np.argsort(of_T, kind="stable")
    is_first_T = np.diff(of_T[order_T], prepend=-1) > 0
    sums_AC = np.add.reduceat(own_TC[order_T], np.flatnonzero(is_first_T), axis=0, dtype=np.float64)
    row_T = np.empty_like(of_T)
    row_T[order_T] = np.cumsum(is_first_T) - 1
    mean_TC = (sums_AC[row_T] - own_TC) / others_T[others_T > 0][:, None]
    return others_T, mean_TC.astype(np.float32)


def logarithms(p_TC: Probabilities) -> Probabilities:
    """Logarithms of probabilities, each of which counts as at least `FLOOR` / C."""
    return np.log(np.maximum(p_TC, np.float32(FLOOR / p_TC.shape[1])))


def combined(
    own_TC: Probabilities, mean_TC: Probabilities, others_T: Integers, pooling: ArtistPooling
) -> Probabilities:
    """Combined logarithms, which are not normalized, of the logarithms of probabilities and of means."""
    share_T1 = (others_T / (others_T + pooling.prior))[:, None].astype(np.float32)
    own_power_T1 = 1 - share_T1 * np.float32(1 - pooling.own)
    return own_power_T1 * own_TC + share_T1 * np.float32(pooling.others) * mean_TC
