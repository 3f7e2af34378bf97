"""The mix of styles of a track: the probability of each cluster, and a short text.

Shape suffixes: T tracks, C classes, S styles (clusters, or classes where there are none), K most likely
styles.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models.model_card import ModelCard

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

LIKELIEST = 5
"""Number of clusters in `tags.clusters`."""
PARTS = 3
"""Most styles in a blend."""
LEAST_PART = 0.1
"""Lowest probability of a second or third style in a blend."""

CLUSTERS_TYPE = pa.list_(pa.struct([("cluster_id", pa.int32()), ("probability", pa.float32())]))


@dataclass(frozen=True, eq=False)
class Styles:
    """The clusters of a model's classes.

    Parameters
    ----------
    ids : ids of the clusters, rising; empty without a genre map
    style_C : index of the cluster of each class, -1 for none; without a genre map, the index of the class
    parts : the text of each class at each whole percent, shape (C × 101,)
    """

    ids: tuple[int, ...]
    style_C: Integers
    parts: pa.StringArray

    @classmethod
    def of(cls, card: ModelCard) -> "Styles":
        """The styles of a model."""
        ids = tuple(sorted({cluster.id for cluster in card.clusters.values()}))
        index_of = {number: index for index, number in enumerate(ids)}
        in_clusters = [
            index_of[card.clusters[name].id] if name in card.clusters else -1 for name in card.classes
        ]
        style_C = np.array(in_clusters) if ids else np.arange(len(card.classes))
        parts = pa.array([f"{name} {percent} %" for name in card.classes for percent in range(101)])
        return cls(ids, style_C, parts)

    def shares(self, p_TC: Floats) -> Floats:
        """The probability of each style, the sum over its classes, shape (T, S)."""
        if not self.ids:
            return p_TC
        member_CS = (self.style_C[:, None] == np.arange(len(self.ids))).astype(np.float32)
        share_TS: Floats = p_TC @ member_CS
        return share_TS


@dataclass(frozen=True, eq=False)
class StyleMix:
    """The most likely styles of T tracks, best first: index and probability, both of shape (T, K)."""

    styles: Styles
    style_TK: Integers
    share_TK: Floats

    @classmethod
    def of(cls, styles: Styles, p_TC: Floats) -> "StyleMix":
        """The mix for probabilities of classes."""
        share_TS = styles.shares(p_TC)
        top = torch.from_numpy(share_TS).topk(min(LIKELIEST, share_TS.shape[1]))
        return cls(styles, top.indices.numpy(), top.values.numpy())

    def clusters(self) -> pa.ListArray:
        """`tags.clusters`; null without a genre map."""
        if not self.styles.ids:
            return pa.nulls(len(self.style_TK), CLUSTERS_TYPE)
        ids = pa.array(self.styles.ids, pa.int32()).take(pa.array(self.style_TK.ravel()))
        flat = pa.StructArray.from_arrays(
            [ids, pa.array(self.share_TK.ravel())], names=["cluster_id", "probability"]
        )
        offsets = pa.array(np.arange(len(self.style_TK) + 1, dtype=np.int32) * self.style_TK.shape[1])
        return pa.ListArray.from_arrays(offsets, flat)

    def blend(self, p_TC: Floats) -> pa.StringArray:
        """`tags.blend`: the most likely style, and at most two more with a probability of at least 10 %.

        A cluster has the name of its most likely genre for the track: "metal 48 % · hip-hop 31 %" means that
        the genres of metal's cluster add up to 48 %, and that metal is the most likely of them.
        """
        named = []
        for k in range(min(PARTS, self.style_TK.shape[1])):
            style_T, share_T = self.style_TK[:, k], self.share_TK[:, k]
            own_TC = np.where(self.styles.style_C == style_T[:, None], p_TC, -1)
            percent_T = np.rint(100 * share_T).clip(0, 100).astype(np.int64)
            part_T = own_TC.argmax(axis=1) * 101 + percent_T
            left_out_T = (share_T < LEAST_PART) & (k > 0)
            named.append(self.styles.parts.take(pa.array(part_T, mask=left_out_T)))
        return pc.binary_join_element_wise(*named, " · ", null_handling="skip")
