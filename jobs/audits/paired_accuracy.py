"""Compares the accuracy of a new model with that of the current one, on the same held-out artists."""

import numpy as np
from pyspark.sql import Column, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.jobs.audits.audit import Audit, AuditInputs
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.evaluation.held_out import Labels
from genremill.models.evaluation.metrics import Interval, paired_difference
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard, read_card

BLOCKS = 2000
"""Artists are resampled in this many blocks, which bounds the rows that the driver collects."""


def audit(spark: SparkSession, inputs: AuditInputs, max_loss: float) -> tuple[Interval | None, Audit]:
    """The gain in any-label accuracy of the new model (None if unknown), and the audit of its loss."""
    name = "loss on held-out artists"
    try:
        gain = difference(spark, inputs)
    except UsageError as err:
        return None, Audit(name, None, max_loss, note=str(err))
    low = gain.value if gain.low is None else gain.low
    current = TagsDetails.of(inputs.current).model_version if inputs.current else "no model"
    note = f"any-label accuracy {_points(gain.value)} than that of {current}; 95 % bound {_points(low)}"
    return gain, Audit(name, -low, max_loss, note=note)


def _points(difference: float) -> str:
    return f"{100 * abs(difference):.2f} points {'lower' if difference < 0 else 'higher'}"


def difference(spark: SparkSession, inputs: AuditInputs) -> Interval:
    """Any-label accuracy of the staged tags minus that of the current tags, on tracks held out of both."""
    current, before, tracks = inputs.current, inputs.current_tracks, inputs.tracks
    split = TracksDetails.of(tracks).split
    if current is None or before is None or split != TracksDetails.of(before).split:
        raise UsageError("the tracks of the current tags were removed, or have another split")
    if split.by is SplitBy.ROWS:
        raise UsageError("with --split rows, no track is held out")
    held_out = (F.col("split") == Split.TEST.value) & (F.size("genres") > 0)
    correct = inputs.read(spark, tracks).where(held_out).select("track_id", "artist_id", "genres")
    for name, snapshot in (("current_correct", current), ("staged_correct", inputs.staged)):
        tags = inputs.read(spark, snapshot).where(F.size("top") > 0)
        predictions = tags.select("track_id", F.col("top")[0]["label"].alias("prediction"))
        is_correct = _is_correct(read_card(TagsDetails.of(snapshot).model))
        predicted = correct.join(predictions, "track_id", "inner")
        correct = predicted.withColumn(name, is_correct).drop("prediction")
    gained = F.col("staged_correct").cast("int") - F.col("current_correct").cast("int")
    by_block = correct.groupBy(F.pmod(F.xxhash64("artist_id"), F.lit(BLOCKS)).alias("block"))
    blocks = by_block.agg(F.count("*"), F.sum(gained)).orderBy("block").collect()
    if not blocks:
        raise UsageError("no held-out track has a label and predictions of both models")
    _, tracks_A, gained_A = np.array(blocks).T
    return paired_difference(tracks_A, gained_A)


def _is_correct(card: ModelCard) -> Column:
    """Whether `prediction` is one of the labels of the track, under the label names of this model."""
    if Labels(card.labels) is Labels.GENRE:
        return F.array_contains("genres", F.col("prediction"))
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    flat = [F.lit(name) for genre, cluster in card.genre_map.items() for name in (genre, names[cluster])]
    clusters = F.transform("genres", lambda genre: F.create_map(*flat)[genre])
    return F.array_contains(clusters, F.col("prediction"))
