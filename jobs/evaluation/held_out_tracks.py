"""The held-out tracks that a model version is measured on."""

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command, job_inputs, model_registry, snapshots
from genremill.jobs.catalog.recordings import folded
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import Split
from genremill.jobs.features import input_selection
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.training.pairs import Balance, drawn, labeled_tracks
from genremill.models.evaluation.held_out import Labels
from genremill.models.model_card import ModelCard

MAX_TRACKS = 200_000
"""Largest number of held-out tracks; more would hardly narrow the confidence intervals."""


def resolve(warehouse: Warehouse, version: str | None) -> PredictionInputs:
    """A model version, or the newest, with the tracks that it was trained on and its features."""
    model = model_registry.read_version(warehouse, version)
    run_id = model.card.snapshots.get("tracks", "")
    tracks = warehouse.finished("tracks", run_id) if run_id else None
    if tracks is None:
        raise UsageError(
            f"{model.version} was trained on run {run_id!r} of tracks, which {warehouse.uri} no longer has"
        )
    job_inputs.log_if_staged(warehouse, "tracks", tracks)
    features = input_selection.of_model(warehouse, tracks, model.card)
    return PredictionInputs(warehouse, tracks, features, model)


def sampled(spark: SparkSession, work: command.Run, inputs: PredictionInputs) -> DataFrame:
    """The held-out tracks of some artists, drawn by a stable hash and kept on disk until the run ends."""
    usable = inputs.features.usable_with_inputs(spark, work, inputs.read_tracks(spark))
    tracks = held_out(usable, _genre_map(spark, inputs.model.card), inputs)
    sample = tracks.orderBy(unit_hash("sample", 0, "artist"), "track_id").limit(MAX_TRACKS)
    return snapshots.checkpoint(work, sample, "held_out", inputs.model.version)


def held_out(tracks: DataFrame, genre_map: DataFrame | None, inputs: PredictionInputs) -> DataFrame:
    """Held-out tracks: track_id, artist_id, artist, the columns of the inputs, unseen and labels (classes).

    The artists of an `unseen` track have no track in the train split.
    """
    card, settings = inputs.model.card, inputs.model.card.training.settings
    balance = Balance(settings["per_class"], settings.get("exactly", False), settings["seed"])
    pairs = drawn(tracks, genre_map, inputs.tracks, balance)
    test = labeled_tracks(tracks, pairs, Split.TEST, card.classes, inputs.features.columns)
    in_train = F.col("class").isin(*card.classes) & (F.col("split") == Split.TRAIN.value)
    trained = pairs.where(in_train).select("track_id").distinct()
    names = tracks.select("track_id", F.explode("artists").alias("name"))
    credits = names.select("track_id", folded(F.col("name")).alias("artist"))
    known_artists = credits.join(trained, "track_id", "left_semi").select("artist").distinct()
    of_known = credits.join(test, "track_id", "left_semi").join(known_artists, "artist", "left_semi")
    seen = of_known.select("track_id").distinct().withColumn("seen", F.lit(True))
    unseen = F.col("seen").isNull().alias("unseen")
    joined = test.join(seen, "track_id", "left")
    return joined.select("track_id", "artist_id", "artist", *inputs.features.columns, unseen, "labels")


def _genre_map(spark: SparkSession, card: ModelCard) -> DataFrame | None:
    """The map from genres to the model's labels, from its card; None if the labels are genres."""
    if Labels(card.labels) is Labels.GENRE:
        return None
    names = {cluster.id: cluster.name for cluster in card.clusters.values()}
    rows = [(genre, names[cluster]) for genre, cluster in card.genre_map.items()]
    return spark.createDataFrame(rows, "genre string, cluster_name string")
