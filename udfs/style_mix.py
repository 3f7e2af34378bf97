"""The mix of styles of a track: the probability of each cluster, and a short text.

Shape suffixes: T tracks, C classes, S styles (clusters, or classes where there are none), K most likely
styles.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from genremill.models.model_card import ModelCard
from genremill.udfs.arrow_rows import ranking
from genremill.udfs.model_rows import Floats, Integers

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

    def mix(self, p_TC: Floats) -> tuple[pa.ListArray, pa.StringArray]:
        """`tags.clusters`, null without a genre map, and `tags.blend` for probabilities of classes."""
        share_TS = self._shares(p_TC)
        top = torch.from_numpy(share_TS).topk(min(LIKELIEST, share_TS.shape[1]))
        style_TK, share_TK = top.indices.numpy(), top.values.numpy()
        blend = self._blend(p_TC, style_TK[:, :PARTS], share_TK[:, :PARTS])
        if not self.ids:
            return pa.nulls(len(p_TC), CLUSTERS_TYPE), blend
        return ranking("cluster_id", pa.array(self.ids, pa.int32()), style_TK, share_TK), blend

    def _shares(self, p_TC: Floats) -> Floats:
        """The probability of each style, the sum over its classes, shape (T, S)."""
        if not self.ids:
            return p_TC
        member_CS = (self.style_C[:, None] == np.arange(len(self.ids))).astype(np.float32)
        share_TS: Floats = p_TC @ member_CS
        return share_TS

    def _blend(self, p_TC: Floats, style_TK: Integers, share_TK: Floats) -> pa.StringArray:
        """The most likely style, and at most two more with a probability of at least 10 %.

        A cluster has the name of its most likely genre for the track: "metal 48 % · hip-hop 31 %" means that
        the genres of metal's cluster add up to 48 %, and that metal is the most likely of them.
        """
        named = []
        for k, (style_T, share_T) in enumerate(zip(style_TK.T, share_TK.T, strict=True)):
            own_TC = np.where(self.style_C == style_T[:, None], p_TC, -1)
            percent_T = np.rint(100 * share_T).clip(0, 100).astype(np.int64)
            part_T = own_TC.argmax(axis=1) * 101 + percent_T
            left_out_T = (share_T < LEAST_PART) & (k > 0)
            named.append(self.parts.take(pa.array(part_T, mask=left_out_T)))
        return pc.binary_join_element_wise(*named, " · ", null_handling="skip")
