"""Compares the accuracy of a new model with that of the current one, on the same held-out artists."""

from dataclasses import replace

import numpy as np
from pyspark.sql import Column, SparkSession, functions as F

from genremill.infra.errors import StorageRefused, UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.audits.audit import (
    NO_OTHER_TAGS,
    TRACKS_REMOVED,
    Audit,
    AuditInputs,
    NotApplicable,
    NotMeasured,
)
from genremill.jobs.contracts import Split
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.evaluation.held_out import Labels
from genremill.models.evaluation.metrics import Interval, paired_difference
from genremill.models.evaluation.split import SplitBy
from genremill.models.model_card import ModelCard, read_card

CORRECT = ("current_correct", "staged_correct")
BLOCKS = 2000
"""Artists are resampled in this many blocks, which bounds the rows that the driver collects."""


def audit(spark: SparkSession, inputs: AuditInputs, max_loss: float) -> tuple[Interval | None, Audit]:
    """The gain in any-label accuracy of the new model (None if unknown), and the audit of its loss."""
    audited = Audit("loss on held-out artists", None, max_loss, flag="max-loss")
    try:
        gain = difference(spark, inputs)
    except NotMeasured as err:
        return None, audited.without_value(err)
    low = gain.value if gain.low is None else gain.low
    current = TagsDetails.of(inputs.current).model_version if inputs.current else "no model"
    note = f"any-label accuracy {_points(gain.value)} than that of {current}; 95 % bound {_points(low)}"
    return gain, replace(audited, value=-low, note=note)


def _points(difference: float) -> str:
    return f"{100 * abs(difference):.2f} points {'lower' if difference < 0 else 'higher'}"


def difference(spark: SparkSession, inputs: AuditInputs) -> Interval:
    """Any-label accuracy of the staged tags minus that of the current tags, on tracks held out of both."""
    current, current_tracks = _comparable(inputs)
    held_out = (F.col("split") == Split.TEST.value) & (F.size("genres") > 0)
    correct = inputs.read(spark, inputs.tracks).where(held_out).select("track_id", "artist_id", "genres")
    if correct.isEmpty():
        if inputs.read(spark, current_tracks).where(held_out).isEmpty():
            raise NotApplicable("no held-out track has a label")
        raise NotMeasured("no held-out track has a label any more")
    cards = (_card(inputs.warehouse, current), inputs.card)
    for name, snapshot, card in zip(CORRECT, (current, inputs.staged), cards, strict=True):
        tags = inputs.read(spark, snapshot).where(F.size("top") > 0)
        predictions = tags.select("track_id", F.col("top")[0]["label"].alias("prediction"))
        predicted = correct.join(predictions, "track_id", "inner")
        correct = predicted.withColumn(name, _is_correct(card)).drop("prediction")
    before, now = (F.col(name).cast("int") for name in CORRECT)
    by_block = correct.groupBy(F.pmod(F.xxhash64("artist_id"), F.lit(BLOCKS)).alias("block"))
    blocks = by_block.agg(F.count("*"), F.sum(now - before)).orderBy("block").collect()
    if not blocks:
        raise NotMeasured("no held-out track with a label has predictions of both models")
    _, tracks_A, gained_A = np.array(blocks).T
    return paired_difference(tracks_A, gained_A)


def _comparable(inputs: AuditInputs) -> tuple[Snapshot, Snapshot]:
    """The current tags and their tracks; raises `NotMeasured` if nothing can be held out of both models."""
    split = TracksDetails.of(inputs.tracks).split
    if inputs.current is None:
        raise NotApplicable(NO_OTHER_TAGS)
    if not inputs.has_new_model:
        raise NotApplicable("the model is the same")
    if inputs.current_tracks is None:
        raise NotMeasured(TRACKS_REMOVED)
    if split != TracksDetails.of(inputs.current_tracks).split:
        raise NotMeasured("the tracks of the current tags have another split")
    if split.by is SplitBy.ROWS:
        raise NotApplicable("with --split rows, no track is held out")
    return inputs.current, inputs.current_tracks


def _card(warehouse: Warehouse, tags: Snapshot) -> ModelCard:
    """The card of the model of tags; raises `NotMeasured` if it cannot be read."""
    version, folder = model_registry.of_tags(warehouse, tags)
    try:
        return read_card(folder)
    except (UsageError, StorageRefused) as err:
        raise NotMeasured(f"the model {version} of the current tags cannot be read: {err}") from err


def _is_correct(card: ModelCard) -> Column:
    """Whether `prediction` is one of the labels of the track, under the label names of this model."""
    if Labels(card.labels) is Labels.GENRE:
        return F.array_contains("genres", F.col("prediction"))
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    flat = [F.lit(name) for genre, cluster in card.genre_map.items() for name in (genre, names[cluster])]
    clusters = F.transform("genres", lambda genre: F.create_map(*flat)[genre])
    return F.array_contains(clusters, F.col("prediction"))
