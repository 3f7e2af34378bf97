"""The table `tag_changes`: the tracks whose label a publication or a rollback has changed."""

import dataclasses

import pyarrow as pa
import pyarrow.dataset as ds
from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.infra.new_files import write_parquet
from genremill.infra.warehouse import Generation, Snapshot, Warehouse
from genremill.jobs import command, snapshots
from genremill.jobs.contracts import TAG_CHANGES
from genremill.jobs.snapshot_details import SnapshotDetails

NAME = TAG_CHANGES.name


def write(spark: SparkSession, work: command.Run, now: Snapshot, before: Snapshot | None) -> Snapshot:
    """Writes the labels that differ between two runs of tags; without earlier tags, all tracks are new."""
    after = snapshots.read(spark, work.warehouse, now).select("track_id", F.col("label").alias("after"))
    if before is None:
        changed = after.select("track_id", F.lit(None).cast("string").alias("before"), "after")
    else:
        earlier = _labels(spark, work.warehouse, before)
        both = after.withColumn("is_now", F.lit(True)).join(earlier, "track_id", "full_outer")
        same = F.col("after").eqNullSafe(F.col("before")) & F.col("is_now") & F.col("was_before")
        changed = both.where(~F.coalesce(same, F.lit(False))).select("track_id", "before", "after")
    return snapshots.write(work, TAG_CHANGES, changed, _between(before, now), SnapshotDetails())


def _labels(spark: SparkSession, warehouse: Warehouse, tags: Snapshot) -> DataFrame:
    rows = snapshots.read(spark, warehouse, tags)
    return rows.select("track_id", F.col("label").alias("before"), F.lit(True).alias("was_before"))


def _between(before: Snapshot | None, after: Snapshot) -> dict[str, str]:
    return {"before": before.run_id if before else "", "after": after.run_id}


def invert(work: command.Run, withdrawn: Snapshot, target: Snapshot) -> None:
    """Writes the changes of a rollback: the changes of the withdrawn publication, with both labels swapped.

    It needs no Spark. If that publication was not from the target, or its changes were removed, nothing is
    written.
    """
    wanted = _between(target, withdrawn)
    runs = (run for run in reversed(work.warehouse.runs(NAME)) if run.inputs == wanted)
    made = next(runs, None)
    if made is None:
        LOGGER.warning("the changes of the rolled back tags are not there, so %r is not written", NAME)
        return
    store, path = storage.arrow(work.warehouse.path(made.path))
    rows = ds.dataset(path, filesystem=store, format="parquet", partitioning=None)
    schema = pa.schema([(name, pa.string()) for name in TAG_CHANGES.schema.names])
    swapped_rows = (
        pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        for batch in rows.to_batches(columns=["track_id", "after", "before"])
    )
    # One file, also if there are no rows.
    write_parquet(f"{work.warehouse.run_path(NAME, work.run_id)}/part-0.parquet", schema, swapped_rows)
    swapped = dataclasses.replace(
        made,
        run_id=work.run_id,
        path=f"{NAME}/run={work.run_id}",
        inputs=_between(withdrawn, target),
        written_at=storage.utc_now(),
    )
    work.warehouse.finish(NAME, swapped)


def changes_of(warehouse: Warehouse, generation: Generation) -> Snapshot | None:
    """The changes that made a generation current; None if they were not written."""
    run = warehouse.readable(NAME, generation.published_by)
    return run if run and run.inputs.get("after") == generation.tags.run_id else None
