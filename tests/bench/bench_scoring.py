"""Rows a second of scoring: inside the UDF against the same model on one resident batch, and the whole job.

The whole job runs on the demo catalog's tracks replicated to `--rows`, and is split into read, UDF and write.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import tyro
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra.session import spark_session
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli, demo, model_inputs, model_versions, score
from genremill.jobs.contracts import TAGS
from genremill.models import artifact
from genremill.models.features import TABLE
from genremill.models.model_card import read_card
from genremill.udfs.model_rows import CHUNK_ROWS
from genremill.udfs.tagging import tagger


@dataclass(frozen=True)
class Options:
    """How large the replicated table is."""

    rows: int = 1_000_000
    model: str = "periodic_mlp"


def best_of(repeats: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def in_udf(folder: str, rows: int) -> None:
    """Prints rows a second of one core: the model alone, and the UDF around it."""
    torch.set_num_threads(1)
    model = artifact.load(folder)
    card, network = model.card, model.network
    x_BF = np.random.default_rng(0).normal(100, 50, size=(rows, len(card.features))).astype(np.float32)
    chunks = torch.split(torch.from_numpy(x_BF), CHUNK_ROWS)
    columns = {
        "track_id": pa.array([f"track{at}" for at in range(rows)]),
        "table_features": pa.array(list(x_BF)),
    }
    batches = pa.Table.from_pydict(columns).to_batches(max_chunksize=10_000)
    tag = tagger(
        folder,
        tuple(range(len(card.features))),
        {"model_version": "m", "genre_map_version": None, "tracks_run": "t"},
        TAGS.columns(),
    )
    alone = rows / best_of(5, lambda: [network.probabilities({TABLE: one}) for one in chunks])
    inside = rows / best_of(5, lambda: [None for _ in tag(iter(batches))])
    print(
        f"one core, {card.model}: model {alone:,.0f} rows/s, UDF {inside:,.0f} rows/s ({inside / alone:.0%})"
    )


def replicated(spark: SparkSession, warehouse: Warehouse, snapshot: Snapshot, rows: int) -> DataFrame:
    """The tracks again and again under new ids, at least `rows` of them."""
    tracks = spark.read.parquet(warehouse.path(snapshot.path))
    copies = spark.range(-(-rows // snapshot.rows)).withColumnRenamed("id", "copy")
    new_id = F.concat_ws("-", "track_id", "copy")
    return tracks.crossJoin(copies).withColumn("track_id", new_id).drop("copy")


def whole_job(spark: SparkSession, warehouse: Warehouse, folder: str, rows: int) -> None:
    """Prints the seconds of reading, of reading and tagging, and of the whole job with its writing."""
    snapshot = warehouse.require("tracks", "ingest")
    path = warehouse.path("replicated")
    replicated(spark, warehouse, snapshot, rows).repartition(16).write.parquet(path)
    card = read_card(folder)
    tracks = spark.read.parquet(path)
    rows = tracks.count()
    inputs = model_inputs.of_model(warehouse, snapshot, card)
    tags = score.transform(tracks, replace(snapshot, rows=rows), inputs, folder, "m/1", card)
    warm = spark.read.parquet(warehouse.path(snapshot.path)).repartition(
        spark.sparkContext.defaultParallelism
    )
    score.transform(warm, snapshot, inputs, folder, "m/1", card).write.format("noop").mode("overwrite").save()
    read = best_of(2, lambda: spark.read.parquet(path).write.format("noop").mode("overwrite").save())
    tagged = best_of(1, lambda: tags.write.format("noop").mode("overwrite").save())
    whole = best_of(1, lambda: tags.write.parquet(warehouse.path("scored")))
    print(
        f"score of {rows:,} rows: {whole:.1f} s, {rows / whole:,.0f} rows/s; read {read / whole:.0%}, "
        f"UDF {(tagged - read) / whole:.0%}, write {max(whole - tagged, 0) / whole:.0%}"
    )


def main() -> None:
    """Trains on the demo catalog and measures."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as scratch, spark_session("genremill bench") as spark:
        table, where = str(Path(scratch) / "tracks.csv"), ["--warehouse", str(Path(scratch) / "warehouse")]
        demo.main(["--out", table])
        for job in (["ingest", *where, "--tracks", table], ["train", *where, "--model", options.model]):
            if cli.main(job):
                raise SystemExit(f"{job[0]} failed")
        warehouse = Warehouse.at(where[1])
        _, folder = model_versions.folder_of(warehouse, None)
        in_udf(folder, 200_000)
        whole_job(spark, warehouse, folder, options.rows)


if __name__ == "__main__":
    main()
