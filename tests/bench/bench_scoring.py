"""Rows per second of each model: of its network alone, of the UDF, and of the whole `score` job.

The job is measured twice: each track alone, and the predictions for the tracks of an artist combined. Its
time is split into read, UDF and write. The tracks are those of the demo catalog or of `--tracks`, replicated
under new ids and new artists.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import pyarrow as pa
import torch
import tyro
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.session import spark_session
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli, demo, model_registry, score
from genremill.jobs.contracts import TAGS
from genremill.jobs.features import input_selection
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.model_registry import ModelVersion
from genremill.models import artifact
from genremill.models.artifact import Model
from genremill.models.encoders.text_tokens import FIELDS
from genremill.models.evaluation.artists import START
from genremill.udfs.model_rows import model_rows
from genremill.udfs.tagging import make_tag


@dataclass(frozen=True)
class Options:
    """The tracks and the models."""

    rows: int = 1_000_000
    """Rows for the whole job; the UDF alone gets a fifth."""
    models: tuple[str, ...] = ("periodic_mlp", "fusion")
    tracks: str | None = None
    """Location of a track table [the demo catalog]."""


@dataclass(frozen=True)
class Trained:
    """A model and its inputs."""

    folder: str
    model: Model
    inputs: ModelInputs

    @classmethod
    def of(cls, warehouse: Warehouse, snapshot: Snapshot, name: str) -> Self:
        """Trains a model by its name, which predicts each track alone."""
        if cli.main(["train", "--warehouse", warehouse.uri, "--model", name, "--no-pool-artists"]):
            raise SystemExit(f"train --model {name} failed")
        folder = model_registry.folder_of(warehouse, None)[1]
        model = artifact.load(folder)
        return cls(folder, model, input_selection.of_model(warehouse, snapshot, model.card))

    def combining_artists(self, folder: str) -> "Trained":
        """The same model, which combines the predictions for the tracks of an artist."""
        shutil.copytree(storage.local_path(self.folder), folder)
        card = replace(self.model.card, artist_pooling=START)
        storage.write_atomic(f"{folder}/model.json", card.to_json())
        return replace(self, folder=folder, model=replace(self.model, card=card))


def best_of(repeats: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def in_udf(one: Trained, tracks: pa.Table) -> float:
    """Rows per second of the UDF on one core; also prints those of the network alone."""
    torch.set_num_threads(1)
    batches = tracks.to_batches(max_chunksize=10_000)
    constants: dict[str, str | None] = {"model_version": "m", "genre_map_version": None, "tracks_run": "t"}
    tag = make_tag(one.folder, one.inputs.positions, constants, TAGS.schema.names)
    ready = [model_rows(batch, one.model, one.inputs.positions) for batch in batches]
    chunks = [chunk for rows in ready for chunk in rows.chunks()]
    alone = len(tracks) / best_of(5, lambda: [one.model.network.probabilities(chunk) for chunk in chunks])
    inside = len(tracks) / best_of(5, lambda: [None for _ in tag(iter(batches))])
    name = one.model.card.model
    print(f"one core, {name}: network {alone:,.0f} rows/s, UDF {inside:,.0f} rows/s ({inside / alone:.0%})")
    return inside


def replicated(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot, rows: int) -> DataFrame:
    """At least `rows` tracks: copies of the tracks under new ids."""
    tracks = spark.read.parquet(warehouse.path(snapshot.path))
    copies = spark.range(-(-rows // snapshot.rows)).withColumnRenamed("id", "copy")
    new_id = F.concat_ws("-", "track_id", "copy")
    new_artists = F.transform("artists", lambda name: F.concat_ws("-", name, "copy"))
    many = tracks.crossJoin(copies).withColumns({"track_id": new_id, "artists": new_artists})
    return many.drop("copy")


def whole_job(
    spark: SparkSession, warehouse: Warehouse, one: Trained, path: str, snapshot: Snapshot, out: str
) -> float:
    """Rows per second of the whole job; prints the shares of reading, tagging and writing."""
    tracks, card = spark.read.parquet(path), one.model.card
    model = ModelVersion("m/1", one.folder, card)
    tags = score.transform(tracks, score.ScoreInputs(warehouse, snapshot, one.inputs, model, None))
    tags.limit(10_000).write.format("noop").mode("overwrite").save()  # starts the workers
    read = best_of(2, lambda: tracks.write.format("noop").mode("overwrite").save())
    tagged = best_of(2, lambda: tags.write.format("noop").mode("overwrite").save())
    whole = best_of(1, lambda: tags.write.mode("overwrite").parquet(out))
    how = "artists combined" if card.artist_pooling else "each track alone"
    print(
        f"score of {snapshot.rows:,} rows, {card.model}, {how}: {whole:.1f} s, "
        f"{snapshot.rows / whole:,.0f} rows/s; "
        f"read {read / whole:.0%}, UDF {(tagged - read) / whole:.0%}, "
        f"write {max(whole - tagged, 0) / whole:.0%}"
    )
    return snapshot.rows / whole


def main() -> None:
    """Trains the models and measures."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as scratch, spark_session("genremill bench") as spark:
        table, uri = options.tracks or f"{scratch}/tracks.csv", f"{scratch}/warehouse"
        if options.tracks is None:
            demo.main(["--out", table])
        if cli.main(["ingest", "--warehouse", uri, "--tracks", table]):
            raise SystemExit("ingest failed")
        warehouse = Warehouse.at(uri)
        snapshot = warehouse.require("tracks", "ingest")
        models = [Trained.of(warehouse, snapshot, name) for name in options.models]
        path = warehouse.path("replicated")
        replicated(spark, warehouse, snapshot, options.rows).repartition(16).write.parquet(path)
        tracks = spark.read.parquet(path)
        here = tracks.select("track_id", "table_features", *FIELDS).limit(options.rows // 5).toArrow()
        inside = [in_udf(one, here) for one in models]
        many = replace(snapshot, rows=tracks.count())
        out = warehouse.path("scored")
        whole = [whole_job(spark, warehouse, one, path, many, out) for one in models]
        for number, (one, rate) in enumerate(zip(models, whole, strict=True)):
            combined = one.combining_artists(f"{scratch}/combined-{number}")
            share = whole_job(spark, warehouse, combined, path, many, out) / rate
            print(f"{one.model.card.model}: {share:.0%} of the rows a second if artists are combined")
        for one, udf_rate, rate in list(zip(models, inside, whole, strict=True))[1:]:
            print(
                f"{one.model.card.model} of {models[0].model.card.model}: UDF {udf_rate / inside[0]:.0%}, "
                f"whole job {rate / whole[0]:.0%} of its rows a second"
            )


if __name__ == "__main__":
    main()
