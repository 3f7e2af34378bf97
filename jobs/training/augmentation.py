"""Adds the windows of augmented audio to the training pairs."""

import functools
from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.jobs import command, snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.models.features import WINDOWS

OWN_WINDOWS = "own_windows"
"""Column of pairs with augmented windows: the number of windows of the original audio."""


def augmented(
    spark: SparkSession,
    work: command.Run,
    pairs: DataFrame,
    catalog: DataFrame,
    inputs_by_variant: Mapping[str, ModelInputs],
) -> DataFrame:
    """`pairs`, in which those of the train split have the track's augmented windows after its own.

    A track that has left the train split since its audio was augmented gets none.
    """
    of_train = pairs.where(F.col("split") == Split.TRAIN.value).select("track_id").distinct()
    tracks = catalog.select("track_id", "audio_uri").join(of_train, "track_id", "left_semi")
    by_variant = [
        inputs.with_inputs(spark, tracks)
        .where(F.col(WINDOWS).isNotNull())
        .select("track_id", F.struct(F.lit(variant).alias("variant"), WINDOWS).alias("added"))
        for variant, inputs in inputs_by_variant.items()
    ]
    by_track = functools.reduce(DataFrame.union, by_variant).groupBy("track_id")
    added = by_track.agg(F.sort_array(F.collect_list("added")).alias("added"))
    added = added.select("track_id", F.flatten(F.col("added")[WINDOWS]).alias("added"))
    joined = pairs.join(snapshots.checkpoint(work, added, "augmented"), "track_id", "left")
    gets_more = (
        (F.col("split") == Split.TRAIN.value) & F.col("added").isNotNull() & F.col(WINDOWS).isNotNull()
    )
    windows = F.when(gets_more, F.concat(WINDOWS, "added")).otherwise(F.col(WINDOWS))
    own = F.coalesce(F.size(WINDOWS), F.lit(1))
    return joined.withColumn(OWN_WINDOWS, own).withColumn(WINDOWS, windows).drop("added")
