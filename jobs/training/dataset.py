"""The training set on disk: Parquet shards with equal row groups, and one row per pair and window."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession, Window, functions as F

from genremill.infra.errors import UsageError
from genremill.jobs import command
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.training.augmentation import OWN_WINDOWS
from genremill.jobs.training.shards import write_part
from genremill.jobs.training.vocabulary import known_tokens, numbered
from genremill.models.encoders.text_tokens import Known
from genremill.models.features import FOLD, FOLDS, TEXT, WEIGHT, WINDOWS
from genremill.models.training import manifest

ROWS_A_RANK = 2
"""Smallest number of train rows per rank: batch normalization cannot learn from a single row."""
RARE = 0.001
"""Shares of a class's tracks below this value are left out of `ModelCard.together`."""
AUGMENTED = "augmented"
"""Column of the shards: whether a row comes from augmented audio."""


@dataclass(frozen=True)
class TrainingSet:
    """Shards on disk, and what they contain."""

    classes: tuple[str, ...]
    inputs: ModelInputs
    train: str
    validation: str | None
    rows: dict[str, int]
    """(track, genre) pairs by split."""
    class_rows: dict[str, int]
    """Train pairs by class."""
    train_rows: int
    """Number of rows to train on: a pair has one for each window."""
    digests: tuple[str, ...]
    known: Known | None
    """The tokens that the model knows; None if the model does not use names."""
    together: dict[str, dict[str, float]]
    """See `ModelCard.together`."""


def write_training_set(
    spark: SparkSession, work: command.Run, pairs: DataFrame, inputs: ModelInputs, workers: int
) -> TrainingSet:
    """Train and validation pairs as Parquet with equal row groups, in an order drawn by hash."""
    counts = _counted(pairs, inputs, workers)
    rows, windows_of = counts.pairs_of, counts.windows_of
    label = spark.createDataFrame(list(enumerate(counts.classes)), "label long, class string")
    with_label = pairs.join(F.broadcast(label), "class", "inner")
    folders = {
        part: work.warehouse.tmp(work.run_id, "shards", part) for part in (Split.TRAIN, Split.VALIDATION)
    }
    # Each worker validates a part. With fewer rows than workers, there is no validation.
    parts = [Split.TRAIN, Split.VALIDATION] if windows_of[Split.VALIDATION] >= workers else [Split.TRAIN]
    row_bytes = manifest.BYTES_A_VALUE * inputs.values
    # Filtered by split first: Spark pushes no filter through the Python function that makes tokens of names.
    pairs_of = {part: with_label.where(F.col("split") == part.value) for part in parts}
    together = _together(pairs_of[Split.TRAIN])
    known = None
    if TEXT in inputs.names:
        known = known_tokens(pairs_of[Split.TRAIN], rows[Split.TRAIN], len(counts.classes))
        pairs_of[Split.TRAIN] = _folded(pairs_of[Split.TRAIN])
    if Split.VALIDATION in parts:
        pairs_of[Split.VALIDATION] = _weighted(pairs_of[Split.VALIDATION])
    digests = tuple(
        write_part(_examples(own, inputs, known), folders[part], windows_of[part], workers, row_bytes)
        for part, own in pairs_of.items()
    )
    return TrainingSet(
        classes=counts.classes,
        inputs=inputs,
        train=folders[Split.TRAIN],
        validation=folders[Split.VALIDATION] if Split.VALIDATION in parts else None,
        rows=rows,
        class_rows=counts.class_rows,
        train_rows=windows_of[Split.TRAIN],
        digests=digests,
        known=known,
        together=together,
    )


@dataclass(frozen=True)
class _Counts:
    """The classes, and by split their pairs and the rows that the network gets."""

    classes: tuple[str, ...]
    pairs_of: dict[str, int]
    windows_of: dict[str, int]
    class_rows: dict[str, int]
    """Train pairs by class."""


def _counted(pairs: DataFrame, inputs: ModelInputs, workers: int) -> _Counts:
    """What there is to train on; too few classes, or rows for as many workers, are an error."""
    windows = F.coalesce(F.size(WINDOWS), F.lit(1)) if inputs.has_windows else F.lit(1)
    by_class = pairs.groupBy("split", "class").agg(F.count("*").alias("pairs"), F.sum(windows).alias("rows"))
    counts = {(row["split"], row["class"]): (row["pairs"], row["rows"]) for row in by_class.collect()}
    classes = tuple(sorted({name for split, name in counts if split == Split.TRAIN}))
    if len(classes) < 2:
        raise UsageError(
            f"training needs 2 classes or more; the train split has {len(classes)}: {list(classes)} "
            f"(tracks that have {' and '.join(inputs.names)})"
        )
    pairs_of, windows_of = (
        {
            part.value: sum(
                n[column] for (split, name), n in counts.items() if split == part and name in classes
            )
            for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
        }
        for column in (0, 1)
    )
    if windows_of[Split.TRAIN] < ROWS_A_RANK * workers:
        raise UsageError(
            f"--workers {workers}: there are {windows_of[Split.TRAIN]} rows to train on; expected "
            f"{ROWS_A_RANK * workers} or more"
        )
    class_rows = {name: counts[Split.TRAIN.value, name][0] for name in classes}
    return _Counts(classes, pairs_of, windows_of, class_rows)


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
    """Held-out pairs with their weights: the pairs of every artist have the same weight in total."""
    of_artist = F.count("*").over(Window.partitionBy("artist_id"))
    return pairs.withColumn(WEIGHT, F.array((1 / of_artist).cast("float")))


def _folded(pairs: DataFrame) -> DataFrame:
    """Train pairs with the fold of their artist: the statistics of names come from the other folds."""
    fold = F.pmod(F.xxhash64("artist_id", F.lit(FOLD)), F.lit(FOLDS))
    return pairs.withColumn(FOLD, F.array(fold.cast("float")))


def _examples(pairs: DataFrame, inputs: ModelInputs, known: Known | None) -> DataFrame:
    """The rows of the shards: a column for each input, the label, the order and a hash of the row."""
    key = ["track_id", "genre", *(["window"] if inputs.has_windows else [])]
    if known is not None:
        pairs = numbered(pairs, known)
    beside = [name for name in (WEIGHT, FOLD) if name in pairs.columns]
    marks = [(F.col("window") >= F.col(OWN_WINDOWS)).alias(AUGMENTED)] if OWN_WINDOWS in pairs.columns else []
    return inputs.rows(pairs).select(
        *inputs.names,
        *beside,
        *marks,
        "label",
        unit_hash("order", 0, *key).alias("order"),
        F.xxhash64(*key, "label", *inputs.names, *beside).alias("row_hash"),
    )
