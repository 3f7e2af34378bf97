"""The tokens of track names that a model learns: those that several artists share."""

import numpy as np
from pyspark.sql import DataFrame, functions as F, types as T

from genremill.models.encoders.text_tokens import FIELDS, KNOWN, Known
from genremill.models.features import TEXT

FEWEST_ARTISTS = 4
"""Smallest number of artists of a token; a token of fewer artists identifies the artist, not the genre."""
MOST_TOKENS = 150_000
"""Largest number of tokens, the most frequent; the Spotify table has 121,000."""
MOST_PAIRS = 20_000_000
"""Largest number of tokens times classes: a model stores a number for each, 40 MB."""


def known_tokens(tracks: DataFrame, count: int, classes: int) -> Known:
    """The tokens in the names of `count` tracks of `classes` classes, by ascending hash.

    Artists are counted by groups, which are the same in every run, so that a token needs one number and not a
    set. In one of eleven cases, two of four artists are in the same group.
    """
    from genremill.udfs.tokens import BITS, TOKENS_SCHEMA, make_list_tokens  # here: torch takes seconds

    named = tracks.select(*FIELDS, F.pmod(F.xxhash64("artist_id"), F.lit(BITS)).alias("artist"))
    by_token = named.mapInArrow(make_list_tokens(), TOKENS_SCHEMA).groupBy("token")
    groups = F.bit_count(F.bit_or("artists"))
    counted = by_token.agg(groups.alias("groups"), F.sum("times").alias("times"))
    shared = counted.where(F.col("groups") >= FEWEST_ARTISTS).orderBy(F.desc("times"), "token")
    kept = shared.limit(min(MOST_TOKENS, MOST_PAIRS // classes)).select("token", "times").toArrow()
    known = np.zeros(len(kept), KNOWN)
    known["hash"] = kept.column("token").to_numpy()
    known["rarity"] = np.log(np.maximum(count / kept.column("times").to_numpy(), 1) + 1)
    return np.sort(known, order="hash")


def numbered(pairs: DataFrame, known: Known) -> DataFrame:
    """Pairs in which the numbers of the tokens replace the track's names."""
    from genremill.udfs.tokens import make_number

    kept = [name for name in pairs.columns if name not in FIELDS]
    numbers = T.StructField(TEXT, T.ArrayType(T.IntegerType()))
    schema = T.StructType([*(pairs.schema[name] for name in kept), numbers])
    return pairs.mapInArrow(make_number(known, TEXT, kept), schema)
