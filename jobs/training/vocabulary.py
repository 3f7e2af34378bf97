"""The tokens of texts that a model learns: those that several artists share."""

from collections.abc import Iterable, Mapping

import numpy as np
from pyspark.sql import DataFrame, functions as F, types as T

from genremill.models.encoders.text_tokens import KNOWN, Known, text_columns

FEWEST_ARTISTS = 4
"""Smallest number of artists of a token; a token of fewer artists identifies the artist, not the genre."""
MOST_TOKENS = 150_000
"""Largest number of tokens of all inputs, the most frequent; the names of the Spotify table have 121,000."""
MOST_PAIRS = 20_000_000
"""Largest number of tokens times classes: a model stores a number for each, 40 MB."""


def known_tokens(tracks: DataFrame, names: Iterable[str], count: int, classes: int) -> dict[str, Known]:
    """The tokens of `count` tracks of `classes` classes, for each input that is text, by ascending hash."""
    most = min(MOST_TOKENS, MOST_PAIRS // classes)
    return most_frequent({name: _shared_tokens(tracks, name, count, most) for name in names}, most)


def most_frequent(known: dict[str, Known], most: int) -> dict[str, Known]:
    """The most frequent tokens of each input, at most `most` in total.

    Each input may have an equal part of them, and what other inputs leave. Otherwise a column of lyrics,
    which has many frequent words, would displace most tokens of the names.
    """
    kept = {}
    for done, name in enumerate(sorted(known, key=lambda name: len(known[name]))):
        frequent = np.argsort(known[name]["rarity"], kind="stable")[: most // (len(known) - done)]
        kept[name] = known[name][np.sort(frequent)]
        most -= len(frequent)
    return {name: kept[name] for name in known}


def _shared_tokens(tracks: DataFrame, name: str, count: int, most: int) -> Known:
    """The tokens of one input that several artists share, the most frequent ones, by ascending hash.

    Artists are counted by groups, which are the same in every run, so that a token needs one number and not a
    set. In one of eleven cases, two of four artists are in the same group.
    """
    from genremill.udfs.tokens import BITS, TOKENS_SCHEMA, make_list_tokens  # here: torch takes seconds

    artist = F.pmod(F.xxhash64("artist_id"), F.lit(BITS)).alias("artist")
    by_token = tracks.select(*text_columns([name]), artist).mapInArrow(make_list_tokens(name), TOKENS_SCHEMA)
    groups = F.bit_count(F.bit_or("artists"))
    counted = by_token.groupBy("token").agg(groups.alias("groups"), F.sum("times").alias("times"))
    shared = counted.where(F.col("groups") >= FEWEST_ARTISTS).orderBy(F.desc("times"), "token")
    kept = shared.limit(most).select("token", "times").toArrow()
    known = np.zeros(len(kept), KNOWN)
    known["hash"] = kept.column("token").to_numpy()
    known["rarity"] = np.log(np.maximum(count / kept.column("times").to_numpy(), 1) + 1)
    return np.sort(known, order="hash")


def numbered(pairs: DataFrame, known: Mapping[str, Known]) -> DataFrame:
    """Pairs in which the numbers of the tokens replace the track's texts."""
    from genremill.udfs.tokens import make_number

    texts = text_columns(known)
    kept = [name for name in pairs.columns if name not in texts]
    numbers = [T.StructField(name, T.ArrayType(T.IntegerType())) for name in known]
    schema = T.StructType([*(pairs.schema[name] for name in kept), *numbers])
    return pairs.mapInArrow(make_number(known, kept), schema)
