"""Texts of tracks as tokens: the tokens of a catalog, and their numbers in a model.

Shape suffixes: B tracks of a batch, N tokens of all of them, M different tokens of each track, D different
tokens of the batch, V known tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from genremill.models.encoders.text import TextEncoder, field_tokens
from genremill.models.encoders.text_tokens import FIELDS, Known, is_new, text_columns
from genremill.models.features import TextKind, text_kind
from genremill.udfs.arrow_rows import BatchFunction, lists

TOKENS_SCHEMA = "token long, artists long, times long"
BITS = 63
"""Groups of artists for counting: one per bit of a signed integer."""


def fields_of(batch: pa.RecordBatch, name: str) -> list[list[Any]]:
    """The texts, or the lists of tags, of each field of an input, for each track of a batch."""
    kind = text_kind(name)
    if kind is TextKind.NAMES:
        columns = [batch.column(field) for field in FIELDS]
        joined = [pc.binary_join(texts, " ") if pa.types.is_list(texts.type) else texts for texts in columns]
        return [texts.to_pylist() for texts in joined]
    (column,) = text_columns([name])
    return [_values(batch.column(column), name.partition(":")[2]).to_pylist()]


def _values(maps: pa.MapArray, key: str) -> pa.Array:
    """The value of a key in each map; null if there is none."""
    offsets = maps.offsets.to_numpy()
    row_N = np.repeat(np.arange(len(maps)), np.diff(offsets))
    has_key_N = pc.equal(maps.keys.slice(offsets[0], len(row_N)), key).to_numpy(zero_copy_only=False)
    place_B = np.full(len(maps), -1)
    place_B[row_N[has_key_N]] = offsets[0] + np.flatnonzero(has_key_N)
    has_no_value_B = (place_B < 0) | pc.is_null(maps).to_numpy(zero_copy_only=False)
    return maps.items.take(pa.array(place_B, mask=has_no_value_B))


def make_list_tokens(name: str) -> BatchFunction:
    """A `mapInArrow` function from the columns of an input and `artist` to `TOKENS_SCHEMA`.

    `artist` is the number of an artist. For each token of a batch, `artists` has a bit for each group of
    artists that uses it, and `times` is the number of tracks that have it.
    """
    kind = text_kind(name) or TextKind.NAMES

    def list_tokens(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            artist_B = batch.column("artist").to_numpy().astype(np.int64)
            bit_B = np.left_shift(np.int64(1), artist_B % BITS)
            by_field = [
                field_tokens(kind, cells, field) for field, cells in enumerate(fields_of(batch, name))
            ]
            hash_N = np.concatenate([hashes for hashes, _ in by_field]).view(np.int64)
            row_N = np.concatenate([np.repeat(np.arange(len(bit_B)), count_B) for _, count_B in by_field])
            yield _by_token(hash_N, row_N, bit_B)

    return list_tokens


def _by_token(
    hash_N: npt.NDArray[np.int64], row_N: npt.NDArray[np.int64], bit_B: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    order_N = np.argsort(hash_N, kind="stable")
    hash_N, row_N = hash_N[order_N], row_N[order_N]
    is_new_N = is_new(hash_N, row_N)  # a token may be in a text more than once
    hash_M, bit_M = hash_N[is_new_N], bit_B[row_N[is_new_N]]
    hash_D, first_D, times_D = np.unique(hash_M, return_index=True, return_counts=True)
    bits_D = np.bitwise_or.reduceat(bit_M, first_D) if len(first_D) else bit_M
    return pa.RecordBatch.from_pydict({"token": hash_D, "artists": bits_D, "times": times_D})


def make_number(known: Mapping[str, Known], kept: Sequence[str]) -> BatchFunction:
    """A `mapInArrow` function that adds token numbers, array<int>, of each input to the columns in `kept`."""

    def number(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoders = {name: TextEncoder(len(known_V), name) for name, known_V in known.items()}
        for encoder in encoders.values():
            encoder.learn(known)
        for batch in batches:
            numbers = [lists(encoder.numbers(fields_of(batch, name))) for name, encoder in encoders.items()]
            arrays = [*(batch.column(name) for name in kept), *numbers]
            yield pa.RecordBatch.from_arrays(arrays, names=[*kept, *encoders])

    return number
