"""The tokens of track names that a model is worth knowing: those that several artists share."""

import numpy as np
from pyspark.sql import DataFrame, functions as F, types as T

from genremill.models.encoders.text_tokens import FIELDS, KNOWN, Known
from genremill.models.features import TEXT

FEWEST_ARTISTS = 4
"""Artists that a token is found with at least; one of fewer tells the artist and not the genre."""
MOST_TOKENS = 150_000
"""Tokens that a model knows at most, the most frequent; of the Spotify table it is 121,000."""
MOST_PAIRS = 20_000_000
"""Tokens times classes at most: a model keeps a number for each, 40 MB."""


def known_tokens(tracks: DataFrame, count: int, classes: int) -> Known:
    """The tokens in the names of `count` tracks of `classes` classes, by ascending hash.

    Artists are counted by groups, the same in every run, so that a token needs one number and not a set: of
    four artists, one in eleven times two fall in the same group.
    """
    from genremill.udfs.tokens import BITS, TOKENS_SCHEMA, make_list_tokens  # here: --help needs no torch

    named = tracks.select(*FIELDS, F.pmod(F.xxhash64("artist_id"), F.lit(BITS)).alias("artist"))
    found = named.mapInArrow(make_list_tokens(), TOKENS_SCHEMA).groupBy("token")
    groups = F.bit_count(F.bit_or("artists"))
    counted = found.agg(groups.alias("groups"), F.sum("times").alias("times"))
    shared = counted.where(F.col("groups") >= FEWEST_ARTISTS).orderBy(F.desc("times"), "token")
    kept = shared.limit(min(MOST_TOKENS, MOST_PAIRS // classes)).select("token", "times").toArrow()
    known = np.zeros(len(kept), KNOWN)
    known["hash"] = kept.column("token").to_numpy()
    known["rarity"] = np.log(np.maximum(count / kept.column("times").to_numpy(), 1) + 1)
    return np.sort(known, order="hash")


def numbered(pairs: DataFrame, known: Known) -> DataFrame:
    """Pairs with the token numbers of the track's names in place of the names."""
    from genremill.udfs.tokens import make_number

    kept = [name for name in pairs.columns if name not in FIELDS]
    numbers = T.StructField(TEXT, T.ArrayType(T.IntegerType()))
    schema = T.StructType([*(pairs.schema[name] for name in kept), numbers])
    return pairs.mapInArrow(make_number(known, TEXT, kept), schema)
