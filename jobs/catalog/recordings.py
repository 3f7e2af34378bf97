"""Groups tracks by recording and by artist, as connected components in Spark."""

import functools
from collections.abc import Callable

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.errors import GenremillError
from genremill.infra.log import LOGGER

MAX_ROUNDS = 50
"""Large-star/small-star needs O(log² n) rounds; more rounds than this mean a bug, not a large table."""

NOT_ONE_ARTIST = (
    *("various artists", "various", "va", "v.a.", "v.a", "v/a", "v. a.", "various interprets", "diverse"),
    *("diverse interpreten", "diverse artister", "verschiedene interpreten", "verschiedene", "varios"),
    *("varios artistas", "varios interpretes", "vários artistas", "vários intérpretes", "artisti vari"),
    *("artistes divers", "artistes variés", "divers", "разные исполнители", "сборник", "群星"),
    *("unknown artist", "unknown", "[unknown]", "<unknown>", "anonymous", "anonymus", "[anonymous]"),
    *("traditional", "[traditional]", "[no artist]", "no artist", "original cast", "original soundtrack"),
)
"""Names that stand for many artists, or for none, in lower case."""

Checkpoint = Callable[[DataFrame, str], DataFrame]
"""Writes a DataFrame to scratch space under a name, and reads it back."""


def folded(column: Column) -> Column:
    """Text in lower case and trimmed, for comparison; null if it is blank."""
    value = F.lower(F.trim(column))
    return F.when(value != "", value)


def artist_key(track_id: str = "track_id", artists: str = "artists") -> Column:
    """A text that is equal for two tracks if they have the same first artist.

    A track without an artist, or with one of `NOT_ONE_ARTIST`, has a text of its own.
    """
    first = folded(F.get(artists, F.lit(0)))
    is_artist = first.isNotNull() & ~first.isin(*NOT_ONE_ARTIST)
    return F.when(is_artist, F.concat(F.lit("artist "), first)).otherwise(F.concat(F.lit("track "), track_id))


def track_groups(tracks: DataFrame, vector: Column, checkpoint: Checkpoint) -> tuple[DataFrame, DataFrame]:
    """Recordings (same vector, or title and first artist) and artists (same first artist or recording).

    A node is the 64-bit hash of a track_id. Among 100 million tracks, two share a node with probability 3e-4.
    """
    title, artist = folded(F.col("title")), folded(F.get("artists", F.lit(0)))
    keys = _key("vector", vector), _key("name", title, artist), _key("artist", artist)
    nodes = checkpoint(tracks.select(F.xxhash64("track_id").alias("node"), *keys), "nodes")
    same_recording = _star(nodes, "vector").unionByName(_star(nodes, "name"))
    recordings = connected_components(same_recording, checkpoint, "recordings")
    same_artist = _star(nodes, "artist").unionByName(recordings.toDF("u", "v"))
    return recordings, connected_components(same_artist, checkpoint, "artists")


def _key(name: str, *values: Column) -> Column:
    """A hash of the values; null if one of them is null."""
    filled = functools.reduce(Column.__and__, (value.isNotNull() for value in values))
    return F.when(filled, F.xxhash64(F.lit(name), *values)).alias(name)


def _star(nodes: DataFrame, key: str) -> DataFrame:
    """Edges (u, v) from each node to the smallest node with the same key."""
    smallest = F.min("node").over(Window.partitionBy(key))
    with_key = nodes.where(F.col(key).isNotNull())
    return with_key.select(F.col("node").alias("u"), smallest.alias("v")).where("u != v")


def connected_components(edges: DataFrame, checkpoint: Checkpoint, name: str) -> DataFrame:
    """(node, component) of each node that has an edge; a component is named by its smallest node.

    Large-star and small-star steps in turn (Kiveris et al., "Connected components in MapReduce and
    beyond", 2014), until a round changes nothing; long chains need O(log² n) rounds.
    """
    downward = edges.select(F.greatest("u", "v").alias("u"), F.least("u", "v").alias("v"))
    current = checkpoint(downward.where("u != v").distinct(), f"{name}-0")
    state = _fingerprint(current)
    for number in range(1, MAX_ROUNDS + 1):
        if not state[0]:
            break
        current = checkpoint(current.transform(_large_star).transform(_small_star), f"{name}-{number}")
        before, state = state, _fingerprint(current)
        if state == before:
            LOGGER.info("%s: connected components of %d edges found in %d rounds", name, state[0], number)
            break
    else:
        raise GenremillError(f"connected components of {name}: not finished after {MAX_ROUNDS} rounds")
    return current.toDF("node", "component")


def _fingerprint(edges: DataFrame) -> tuple[int, int]:
    # Hashes modulo 2^31: below 4 billion edges, their sum fits into a long; a sum of whole hashes may not.
    row = edges.agg(F.count("*"), F.sum(F.xxhash64("u", "v") % (1 << 31))).first()
    return (row[0], row[1] or 0) if row else (0, 0)


def _large_star(edges: DataFrame) -> DataFrame:
    """Joins every larger neighbor of a node to the smallest of its neighborhood."""
    both = edges.union(edges.select("v", "u"))
    smallest = F.least("u", F.min("v").over(Window.partitionBy("u")))
    larger = both.select("u", "v", smallest.alias("m")).where("v > u")
    return larger.select(F.col("v").alias("u"), F.col("m").alias("v")).distinct()


def _small_star(edges: DataFrame) -> DataFrame:
    """Joins a node and its smaller neighbors to the smallest of them."""
    with_smallest = edges.select("u", "v", F.min("v").over(Window.partitionBy("u")).alias("m"))
    pairs = with_smallest.selectExpr("inline(array(struct(u, m AS v), struct(v AS u, m AS v)))")
    return pairs.where("u != v").distinct()
