"""Trains a model on the labelled tracks and writes a model version.

Reads: `tracks`, `genre_map` where there is one. Writes: `models/<name>/<version>/`.

    spark-submit jobs/train.py --warehouse file:///data/warehouse --workers 2
"""

import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import GenremillError, StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.session import is_local, spark_session
from genremill.infra.version import code_version, git_revision
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.splits import unit_hash
from genremill.jobs.training_pairs import TableInputs, balanced, labelled, pairs_of, rule_of
from genremill.models import artifact, checkpoints, shards, training, zoo
from genremill.models.artifact import Cluster, ModelCard
from genremill.models.held_out import Labels
from genremill.models.recipe import Recipe, Schedule
from genremill.models.table_encoder import TableEncoder
from genremill.models.weights import write_weights

ROWS_A_GROUP = 16_384
"""Rows of a row group at most."""
GROUPS_A_WORKER = 4
"""Row groups of a worker at least; all workers have as many, so that their shares are equal."""
ROWS_A_FILE = 4_000_000
FIT_ROWS = 1_000_000
"""Train rows that the encoder is fitted on at most; the shards lie in hash order, so these are a sample."""
THREADS = 1
"""Threads of a rank: networks this small gain little from two, and lose much where cores are shared."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is trained, on which labels, and how."""

    model: str = "periodic_mlp"
    """Model of the zoo."""
    labels: Labels = Labels.GENRE
    """Classes: the genres themselves, or the clusters of the current genre map."""
    inputs: str = "table"
    """Inputs, joined by +."""
    use_popularity: bool = False
    """Take popularity as an input, as the reports do; it is an artefact of the day the table was gathered."""
    per_class: int | None = None
    """This many pairs of each class, drawn over all splits [no balancing]."""
    workers: int = 1
    """Processes that train together."""
    seed: int = 0
    """Fixes initial weights, order and dropout."""
    resume: bool = True
    """Go on from the checkpoint of an interrupted training of the same configuration, data and code."""
    epochs: int | None = None
    """Passes over the training pairs [the model's recipe]."""
    batch: int | None = None
    """Pairs a step, over all workers [the model's recipe]."""
    learning_rate: float | None = None
    """Greatest learning rate [the model's recipe]."""
    schedule: Schedule | None = None
    """How the learning rate changes [the model's recipe]."""
    patience: int | None = None
    """Stop after so many epochs without a better validation loss [the model's recipe]."""


@dataclass(frozen=True)
class _Data:
    """Shards on disk, and what they hold."""

    classes: tuple[str, ...]
    inputs: TableInputs
    train: str
    validation: str | None
    rows: dict[str, int]
    digests: tuple[str, ...]


def transform(tracks: DataFrame, genre_map: DataFrame | None, cfg: Config, snapshot: Snapshot) -> DataFrame:
    """The labelled, balanced pairs of a tracks table: track_id, genre, class, split, table_features."""
    pairs = labelled(pairs_of(tracks, rule_of(snapshot)), genre_map)
    return balanced(pairs, cfg.per_class, cfg.seed).select(
        "track_id", "genre", "class", "split", "table_features"
    )


def inputs(warehouse: Warehouse, cfg: Config) -> dict[str, str]:
    """What the result depends on."""
    map_run = warehouse.current("genre_map")
    return {
        "tracks": warehouse.require("tracks", "ingest --tracks …").run_id,
        "genre_map": map_run.snapshot.run_id if map_run else "",
        "settings": json.dumps(dataclasses.asdict(cfg), sort_keys=True),
    }


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Writes shards, trains over them, and seals the best weights as a model version."""
    _check(cfg)
    entry = zoo.entry(cfg.model)
    made_from = inputs(work.warehouse, cfg)
    tracks = work.warehouse.require("tracks", "ingest --tracks …")
    current_map = work.warehouse.current("genre_map")
    if cfg.labels is Labels.CLUSTER and current_map is None:
        raise UsageError("--labels cluster needs a genre map: run `genremill cluster` first")
    genre_map = spark.read.parquet(work.warehouse.path(current_map.snapshot.path)) if current_map else None
    pairs = transform(
        spark.read.parquet(work.warehouse.path(tracks.path)),
        genre_map if cfg.labels is Labels.CLUSTER else None,
        cfg,
        tracks,
    )
    data = _write_shards(spark, work, pairs, TableInputs.of(tracks, cfg.use_popularity), cfg.workers)
    recipe = _recipe(entry.recipe(data.rows[Split.TRAIN]), cfg)
    encoder = TableEncoder.fit(_sample(data), data.inputs.features, entry.scaling)
    clusters, mapping = _clusters(genre_map, cfg.labels)
    card = ModelCard(
        model=cfg.model,
        classes=data.classes,
        features=data.inputs.features,
        size=entry.size(data.rows[Split.TRAIN]),
        categories=len(encoder.category_value_C),
        labels=cfg.labels.value,
        use_popularity=cfg.use_popularity,
        clusters=clusters,
        genre_map=mapping,
        snapshots={name: made_from[name] for name in ("tracks", "genre_map") if made_from[name]},
    )
    plan = _plan(spark, work, cfg, card, recipe, data, encoder)
    LOGGER.info(
        "%s on %d train pairs of %d classes: %d epochs of batch %d, %d worker(s)",
        *(cfg.model, data.rows[Split.TRAIN], len(data.classes), recipe.epochs, recipe.batch, cfg.workers),
    )
    if work.dry_run:
        return command.Outcome({"rows": data.rows}, "dry run: nothing trained")
    history = _train(spark, plan)
    return _seal(work, plan, history, data, made_from, cfg)


def _check(cfg: Config) -> None:
    if cfg.workers < 1:
        raise UsageError(f"--workers {cfg.workers}: expected 1 or more")
    if cfg.inputs != "table":
        raise UsageError(f"--inputs {cfg.inputs}: expected table, the one input there is")
    for flag in ("epochs", "batch", "per_class", "patience"):
        value = getattr(cfg, flag)
        if value is not None and value < 1:
            raise UsageError(f"--{flag.replace('_', '-')} {value}: expected 1 or more")


def _recipe(recipe: Recipe, cfg: Config) -> Recipe:
    flags = ("epochs", "batch", "learning_rate", "schedule", "patience")
    return dataclasses.replace(recipe, **{name: v for name in flags if (v := getattr(cfg, name)) is not None})


def _write_shards(
    spark: SparkSession, work: command.Run, pairs: DataFrame, table: TableInputs, workers: int
) -> _Data:
    """Train and validation pairs as Parquet with equal row groups, in an order drawn by hash."""
    counts = {
        (row["split"], row["class"]): row["count"]
        for row in pairs.groupBy("split", "class").count().collect()
    }
    classes = tuple(sorted({name for split, name in counts if split == Split.TRAIN}))
    if len(classes) < 2:
        raise UsageError(
            f"training needs 2 classes or more; the train split has {len(classes)}: {list(classes)}"
        )
    label = spark.createDataFrame(list(enumerate(classes)), "label long, class string")
    examples = pairs.join(F.broadcast(label), "class", "inner").select(
        table.column().alias("table"),
        "label",
        "split",
        unit_hash(0, "track_id", "genre").alias("order"),
        F.xxhash64("track_id", "genre", "label", "table_features").alias("row_hash"),
    )
    rows = {
        part.value: sum(n for (split, name), n in counts.items() if split == part and name in classes)
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }
    folders = {
        part: work.warehouse.tmp(work.run_id, "shards", part) for part in (Split.TRAIN, Split.VALIDATION)
    }
    digests = tuple(
        _write_part(examples.where(F.col("split") == part.value), folder, rows[part], workers)
        for part, folder in folders.items()
        if rows[part]
    )
    validation = folders[Split.VALIDATION] if rows[Split.VALIDATION] else None
    return _Data(classes, table, folders[Split.TRAIN], validation, rows, digests)


def _write_part(examples: DataFrame, folder: str, rows: int, workers: int) -> str:
    """Writes one split's shards and their manifest; gives a digest of their rows."""
    groups = workers * max(-(-rows // (workers * ROWS_A_GROUP)), GROUPS_A_WORKER)
    group = -(-rows // groups)
    files = -(-rows // ROWS_A_FILE)
    ordered = examples.repartitionByRange(files, "order").sortWithinPartitions("order", "row_hash")
    ordered.select("table", "label").write.option("parquet.block.row.count.limit", group).parquet(folder)
    row = examples.agg(F.count("*"), F.sum(F.col("row_hash") % (1 << 31))).first()
    digest = f"{row[0]}-{row[1]}" if row else "empty"
    shards.write_manifest(folder, shards.manifest_of(folder, digest))
    return digest


def _sample(data: _Data) -> npt.NDArray[np.float32]:
    """Raw features of the first train rows, shape (rows, features)."""
    import pyarrow.dataset as ds

    table = ds.dataset(str(storage.local_path(data.train)), format="parquet").head(
        FIT_ROWS, columns=["table"]
    )
    values = table.column("table").combine_chunks()
    flat: npt.NDArray[np.float32] = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, len(data.inputs.features))


def _clusters(genre_map: DataFrame | None, labels: Labels) -> tuple[dict[str, Cluster], dict[str, int]]:
    """Cluster by class, and cluster id by genre."""
    if genre_map is None:
        return {}, {}
    rows = genre_map.collect()
    mapping = {row["genre"]: row["cluster_id"] for row in rows}
    key = "genre" if labels is Labels.GENRE else "cluster_name"
    return {row[key]: Cluster(row["cluster_id"], row["cluster_name"]) for row in rows}, mapping


def _plan(
    spark: SparkSession,
    work: command.Run,
    cfg: Config,
    card: ModelCard,
    recipe: Recipe,
    data: _Data,
    encoder: TableEncoder,
) -> training.Plan:
    bare = dataclasses.replace(card, snapshots={}, clusters={}, genre_map={})
    digest = training.digest(bare, recipe, cfg.seed, cfg.workers, THREADS, list(data.digests))
    initial = work.warehouse.tmp(work.run_id, "initial")
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    return training.Plan(
        card=card,
        recipe=recipe,
        seed=cfg.seed,
        workers=cfg.workers,
        threads=THREADS,
        train=data.train,
        validation=data.validation,
        initial=initial,
        initial_sha256=write_weights(f"{initial}/encoder.safetensors", tensors),
        checkpoints=work.warehouse.path("_checkpoints", digest),
        run_id=work.run_id,
        resume=cfg.resume,
    )


def _train(spark: SparkSession, plan: training.Plan) -> list[dict[str, Any]]:
    """Runs the ranks to their end, and turns what one of them raised into this process's error."""
    failed = f"{plan.checkpoints}/failed.json"
    storage.remove_object(failed)
    if not plan.resume:
        storage.remove(plan.checkpoints)
    logging.getLogger("TorchDistributor").setLevel(logging.ERROR)
    gpus = int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or "0")
    distributor = TorchDistributor(plan.workers, local_mode=is_local(spark), use_gpu=gpus > 0)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # ranks print there, results go to stdout
            history = distributor.run(training.train_rank, plan)
    except RuntimeError as err:
        if storage.exists(failed):
            record = json.loads(storage.read_bytes(failed))
            kind = UsageError if record["error"] == training.TrainingDiverged.__name__ else GenremillError
            raise kind(record["message"]) from err
        raise StorageError(
            f"a training process died; the same command goes on after the last epoch: {err}"
        ) from err
    return history or []


def _seal(
    work: command.Run,
    plan: training.Plan,
    history: list[dict[str, Any]],
    data: _Data,
    made_from: dict[str, str],
    cfg: Config,
) -> command.Outcome:
    last = checkpoints.newest(plan.checkpoints)
    if last is None:
        raise StorageError(f"the training left no whole checkpoint in {plan.checkpoints}")
    best = training.part(last.tensors, "best")
    best_epoch = int(last.record["best_epoch"])
    card = dataclasses.replace(
        plan.card,
        training={
            "recipe": dataclasses.asdict(plan.recipe),
            "settings": dataclasses.asdict(cfg),
            "made_from": made_from,
            "seed": cfg.seed,
            "rows": data.rows,
            "best_epoch": best_epoch,
            "history": history,
        },
        metrics={"validation": history[best_epoch - 1]},
        code_version=code_version(),
        git_revision=git_revision(),
        created_at=storage.utc_now(),
    )
    folder = work.warehouse.path("models", cfg.model, work.run_id)
    artifact.save(folder, card, best)
    storage.remove(plan.checkpoints)
    version = f"{cfg.model}/{work.run_id}"
    validation = history[best_epoch - 1]["validation_accuracy"]
    LOGGER.info("model %s: best epoch %d, validation accuracy %s", version, best_epoch, validation)
    summary = {"model_version": version, "path": folder, "rows": data.rows, "best_epoch": best_epoch}
    return command.Outcome(summary, f"model {version}: {len(data.classes)} classes, best epoch {best_epoch}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def job(work: command.Run, cfg: Config) -> command.Outcome:
        with spark_session("genremill train") as spark:
            return run(spark, work, cfg)

    return command.main("train", __doc__, Config, job, argv)


if __name__ == "__main__":
    sys.exit(main())
