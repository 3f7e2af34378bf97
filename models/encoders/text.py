"""The encoder of text: it maps each token to its number in the vocabulary of a model.

Shape suffixes: V known tokens, T tracks, N tokens of all tracks, L tokens kept per field, S fields × L.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from genremill.models.encoders.base import Encoder, Samples
from genremill.models.encoders.text_tokens import (
    FIELD_TOKENS,
    FIELDS,
    Hashes,
    is_new,
    prose_tokens,
    tag_tokens,
    tokens,
)
from genremill.models.features import TEXT, TextKind, text_kind


class TextEncoder(Encoder):
    """Numbers the tokens of the vocabulary from 1. Unknown tokens are left out."""

    def __init__(self, size: int, name: str = TEXT) -> None:
        super().__init__()
        self.name = name
        self.kind = text_kind(name) or TextKind.NAMES
        self.hash_V = nn.Buffer(torch.zeros(size, dtype=torch.long))
        self.rarity_V = nn.Buffer(torch.zeros(size))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input that it numbers."""
        return (self.name,)

    @property
    def fields(self) -> int:
        """Number of fields: names have three, other text has one."""
        return len(FIELDS) if self.kind is TextKind.NAMES else 1

    def learn(self, samples: Samples) -> None:
        """Sets the vocabulary from an array of `KNOWN`."""
        self.hash_V[:] = torch.from_numpy(samples[self.name]["hash"].copy())
        self.rarity_V[:] = torch.from_numpy(samples[self.name]["rarity"].copy())

    def numbers(self, fields: Sequence[Sequence[Any]]) -> npt.NDArray[np.int32]:
        """Token numbers of tracks, shape (T, S), from the texts or the lists of tags of each field."""
        known_V = pa.array(self.hash_V.numpy())
        rank_of = {TextKind.PROSE: -self.rarity_V, TextKind.TAGS: self.rarity_V}
        rank_V = rank_of[self.kind].numpy() if self.kind in rank_of else None
        most = FIELD_TOKENS[self.kind]
        of_fields = (field_tokens(self.kind, cells, field) for field, cells in enumerate(fields))
        return np.hstack([_numbers(known_V, rank_V, most, *found) for found in of_fields])


def field_tokens(kind: TextKind, cells: Sequence[Any], field: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hashes of the tokens of a field, and the number of tokens per track: shapes (N,) and (T,)."""
    if kind is TextKind.NAMES:
        return tokens(cells, field)
    return prose_tokens(cells) if kind is TextKind.PROSE else tag_tokens(cells)


def _numbers(
    known_V: pa.Int64Array,
    rank_V: npt.NDArray[np.float32] | None,
    most: int,
    hash_N: Hashes,
    count_T: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    """Numbers of at most L known tokens of each text, followed by zeros, shape (T, L).

    Of more tokens the first are kept, or, with `rank_V`, those with the smallest rank. A token that a text
    has again comes after all different tokens.
    """
    numbers_TL = np.zeros((len(count_T), most), np.int32)
    index_N = pc.fill_null(pc.index_in(pa.array(hash_N.view(np.int64)), known_V), -1).to_numpy()
    known_N = index_N >= 0
    text_N, index_N = np.repeat(np.arange(len(count_T)), count_T)[known_N], index_N[known_N]
    if rank_V is not None:
        order = np.lexsort((index_N, text_N))
        text_N, index_N = text_N[order], index_N[order]
        order = np.lexsort((rank_V[index_N], _times_before(text_N, index_N), text_N))
        text_N, index_N = text_N[order], index_N[order]
    before_T = np.concatenate([[0], np.bincount(text_N, minlength=len(count_T)).cumsum()[:-1]])
    place_N = np.arange(len(text_N)) - before_T[text_N]
    kept_N = place_N < most
    numbers_TL[text_N[kept_N], place_N[kept_N]] = index_N[kept_N] + 1
    return numbers_TL


def _times_before(text_N: npt.NDArray[np.int64], index_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often a text has each token before, if the tokens are sorted by text and token.

    >>> _times_before(np.array([0, 0, 0, 1]), np.array([7, 7, 9, 9])).tolist()
    [0, 1, 0, 0]
    """
    first_D = np.flatnonzero(is_new(index_N, text_N))
    return np.arange(len(index_N)) - np.repeat(first_D, np.diff(first_D, append=len(index_N)))
