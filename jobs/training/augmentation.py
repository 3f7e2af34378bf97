"""Training pairs with the windows of augmented audio beside those of the audio as it is."""

import dataclasses
import functools
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import Split
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.models.features import WINDOWS
from genremill.udfs.dsp.variant import Variant

OWN_WINDOWS = "own_windows"
"""Column of pairs that have been joined by augmented windows: how many are of the audio as it is."""


def of_variants(
    warehouse: Warehouse, inputs: ModelInputs, variants: Sequence[Variant]
) -> dict[str, ModelInputs]:
    """The inputs in each variant: feature sets of augmented audio, made as the model's own are.

    A variant that the cache lacks of any set is an error.
    """
    if not variants:
        return {}
    if not inputs.fingerprints:
        raise UsageError(f"--augment: the inputs {'+'.join(inputs.names)} hold no features of audio")
    there = {one.fingerprint: one for one in feature_cache.filled_sets(warehouse)}
    cached = {
        name: feature_cache.variants(warehouse, there[fingerprint])
        for name, fingerprint in inputs.fingerprints.items()
    }
    for variant in variants:
        for name, found in cached.items():
            if variant.value not in found:
                raise UsageError(
                    f"--augment {variant.value}: {warehouse.uri} has no such features of the set {name!r}, "
                    f"there are: {', '.join(sorted(found)) or 'none'}; "
                    f"`genremill extract --features {name} --augment {variant.value}` makes them"
                )
    return {
        variant.value: dataclasses.replace(
            inputs,
            fingerprints={name: found[variant.value].fingerprint for name, found in cached.items()},
            artists=None,
        )
        for variant in variants
    }


def augmented(
    spark: SparkSession,
    work: command.Run,
    pairs: DataFrame,
    catalog: DataFrame,
    inputs_by_variant: dict[str, ModelInputs],
) -> DataFrame:
    """`pairs`, of which those that are in train now have their tracks' augmented windows after their own.

    A track that has left the training split since its audio was augmented gains none.
    """
    of_train = pairs.where(F.col("split") == Split.TRAIN.value).select("track_id").distinct()
    tracks = catalog.select("track_id", "audio_uri").join(of_train, "track_id", "left_semi")
    found = [
        inputs.of_all(spark, work.warehouse, tracks)
        .where(F.col(WINDOWS).isNotNull())
        .select("track_id", F.struct(F.lit(variant).alias("variant"), WINDOWS).alias("made"))
        for variant, inputs in inputs_by_variant.items()
    ]
    by_track = functools.reduce(DataFrame.union, found).groupBy("track_id")
    made = by_track.agg(F.sort_array(F.collect_list("made")).alias("made"))
    made = made.select("track_id", F.flatten(F.col("made")[WINDOWS]).alias("made"))
    joined = pairs.join(snapshots.checkpoint(work, made, "augmented"), "track_id", "left")
    gains = (F.col("split") == Split.TRAIN.value) & F.col("made").isNotNull() & F.col(WINDOWS).isNotNull()
    windows = F.when(gains, F.concat(WINDOWS, "made")).otherwise(F.col(WINDOWS))
    own = F.coalesce(F.size(WINDOWS), F.lit(1))
    return joined.withColumn(OWN_WINDOWS, own).withColumn(WINDOWS, windows).drop("made")
