"""The encoder of names: it maps each token to its number in the vocabulary of a model.

Shape suffixes: V known tokens, T tracks, N tokens of all tracks, L tokens kept per field, S fields × L.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from genremill.models.encoders.base import Encoder, Samples
from genremill.models.encoders.text_tokens import FIELD_TOKENS, Hashes, tokens
from genremill.models.features import TEXT


class TextEncoder(Encoder):
    """Numbers the tokens of the vocabulary from 1. Unknown tokens are left out."""

    inputs = (TEXT,)

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hash_V = nn.Buffer(torch.zeros(size, dtype=torch.long))
        self.rarity_V = nn.Buffer(torch.zeros(size))

    def learn(self, samples: Samples) -> None:
        """Sets the vocabulary from an array of `KNOWN`."""
        self.hash_V[:] = torch.from_numpy(samples[TEXT]["hash"].copy())
        self.rarity_V[:] = torch.from_numpy(samples[TEXT]["rarity"].copy())

    def numbers(self, fields: Sequence[Sequence[str | None]]) -> npt.NDArray[np.int32]:
        """Token numbers of tracks, shape (T, S), from the texts of each field."""
        known_V = pa.array(self.hash_V.numpy())
        return np.hstack([_numbers(known_V, *tokens(texts, field)) for field, texts in enumerate(fields)])


def _numbers(known_V: pa.Int64Array, hash_N: Hashes, count_T: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Numbers of the first known tokens of each text, then zeros, shape (T, L)."""
    numbers_TL = np.zeros((len(count_T), FIELD_TOKENS), np.int32)
    index_N = pc.fill_null(pc.index_in(pa.array(hash_N.view(np.int64)), known_V), -1).to_numpy()
    known_N = index_N >= 0
    text_N = np.repeat(np.arange(len(count_T)), count_T)[known_N]
    before_T = np.concatenate([[0], np.bincount(text_N, minlength=len(count_T)).cumsum()[:-1]])
    place_N = np.arange(len(text_N)) - before_T[text_N]
    kept_N = place_N < FIELD_TOKENS
    numbers_TL[text_N[kept_N], place_N[kept_N]] = index_N[known_N][kept_N] + 1
    return numbers_TL
