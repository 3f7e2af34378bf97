"""The training set on disk: Parquet shards with equal row groups, and one row per pair and window."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, Window, functions as F

from genremill.infra.errors import UsageError
from genremill.jobs import command, snapshots
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.training.shards import write_part
from genremill.jobs.training.vocabulary import known_tokens, numbered
from genremill.models.encoders.text_tokens import Known
from genremill.models.features import FOLD, FOLDS, WEIGHT, WINDOWS
from genremill.models.training import manifest

PARTS = (Split.TRAIN, Split.VALIDATION, Split.TEST)
ROWS_A_RANK = 2
"""Smallest number of train rows per rank: batch normalization cannot learn from a single row."""
RARE = 0.001
"""Shares of a class's tracks below this value are left out of `ModelCard.together`."""
AUGMENTED = "augmented"
"""Column of the shards: whether a row comes from augmented audio."""
OWN_WINDOWS = "own_windows"
"""Column of pairs with augmented windows: the number of windows of the original audio."""

Variants = Mapping[str, ModelInputs]
"""The features of augmented audio, by variant."""


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """The classes, and the numbers of pairs and rows."""

    classes: tuple[str, ...]
    rows: dict[str, int]
    """(track, genre) pairs by split."""
    windows: dict[str, int]
    """Rows that the network gets, by split: a pair has one for each window."""
    class_rows: dict[str, int]
    """Train pairs by class."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet(TrainingCounts):
    """The folders `train` and `validation` with shards, digests of their rows, and what they contain."""

    inputs: ModelInputs
    train: str
    validation: str | None
    digests: tuple[str, ...]
    known: Mapping[str, Known]
    """The tokens that the model knows, by input that is text."""
    together: dict[str, dict[str, float]]
    """See `ModelCard.together`."""


def augmented(
    spark: SparkSession, work: command.Run, pairs: DataFrame, catalog: DataFrame, variants: Variants
) -> DataFrame:
    """`pairs`; in the train split, the augmented windows of a track follow its original windows.

    A track that has left the train split since its audio was augmented gets none.
    """
    in_train = F.col("split") == Split.TRAIN.value
    of_train = pairs.where(in_train).select("track_id").distinct()
    tracks = catalog.select("track_id", "audio_uri").join(of_train, "track_id", "left_semi")
    by_variant = [
        inputs.with_inputs(spark, tracks)
        .where(F.col(WINDOWS).isNotNull())
        .select("track_id", F.struct(F.lit(variant).alias("variant"), WINDOWS).alias("added"))
        for variant, inputs in variants.items()
    ]
    by_track = functools.reduce(DataFrame.union, by_variant).groupBy("track_id")
    added = by_track.agg(F.sort_array(F.collect_list("added")).alias("added"))
    added = added.select("track_id", F.flatten(F.col("added")[WINDOWS]).alias("added"))
    joined = pairs.join(snapshots.checkpoint(work, added, "augmented"), "track_id", "left")
    gets_more = in_train & F.col("added").isNotNull() & F.col(WINDOWS).isNotNull()
    windows = F.when(gets_more, F.concat(WINDOWS, "added")).otherwise(F.col(WINDOWS))
    own = F.coalesce(F.size(WINDOWS), F.lit(1))
    return joined.withColumn(OWN_WINDOWS, own).withColumn(WINDOWS, windows).drop("added")


def write_training_set(
    spark: SparkSession, work: command.Run, pairs: DataFrame, inputs: ModelInputs, workers: int
) -> TrainingSet:
    """Train and validation pairs as Parquet with equal row groups, in an order drawn by hash."""
    counts = _counted(pairs, inputs, workers)
    label = spark.createDataFrame(list(enumerate(counts.classes)), "label long, class string")
    with_label = pairs.join(F.broadcast(label), "class", "inner")
    # Each worker validates a part. With fewer rows than workers, there is no validation.
    validates = counts.windows[Split.VALIDATION] >= workers
    parts = (Split.TRAIN, Split.VALIDATION) if validates else (Split.TRAIN,)
    # Filtered by split first: Spark pushes no filter through the Python function that makes tokens of texts.
    pairs_of = {part: with_label.where(F.col("split") == part.value) for part in parts}
    together = _together(pairs_of[Split.TRAIN])
    known = known_tokens(pairs_of[Split.TRAIN], inputs.texts, counts.rows[Split.TRAIN], len(counts.classes))
    if known:
        pairs_of[Split.TRAIN] = _weighted(_folded(pairs_of[Split.TRAIN]))
    if validates:
        pairs_of[Split.VALIDATION] = _weighted(pairs_of[Split.VALIDATION])
    row_bytes = manifest.BYTES_A_VALUE * inputs.values
    folders = {part: work.warehouse.tmp(work.run_id, "shards", part) for part in parts}
    digests = tuple(
        write_part(_examples(own, inputs, known), folders[part], counts.windows[part], workers, row_bytes)
        for part, own in pairs_of.items()
    )
    return TrainingSet(
        **vars(counts),
        inputs=inputs,
        train=folders[Split.TRAIN],
        validation=folders.get(Split.VALIDATION),
        digests=digests,
        known=known,
        together=together,
    )


def _counted(pairs: DataFrame, inputs: ModelInputs, workers: int) -> TrainingCounts:
    """Counts pairs and rows; raises `UsageError` for too few classes, or too few rows for the workers."""
    windows = F.coalesce(F.size(WINDOWS), F.lit(1)) if inputs.sets else F.lit(1)
    by_class = pairs.groupBy("split", "class").agg(F.count("*").alias("pairs"), F.sum(windows).alias("rows"))
    counts = {(row["split"], row["class"]): (row["pairs"], row["rows"]) for row in by_class.collect()}
    classes = tuple(sorted({name for split, name in counts if split == Split.TRAIN}))
    if len(classes) < 2:
        raise UsageError(
            f"training needs 2 classes or more; the train split has {len(classes)}: {list(classes)} "
            f"(tracks that have {' and '.join(inputs.names)})"
        )
    of_known = [(split, numbers) for (split, name), numbers in counts.items() if name in classes]
    pairs_of, rows_of = (
        {part.value: sum(numbers[column] for split, numbers in of_known if split == part) for part in PARTS}
        for column in (0, 1)
    )
    needed, found = ROWS_A_RANK * workers, rows_of[Split.TRAIN]
    if found < needed:
        raise UsageError(
            f"--workers {workers}: there are {found} rows to train on; expected {needed} or more"
        )
    class_rows = {name: counts[Split.TRAIN.value, name][0] for name in classes}
    return TrainingCounts(classes=classes, rows=pairs_of, windows=rows_of, class_rows=class_rows)


def _together(pairs: DataFrame) -> dict[str, dict[str, float]]:
    """For each class, the shares of its tracks that have other classes too."""
    labels = pairs.groupBy("track_id").agg(F.collect_set("class").alias("others"))
    by_class = labels.select(F.explode("others").alias("class"), "others")
    both = by_class.select("class", F.explode("others").alias("other")).groupBy("class", "other").count()
    tracks = {(row["class"], row["other"]): row["count"] for row in both.collect()}
    together: dict[str, dict[str, float]] = {}
    for (name, other), count in sorted(tracks.items()):
        share = round(count / tracks[name, name], 4)
        if name != other and share >= RARE:
            together.setdefault(name, {})[other] = share
    return together


def _weighted(pairs: DataFrame) -> DataFrame:
    """Pairs with their weights: the pairs of every artist have the same weight in total."""
    of_artist = F.count("*").over(Window.partitionBy("artist_id"))
    return pairs.withColumn(WEIGHT, F.array((1 / of_artist).cast("float")))


def _folded(pairs: DataFrame) -> DataFrame:
    """Train pairs with the fold of their artist: the counts of tokens come from the other folds."""
    fold = F.pmod(F.xxhash64("artist_id", F.lit(FOLD)), F.lit(FOLDS))
    return pairs.withColumn(FOLD, F.array(fold.cast("float")))


def _examples(pairs: DataFrame, inputs: ModelInputs, known: Mapping[str, Known]) -> DataFrame:
    """The rows of the shards: a column for each input, the label, the order and a hash of the row."""
    key = ["track_id", "genre", *(["window"] if inputs.sets else [])]
    pairs = numbered(pairs, known) if known else pairs
    beside = [name for name in (WEIGHT, FOLD) if name in pairs.columns]
    marks = [(F.col("window") >= F.col(OWN_WINDOWS)).alias(AUGMENTED)] if OWN_WINDOWS in pairs.columns else []
    order = unit_hash("order", 0, *key).alias("order")
    row_hash = F.xxhash64(*key, "label", *inputs.names, *beside).alias("row_hash")
    return inputs.rows(pairs).select(*inputs.names, *beside, *marks, "label", order, row_hash)
