"""Groups tracks by recording and by artist, as connected components in Spark."""

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.infra.errors import GenremillError
from genremill.infra.log import LOGGER

VECTOR_FEATURES = 8
"""Tracks with equal feature vectors are one recording only if there are at least this many features."""
MAX_ROUNDS = 50
"""Large-star/small-star needs O(log² n) rounds; more than this many mean a bug, not a large table."""

Checkpoint = Callable[[DataFrame, str], DataFrame]
"""Writes a DataFrame to scratch space under a name, and reads it back."""


@dataclass(frozen=True)
class Groups:
    """`recordings`: node, recording; `artists`: node, artist. Tracks without a group are in neither."""

    recordings: DataFrame
    artists: DataFrame


def node(column: Column) -> Column:
    """The 64-bit node of an id. Two of 100 million ids share one with a probability of 3e-4."""
    return F.xxhash64(column)


def folded(column: Column) -> Column:
    """Text in lower case and trimmed, for comparison; null if it is blank."""
    value = F.lower(F.trim(column))
    return F.when(value != "", value)


def first_artist() -> Column:
    """The first credited artist of a track, folded."""
    return folded(F.get("artists", F.lit(0)))


def track_groups(tracks: DataFrame, vector: Column | None, checkpoint: Checkpoint) -> Groups:
    """Recordings (same vector, or same title and first artist) and artists (first artist or recording)."""
    nodes = checkpoint(
        tracks.select(
            node(F.col("track_id")).alias("node"),
            (F.xxhash64(F.lit("vector"), vector) if vector is not None else F.lit(None).cast("long")).alias(
                "vector"
            ),
            F.when(
                folded(F.col("title")).isNotNull() & first_artist().isNotNull(),
                F.xxhash64(F.lit("name"), folded(F.col("title")), first_artist()),
            ).alias("name"),
            F.when(first_artist().isNotNull(), F.xxhash64(F.lit("artist"), first_artist())).alias("artist"),
        ),
        "nodes",
    )
    same_recording = _star(nodes, "vector").unionByName(_star(nodes, "name"))
    recordings = connected_components(same_recording, checkpoint, "recordings")
    same_artist = _star(nodes, "artist").unionByName(
        recordings.select(F.col("node").alias("u"), F.col("component").alias("v"))
    )
    artists = connected_components(same_artist, checkpoint, "artists")
    return Groups(
        recordings.withColumnRenamed("component", "recording"),
        artists.withColumnRenamed("component", "artist"),
    )


def _star(nodes: DataFrame, key: str) -> DataFrame:
    """Edges (u, v) from each node to the smallest node with the same key."""
    smallest = F.min("node").over(Window.partitionBy(key))
    return (
        nodes.where(F.col(key).isNotNull())
        .select(F.col("node").alias("u"), smallest.alias("v"))
        .where(F.col("u") != F.col("v"))
    )


def connected_components(edges: DataFrame, checkpoint: Checkpoint, name: str) -> DataFrame:
    """(node, component) of each node that has an edge; a component is named by its smallest node.

    Large-star and small-star steps in turn (Kiveris et al., "Connected components in MapReduce and
    beyond", 2014), until a round changes nothing; long chains need O(log² n) rounds.
    """
    downward = edges.select(F.greatest("u", "v").alias("u"), F.least("u", "v").alias("v"))
    current = checkpoint(downward.where(F.col("u") != F.col("v")).distinct(), f"{name}-0")
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
    return current.select(F.col("u").alias("node"), F.col("v").alias("component"))


def _fingerprint(edges: DataFrame) -> tuple[int, int]:
    # Sums of 32-bit halves cannot overflow a long below 4 billion edges; a sum of 64-bit hashes can.
    row = edges.agg(F.count("*"), F.sum(F.xxhash64("u", "v") % (1 << 31))).first()
    return (row[0], row[1] or 0) if row else (0, 0)


def _large_star(edges: DataFrame) -> DataFrame:
    """Joins every larger neighbor of a node to the smallest of its neighborhood."""
    both = edges.unionByName(edges.select(F.col("v").alias("u"), F.col("u").alias("v")))
    smallest = F.least("u", F.min("v").over(Window.partitionBy("u")))
    return (
        both.select("u", "v", smallest.alias("m"))
        .where(F.col("v") > F.col("u"))
        .select(F.col("v").alias("u"), F.col("m").alias("v"))
        .distinct()
    )


def _small_star(edges: DataFrame) -> DataFrame:
    """Joins a node and its smaller neighbors to the smallest of them."""
    with_smallest = edges.select("u", "v", F.min("v").over(Window.partitionBy("u")).alias("m"))
    pairs = F.array(
        F.struct(F.col("u"), F.col("m").alias("v")), F.struct(F.col("v").alias("u"), F.col("m").alias("v"))
    )
    return with_smallest.select(F.inline(pairs)).where(F.col("u") != F.col("v")).distinct()
