"""Sums per block of artists, from which the metrics and their bootstrap intervals are computed.

A metric is a formula on these sums. The sums of all blocks give its value; the sums of blocks drawn with
replacement give a bootstrap replicate.

Shape suffixes: P pairs, T tracks, C classes, A blocks of artists, B confidence bins, R replicates.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from genremill.models.evaluation.calibration import BINS, equal_mass_bins, surest
from genremill.models.evaluation.held_out import Flags, Floats, HeldOut, Integers

TOP = 5
BLOCKS = 4096
"""Limit on the number of blocks. With more artists, several share a block, which limits memory and time."""


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over pairs and over tracks. The first axis is the block or, after `weighted`, the replicate."""

    pairs_A: Floats
    top1_A: Floats
    top5_A: Floats
    close_A: Floats
    surprise_A: Floats
    tracks_A: Floats
    right_A: Floats
    kept_A: Floats
    kept_right_A: Floats
    squared_error_A: Floats
    gap_AB: Floats
    hits_AC: Floats
    truths_AC: Floats
    chosen_AC: Floats

    def weighted(self, weights_RA: Floats) -> "Sums":
        """The sums of R replicates. Block a counts weights_RA[r, a] times in replicate r."""
        return Sums(*(weights_RA @ getattr(self, field.name) for field in fields(self)))

    def total(self) -> "Sums":
        """The sums over all blocks, as one replicate."""
        return self.weighted(np.ones((1, len(self.pairs_A))))

    def resampled(self, replicates: int, seed: int) -> "Sums":
        """The sums of bootstrap replicates: as many blocks as there are, drawn with replacement."""
        blocks = len(self.pairs_A)
        drawn_RA = np.random.default_rng(seed).multinomial(
            blocks, np.full(blocks, 1 / blocks), size=replicates
        )
        return self.weighted(drawn_RA.astype(np.float64))


def sums_by_block(held_out: HeldOut) -> Sums:
    """The sums of each block of artists."""
    classes = len(held_out.classes)
    block_T = np.unique(held_out.artist_T, return_inverse=True)[1] % BLOCKS
    block_P = block_T[held_out.pair_track_P]
    label_P, top_P = held_out.pair_label_P, held_out.top_T[held_out.pair_track_P]
    probabilities_PC = held_out.probabilities_TC[held_out.pair_track_P]
    rank_P = rank(probabilities_PC, label_P)
    confidence_T, right_T = held_out.confidence_T, held_out.right_T.astype(np.float64)
    kept_T = surest(confidence_T).astype(np.float64)
    ones_P, ones_T = np.ones(len(block_P)), np.ones(len(block_T))
    hit_P = (rank_P == 0).astype(np.float64)
    return Sums(
        pairs_A=_sums(block_P, ones_P),
        top1_A=_sums(block_P, hit_P),
        top5_A=_sums(block_P, rank_P < TOP),
        close_A=_sums(block_P, close(held_out.cluster_of_class_C, label_P, top_P)),
        surprise_A=_sums(block_P, surprise(probabilities_PC, label_P)),
        tracks_A=_sums(block_T, ones_T),
        right_A=_sums(block_T, right_T),
        kept_A=_sums(block_T, kept_T),
        kept_right_A=_sums(block_T, kept_T * right_T),
        squared_error_A=_sums(block_T, (confidence_T - right_T) ** 2),
        gap_AB=_sums_by(block_T, equal_mass_bins(confidence_T), BINS, confidence_T - right_T),
        hits_AC=_sums_by(block_P, label_P, classes, hit_P),
        truths_AC=_sums_by(block_P, label_P, classes, ones_P),
        chosen_AC=_sums_by(block_P, top_P, classes, ones_P),
    )


def rank(probabilities_PC: NDArray[np.float32], label_P: Integers) -> Integers:
    """The rank of the label of each pair; 0 is the most probable class. Ties keep class order, as in argmax.

    >>> rank(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], np.float32), np.array([2, 2]))
    array([1, 1])
    """
    own_P1 = np.take_along_axis(probabilities_PC, label_P[:, None], axis=1)
    before_PC = np.arange(probabilities_PC.shape[1]) < label_P[:, None]
    ahead_PC = (probabilities_PC > own_P1) | ((probabilities_PC == own_P1) & before_PC)
    rank_P: Integers = ahead_PC.sum(axis=1)
    return rank_P


def surprise(probabilities_PC: NDArray[np.float32], label_P: Integers) -> Floats:
    """-log of the probability of the label of each pair, in nats. Probability 0 counts as 87 nats.

    >>> surprise(np.array([[0.25, 0.75], [0.0, 1.0]], np.float32), np.array([0, 0])).round(3)
    array([ 1.386, 87.337])
    """
    own_P = np.take_along_axis(probabilities_PC, label_P[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own_P, np.finfo(np.float32).tiny).astype(np.float64))


def close(cluster_of_class_C: Integers | None, label_P: Integers, top_P: Integers) -> Flags:
    """True if the top tag is wrong but in the cluster of the label. -1 means no cluster.

    >>> close(np.array([0, 0, 1, -1, -1]), label_P=np.array([0, 0, 0, 3]), top_P=np.array([0, 1, 2, 4]))
    array([False,  True, False, False])
    """
    if cluster_of_class_C is None:
        return np.zeros(len(label_P), dtype=np.bool_)
    cluster_P = cluster_of_class_C[label_P]
    close_P: Flags = (label_P != top_P) & (cluster_P == cluster_of_class_C[top_P]) & (cluster_P >= 0)
    return close_P


def _sums(block_N: Integers, values_N: NDArray[np.generic]) -> Floats:
    return _sums_by(block_N, np.zeros_like(block_N), 1, values_N)[:, 0]


def _sums_by(block_N: Integers, column_N: Integers, columns: int, values_N: NDArray[np.generic]) -> Floats:
    blocks = int(block_N.max()) + 1
    sums = np.bincount(block_N * columns + column_N, values_N.astype(np.float64), blocks * columns)
    return sums.reshape(blocks, columns).astype(np.float64)
