"""Whether a new model's tags are no worse than the current ones, on the same held-out artists."""

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.evaluation.held_out import Labels
from genremill.models.evaluation.metrics import Interval
from genremill.models.evaluation.paired_accuracy import paired_difference
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard, read_card

BLOCKS = 2000
"""Artists are resampled in this many blocks, so that no table of all of them comes to the driver."""


class NotComparable(UsageError):
    """Nothing tells which of two models is the better one."""


def difference(spark: SparkSession, warehouse: Warehouse, candidate: Snapshot, current: Snapshot) -> Interval:
    """Any-label accuracy of the candidate's tags less that of the current, on tracks held out of both."""
    tracks, before = (
        warehouse.finished("tracks", TagsDetails.of(one).tracks_run) for one in (candidate, current)
    )
    if tracks is None or before is None or TracksDetails.of(tracks).split != TracksDetails.of(before).split:
        raise NotComparable("the current tags are of tracks that are gone, or that were split otherwise")
    if TracksDetails.of(tracks).split.by is SplitBy.ROWS:
        raise NotComparable("under --split rows, no track is held out")
    held_out = snapshots.read(spark, warehouse, tracks).where(
        (F.col("split") == Split.TEST.value) & (F.size("genres") > 0)
    )
    rights = held_out.select("track_id", "artist_id", "genres")
    for name, one in (("old", current), ("new", candidate)):
        tags = snapshots.read(spark, warehouse, one).where(F.size("top") > 0)
        answer = tags.select("track_id", F.col("top")[0]["label"].alias("answer"))
        joined = rights.join(answer, "track_id", "inner")
        rights = joined.withColumn(name, _is_right(read_card(TagsDetails.of(one).model))).drop("answer")
    blocks = _by_block(rights)
    if not blocks:
        raise NotComparable("no held-out track has a label and both models' answers")
    tracks_A, gained_A = np.array(blocks).T
    return paired_difference(tracks_A, gained_A)


def _is_right(card: ModelCard) -> Column:
    """Whether `answer` is one of a track's labels, as this model names them."""
    if Labels(card.labels) is Labels.GENRE:
        return F.array_contains("genres", F.col("answer"))
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    flat = [F.lit(word) for genre, number in card.genre_map.items() for word in (genre, names[number])]
    return F.array_contains(F.transform("genres", lambda genre: F.create_map(*flat)[genre]), F.col("answer"))


def _by_block(rights: DataFrame) -> list[tuple[int, int]]:
    """Tracks, and what the new model gains, of each block of artists."""
    block = F.pmod(F.xxhash64("artist_id"), F.lit(BLOCKS))
    gained = F.col("new").cast("int") - F.col("old").cast("int")
    rows = rights.groupBy(block.alias("block")).agg(F.count("*"), F.sum(gained)).orderBy("block").collect()
    return [(row[1], row[2]) for row in rows]
