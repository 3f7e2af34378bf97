"""A track's mix of styles: the probability of each cluster, and the mix in a few words.

Shape suffixes: T tracks, C classes, S styles (clusters, or classes where there are none), K likeliest styles.
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
"""Clusters in `tags.clusters`."""
PARTS = 3
"""Styles that a blend names at most."""
LEAST_PART = 0.1
"""Probability of a style that is named beside the likeliest."""

CLUSTERS_TYPE = pa.list_(pa.struct([("cluster_id", pa.int32()), ("probability", pa.float32())]))


@dataclass(frozen=True, eq=False)
class Styles:
    """The clusters of a model's classes.

    Parameters
    ----------
    ids : of the clusters, rising; empty where there is no genre map
    style_C : index of each class's cluster, -1 where it is in none; of the class itself where there is no map
    parts : what a blend calls each class at each whole percent, shape (C × 101,)
    """

    ids: tuple[int, ...]
    style_C: Integers
    parts: pa.StringArray

    @classmethod
    def of(cls, card: ModelCard) -> "Styles":
        """The styles that a model knows."""
        ids = tuple(sorted({one.id for one in card.clusters.values()}))
        at = {number: index for index, number in enumerate(ids)}
        in_clusters = [at[card.clusters[name].id] if name in card.clusters else -1 for name in card.classes]
        style_C = np.array(in_clusters) if ids else np.arange(len(card.classes))
        parts = pa.array([f"{name} {percent} %" for name in card.classes for percent in range(101)])
        return cls(ids, style_C, parts)

    def shares(self, p_TC: Floats) -> Floats:
        """The probability of each style, the sum of its classes', shape (T, S)."""
        if not self.ids:
            return p_TC
        member_CS = (self.style_C[:, None] == np.arange(len(self.ids))).astype(np.float32)
        share_TS: Floats = p_TC @ member_CS
        return share_TS


@dataclass(frozen=True, eq=False)
class StyleMix:
    """The likeliest styles of T tracks, falling: index and probability, both of shape (T, K)."""

    styles: Styles
    style_TK: Integers
    share_TK: Floats

    @classmethod
    def of(cls, styles: Styles, p_TC: Floats) -> "StyleMix":
        """The mix that the probabilities of the classes come to."""
        share_TS = styles.shares(p_TC)
        found = torch.from_numpy(share_TS).topk(min(LIKELIEST, share_TS.shape[1]))
        return cls(styles, found.indices.numpy(), found.values.numpy())

    def clusters(self) -> pa.ListArray:
        """`tags.clusters`; null where there is no genre map."""
        if not self.styles.ids:
            return pa.nulls(len(self.style_TK), CLUSTERS_TYPE)
        ids = pa.array(self.styles.ids, pa.int32()).take(pa.array(self.style_TK.ravel()))
        flat = pa.StructArray.from_arrays(
            [ids, pa.array(self.share_TK.ravel())], names=["cluster_id", "probability"]
        )
        offsets = pa.array(np.arange(len(self.style_TK) + 1, dtype=np.int32) * self.style_TK.shape[1])
        return pa.ListArray.from_arrays(offsets, flat)

    def blend(self, p_TC: Floats) -> pa.StringArray:
        """`tags.blend`: the likeliest style, and beside it at most two more of 10 % or more.

        A cluster is called by the likeliest of its genres for this very track: "metal 48 % · hip-hop 31 %"
        says that the genres of metal's cluster add up to 48 %, and that of them metal is the likeliest.
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
