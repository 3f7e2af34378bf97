"""Titles, albums and artists of tracks as tokens: the tokens of a catalog, and their numbers in a model.

Shape suffixes: B tracks of a batch, N tokens of all of them, D distinct tokens, V known tokens.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genremill.models.encoders.text import TextEncoder
from genremill.models.encoders.text_tokens import FIELDS, Known, tokens
from genremill.udfs.arrow_rows import BatchFunction, lists

TOKENS_SCHEMA = "token long, artists long, times long"
BITS = 63
"""Groups of artists for counting: one per bit of a signed integer."""


def names_of(batch: pa.RecordBatch) -> list[list[str | None]]:
    """The texts of each field, for each track of a batch."""
    columns = [batch.column(name) for name in FIELDS]
    joined = [pc.binary_join(texts, " ") if pa.types.is_list(texts.type) else texts for texts in columns]
    return [texts.to_pylist() for texts in joined]


def make_list_tokens() -> BatchFunction:
    """A `mapInArrow` function from (title, album, artists, artist) to `TOKENS_SCHEMA`.

    `artist` is the number of an artist. For each token of a batch, `artists` has a bit for each group of
    artists that uses it, and `times` is the number of uses.
    """

    def list_tokens(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            artist_B = batch.column("artist").to_numpy().astype(np.int64)
            bit_B = np.left_shift(np.int64(1), artist_B % BITS)
            by_field = [tokens(texts, field) for field, texts in enumerate(names_of(batch))]
            hash_N = np.concatenate([hashes for hashes, _ in by_field]).view(np.int64)
            bit_N = np.concatenate([np.repeat(bit_B, count_B) for _, count_B in by_field])
            yield _by_token(hash_N, bit_N)

    return list_tokens


def _by_token(hash_N: npt.NDArray[np.int64], bit_N: npt.NDArray[np.int64]) -> pa.RecordBatch:
    order_N = np.argsort(hash_N)
    hash_D, first_D, times_D = np.unique(hash_N[order_N], return_index=True, return_counts=True)
    bits_D = np.bitwise_or.reduceat(bit_N[order_N], first_D) if len(first_D) else bit_N
    return pa.RecordBatch.from_pydict({"token": hash_D, "artists": bits_D, "times": times_D})


def make_number(known_V: Known, column: str, kept: Sequence[str]) -> BatchFunction:
    """A `mapInArrow` function that adds a `column` of token numbers, array<int>, to the columns in `kept`."""

    def number(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = TextEncoder(len(known_V))
        encoder.learn({column: known_V})
        for batch in batches:
            numbers = lists(encoder.numbers(names_of(batch)))
            arrays = [*(batch.column(name) for name in kept), numbers]
            yield pa.RecordBatch.from_arrays(arrays, names=[*kept, column])

    return number
