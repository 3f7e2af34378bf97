"""Tags every track with a model version; the tags are staged until `publish` makes them current.

Reads `tracks`, a model version, and `features` if an input is audio. Writes `tags/run=<run_id>/`.

    spark-submit jobs/score.py --warehouse file:///data/warehouse
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, DataFrame, SparkSession, functions as F, types as T

from genremill.infra import locations, storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalUri
from genremill.infra.log import LOGGER
from genremill.infra.progress import progress
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command, job_inputs, model_registry, snapshots
from genremill.jobs.catalog.recordings import artist_key
from genremill.jobs.contracts import TAGS, quoted
from genremill.jobs.features import input_selection
from genremill.jobs.features.track_vectors import vectors_of
from genremill.jobs.job_inputs import PredictionInputs
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.snapshot_details import TagsDetails, TracksDetails
from genremill.models.features import TEXT, VECTORS
from genremill.models.model_card import read_card

NAMES = ("title", "artists", "album")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which model tags the tracks."""

    model_version: str | None = None
    """Model version as NAME/VERSION. [the newest version that no audit has refused]"""
    model: OptionalUri = None
    """Folder or URI of a model outside the warehouse, instead of --model-version."""
    limit: int | None = None
    """Score only this many tracks, to measure the speed; such tags cannot be published. [all]"""
    keep: Literal["names", "none"] = "names"
    """`names` copies title, artists and album to the tags, beside the columns of `ingest --columns.keep`."""


@dataclass(frozen=True)
class ScoreInputs(PredictionInputs):
    """The tracks, features and model of a scoring."""

    limit: int | None
    names: tuple[str, ...] = NAMES
    """The columns of names that the tags get."""
    current: Snapshot | None = None
    """The current tags if they are of the same model, which combines the tracks of an artist.

    It is not a part of `made_from`: otherwise every publication would be a reason to score again.
    """

    @property
    def made_from(self) -> dict[str, str]:
        """The record of these inputs."""
        own = {
            "tracks": self.tracks.run_id,
            "model": self.model.version,
            "sha256": self.model.card.sha256,
            "limit": str(self.limit),
            "keep": " ".join(self.names) or "none",
        }
        return own | self.features.made_from

    @property
    def details(self) -> TagsDetails:
        """What the record of the tags contains in addition to these inputs."""
        return TagsDetails(
            model_version=self.model.version,
            model=locations.relative(self.warehouse, self.model.folder),
            genre_map_version=self.model.card.snapshots.get("genre_map"),
            tracks_run=self.tracks.run_id,
            kept=(*self.names, *TracksDetails.of(self.tracks).kept),
            settled_by=self.current.run_id if self.current else None,
        )


def transform(tracks: DataFrame, inputs: ScoreInputs) -> DataFrame:
    """Tags of `tracks`, which have the columns of the model's inputs. Kept columns follow those of `TAGS`."""
    from genremill.udfs.tagging import make_tag, make_tag_by_artist  # here: torch takes seconds

    details, model = inputs.details, inputs.model
    constants = {key: getattr(details, key) for key in ("model_version", "genre_map_version", "tracks_run")}
    # `mapInArrow` takes a dot in the name of a column for a part of a struct, so the names are numbers.
    numbered = {name: f"kept_{number}" for number, name in enumerate(details.kept)}
    kept = [T.StructField(number, tracks.schema[name].dataType) for name, number in numbered.items()]
    schema = T.StructType([*TAGS.schema.fields, *kept])
    carried = [F.col(quoted(name)).alias(number) for name, number in numbered.items()]
    if model.card.artist_pooling is None:
        tag = make_tag(model.folder, inputs.features.positions, constants, schema.names)
        tags = tracks.select("track_id", *inputs.features.columns, *carried).mapInArrow(tag, schema)
    else:
        tag = make_tag_by_artist(model.folder, constants, schema.names)
        tags = _by_artist(_predicted(tracks, inputs, carried)).mapInArrow(tag, schema)
    return tags.select(*TAGS.schema.names, *(F.col(number).alias(name) for name, number in numbered.items()))


def _predicted(tracks: DataFrame, inputs: ScoreInputs, carried: Sequence[Column]) -> DataFrame:
    """The model's predictions for each track alone, with the columns that `make_tag_by_artist` reads."""
    from genremill.jobs.training.predictions import predicted
    from genremill.udfs.tagging import ARTIST, CURRENT

    rows = tracks.select("track_id", artist_key().alias(ARTIST), *inputs.features.columns, *carried)
    if inputs.current is None:
        rows = rows.withColumn(CURRENT, F.lit(None).cast("string"))
    else:
        labels = snapshots.read(tracks.sparkSession, inputs.warehouse, inputs.current)
        rows = rows.join(labels.select("track_id", F.col("label").alias(CURRENT)), "track_id", "left")
    return predicted(rows, inputs, [name for name in rows.columns if name not in inputs.features.columns])


def _by_artist(predicted: DataFrame) -> DataFrame:
    """The rows of each artist in one partition, in order."""
    from genremill.udfs.tagging import ARTIST

    return predicted.repartition(ARTIST).sortWithinPartitions(ARTIST, "track_id")


def check(cfg: Config) -> None:
    """Raises `UsageError` on settings that are wrong for every warehouse."""
    if cfg.model is not None and cfg.model_version is not None:
        raise UsageError("--model and --model-version both name a model; expected only one of them")
    if cfg.limit is not None and cfg.limit < 1:
        raise UsageError(f"--limit {cfg.limit}: expected 1 or more")


def model_of(warehouse: Warehouse, cfg: Config) -> ModelVersion:
    """The model that the flags name, or the newest one of the warehouse."""
    if cfg.model is None:
        return model_registry.read_version(warehouse, cfg.model_version)
    folder = storage.absolute_uri(cfg.model)
    card = read_card(folder)
    return ModelVersion(f"{card.model}/{folder.rpartition('/')[2]}", folder, card)


def resolve(warehouse: Warehouse, cfg: Config, model: ModelVersion | None = None) -> ScoreInputs:
    """The inputs of a scoring, by default with the model that the flags name or the newest one.

    Raises on every error that is visible without Spark.
    """
    check(cfg)
    model, tracks = model or model_of(warehouse, cfg), job_inputs.newest_tracks(warehouse)
    features = input_selection.of_model(warehouse, tracks, model.card)
    current = _current_tags(warehouse, model) if model.card.artist_pooling else None
    names = NAMES if cfg.keep == "names" else ()
    return ScoreInputs(warehouse, tracks, features, model, cfg.limit, names, current)


def _current_tags(warehouse: Warehouse, model: ModelVersion) -> Snapshot | None:
    """The current tags if they are of this model."""
    tags = warehouse.current("tags")
    return tags.snapshot if tags and tags.snapshot.inputs.get("sha256") == model.card.sha256 else None


def run(spark: SparkSession, work: command.Run, inputs: ScoreInputs) -> command.Outcome:
    """Scores all tracks and stages their tags."""
    from genremill.models import artifact

    model, snapshot = inputs.model, inputs.tracks
    artifact.load(model.folder)  # raises on damaged weights before the first task
    tracks = inputs.read_tracks(spark)
    tracks = tracks.limit(inputs.limit) if inputs.limit else tracks
    tags = transform(inputs.features.with_inputs(spark, tracks), inputs)
    summary: dict[str, object] = {"model_version": model.version}
    if work.dry_run:
        return command.Outcome({"tracks": snapshot.rows} | summary, "dry run: nothing scored")
    LOGGER.info("scoring %d tracks with %s", snapshot.rows, model.version)
    details, texts = TracksDetails.of(snapshot), model.card.tokens.keys() - {TEXT}
    gone = {*model_registry.table_features(model.card)} - {*details.feature_names} | texts - {*details.texts}
    there = {each.fingerprint for each in vectors_of(work.warehouse, snapshot)}
    needed = {name: of for name, of in model.card.fingerprints.items() if name.startswith(VECTORS)}
    gone |= {name for name, fingerprint in needed.items() if fingerprint not in there}
    if gone:
        names = ", ".join(sorted(gone))
        LOGGER.warning("the tracks do not have these inputs of the model, so they are missing: %s", names)
    expected = min(snapshot.rows, inputs.limit or snapshot.rows)
    with progress(spark, "score", snapshot.rows):
        staged = snapshots.write(work, TAGS, tags, inputs.made_from, inputs.details, expected)
    summary |= {"staged": work.run_id, "rows": staged.rows, "path": work.warehouse.path(staged.path)}
    return command.Outcome(summary, f"tags: {staged.rows:,} rows staged in run {work.run_id}")


main = command.job("score", __doc__, Config, resolve, command.with_spark("score", run))

if __name__ == "__main__":
    raise SystemExit(main())
