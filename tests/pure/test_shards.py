"""Shards return each row once, in an order that depends on seed and epoch, and no row is lost."""

import dataclasses
import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.models.training import manifest as manifest_module, shards as shard_module
from genremill.models.training.manifest import (
    Manifest,
    ShardFile,
    manifest_of,
    read_manifest,
    write_manifest,
)
from genremill.models.training.petastorm_adapter import Columns
from genremill.models.training.shards import ShardReader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shards & spaces #1, 100%20"


def shards(folder: Path, sizes: Sequence[int], group: int = 10) -> Manifest:
    """A file of each size in row groups of `group` rows, and the other files that Spark writes."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = np.cumsum([0, *sizes])
    for index, (start, rows) in enumerate(zip(starts, sizes, strict=False)):
        name = f"part #{index:05d}.parquet"
        pq.write_table(numbered_rows(int(start), rows), folder / name, row_group_size=group)
        (folder / f".{name}.crc").write_bytes(b"crc")
    (folder / "_SUCCESS").touch()
    return manifest_of(str(folder), "digest")


def numbered_rows(start: int, rows: int) -> pa.Table:
    """Rows whose label is their number, and whose inputs are computed from it."""
    numbers = list(range(start, start + rows))
    return pa.table(
        {
            "track_id": [str(n) for n in numbers],
            "table": pa.array([[n, -n, n / 2] for n in numbers], pa.list_(pa.float32())),
            "gtzan57": pa.array([[n + 0.5] for n in numbers], pa.list_(pa.float32())),
            "label": pa.array(numbers, pa.int32()),
        }
    )


def labels(reader: ShardReader, epoch: int = 0) -> list[int]:
    return [n for _, label in reader.epoch(epoch) for n in label.tolist()]


def test_a_manifest_agrees_with_the_footers_and_is_read_back_unchanged(folder: Path) -> None:
    manifest = shards(folder, [25, 10])
    files = (ShardFile("part #00000.parquet", (10, 10, 5)), ShardFile("part #00001.parquet", (10,)))
    assert manifest == Manifest("digest", {"table": 3, "gtzan57": 1}, files)
    assert manifest.rows == 35
    write_manifest(str(folder), manifest)
    assert read_manifest(storage.absolute_uri(str(folder))) == manifest


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("buffer_rows", [1, 30, 1000])
def test_an_epoch_reads_every_row_once_over_all_ranks(folder: Path, world: int, buffer_rows: int) -> None:
    manifest = shards(folder, [25, 10, 38])
    read = [
        labels(ShardReader(str(folder), manifest, 8, rank, world, buffer_rows=buffer_rows))
        for rank in range(world)
    ]
    assert sorted(n for shard in read for n in shard) == list(range(73))
    assert [len(shard) for shard in read] == manifest.shares(world)


def test_inputs_stay_with_their_label(folder: Path) -> None:
    manifest = shards(folder, [25, 10])
    for inputs, label in ShardReader(str(folder), manifest, 8).epoch(0):
        number = label.numpy().astype(np.float32)
        np.testing.assert_array_equal(inputs["table"], np.stack([number, -number, number / 2], axis=1))
        np.testing.assert_array_equal(inputs["gtzan57"], number[:, None] + 0.5)
        assert (str(label.dtype), str(inputs["table"].dtype)) == ("torch.int64", "torch.float32")


def test_token_ids_stay_integers_and_an_input_may_have_any_name(folder: Path) -> None:
    rows = numbered_rows(0, 25).select(["label"])
    tokens = [[n, 2**24 + 1, 0] for n in range(25)]  # no float32 is 2**24 + 1
    images = [[float(n)] * 4 for n in range(25)]
    rows = rows.append_column("text", pa.array(tokens, pa.list_(pa.int32())))
    rows = rows.append_column("spectrogram:mel dB", pa.array(images, pa.list_(pa.float32())))
    folder.mkdir()
    pq.write_table(rows, folder / "part-0.parquet", row_group_size=10)
    manifest = manifest_of(str(folder), "digest")
    assert manifest.inputs == {"text": 3, "spectrogram:mel dB": 4}
    for inputs, label in ShardReader(str(folder), manifest, 8).epoch(0):
        assert inputs["text"].tolist() == [[n, 2**24 + 1, 0] for n in label.tolist()]
        assert inputs["spectrogram:mel dB"].tolist() == [[n] * 4 for n in label.tolist()]


def test_token_ids_with_nulls_are_refused(folder: Path) -> None:
    folder.mkdir()
    text = pa.array([[1, None], [2, 3]], pa.list_(pa.int32()))
    pq.write_table(pa.table({"text": text, "label": [0, 1]}), folder / "part-0.parquet")
    manifest = manifest_of(str(folder), "digest")
    with pytest.raises(UsageError, match=r"'text': 'float64'.*array<int> without nulls"):
        labels(ShardReader(str(folder), manifest, 8))


def test_the_buffer_of_wide_rows_is_limited_by_their_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manifest_module.group_rows(120) == 16_384
    assert manifest_module.group_rows(96 * 64 * 4) == 1365
    assert manifest_module.group_rows(1 << 30) == 1
    manifest = shards(folder, [100])  # 16 bytes a row, in groups of 10
    joined: list[int] = []
    original = shard_module._concatenated

    def counted(groups: list[Columns]) -> Columns:
        joined.append(len(groups))
        return original(groups)

    monkeypatch.setattr(shard_module, "_concatenated", counted)
    monkeypatch.setattr(shard_module, "BUFFER_BYTES", 16 * 30)
    assert sorted(labels(ShardReader(str(folder), manifest, 10))) == list(range(100))
    assert max(joined) == 4, "what is left, and three groups"


def test_the_order_depends_on_seed_and_epoch_only(folder: Path) -> None:
    manifest = shards(folder, [50, 50])
    reader = ShardReader(str(folder), manifest, 8, seed=3, buffer_rows=40)
    assert labels(reader, epoch=1) == labels(reader, epoch=1)
    assert labels(reader, epoch=1) != labels(reader, epoch=2)
    assert labels(reader, epoch=1) != labels(dataclasses.replace(reader, seed=4), epoch=1)


def test_rows_are_mixed_across_row_groups(folder: Path) -> None:
    manifest = shards(folder, [100])
    (_, first), *_ = ShardReader(str(folder), manifest, 20).epoch(0)
    assert len({n // 10 for n in first.tolist()}) > 5


def test_rows_keep_the_order_of_the_files_without_shuffle(folder: Path) -> None:
    manifest = shards(folder, [25, *[4] * 12])
    reader = ShardReader(str(folder), manifest, 16, shuffle=False, seed=7, buffer_rows=20)
    assert labels(reader) == list(range(73))


@pytest.mark.parametrize(("rows", "batch"), [(73, 8), (73, 37), (73, 72), (73, 73), (73, 1000), (74, 8)])
def test_all_ranks_have_equally_many_steps_and_no_batch_has_one_row(
    folder: Path, rows: int, batch: int
) -> None:
    manifest = shards(folder, [rows - 48, 48])
    for rank in (0, 1):
        sizes = [len(label) for _, label in ShardReader(str(folder), manifest, batch, rank, 2).epoch(0)]
        assert len(sizes) == manifest.steps(batch, 2)
        assert 2 <= min(sizes) <= max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


def test_batches_of_one_row_are_rejected_only_in_training(folder: Path) -> None:
    manifest = shards(folder, [25])
    with pytest.raises(UsageError, match="expected 2 rows a batch"):
        ShardReader(str(folder), manifest, 1)
    assert labels(ShardReader(str(folder), manifest, 1, shuffle=False)) == list(range(25))


def test_fewer_row_groups_than_ranks_is_an_error(folder: Path) -> None:
    manifest = shards(folder, [25])
    with pytest.raises(UsageError, match="3 row groups for 4 ranks"):
        ShardReader(str(folder), manifest, 8, world=4)


def test_two_readers_of_one_process_do_not_mix(folder: Path) -> None:
    manifest = shards(folder, [25, 25])
    one, two = (ShardReader(str(folder), manifest, 5, rank, 2) for rank in (0, 1))
    read = [(a.tolist(), b.tolist()) for (_, a), (_, b) in zip(one.epoch(0), two.epoch(0), strict=True)]
    assert [n for a, _ in read for n in a] == labels(one)
    assert [n for _, b in read for n in b] == labels(two)


def test_reading_row_groups_starts_no_thread(folder: Path) -> None:
    manifest = shards(folder, [100])  # the thread of petastorm would wait here, three groups ahead
    labels(ShardReader(str(folder), manifest, 8))
    before = threading.active_count()
    batches = ShardReader(str(folder), manifest, 8, buffer_rows=1).epoch(0)
    next(batches)
    assert threading.active_count() == before


def test_sixty_epochs_lose_no_row(folder: Path) -> None:
    manifest = shards(folder, [50])  # petastorm's pool of threads lost all rows of 7 to 10 such epochs
    reader = ShardReader(str(folder), manifest, 8)
    assert all(sorted(labels(reader, epoch)) == list(range(50)) for epoch in range(60))


@pytest.mark.parametrize("rows", [24, 26])
def test_rows_lost_or_gained_since_the_manifest_are_an_error(folder: Path, rows: int) -> None:
    manifest = shards(folder, [25])
    pq.write_table(numbered_rows(0, rows), folder / "part #00000.parquet", row_group_size=10)
    with pytest.raises(StorageError, match=f"spaces.*read {rows} rows; expected 25"):
        labels(ShardReader(str(folder), manifest, 8))


def test_a_lost_row_is_found_before_the_first_step_when_the_shard_fits_the_buffer(folder: Path) -> None:
    manifest = shards(folder, [25])
    pq.write_table(numbered_rows(0, 24), folder / "part #00000.parquet", row_group_size=10)
    with pytest.raises(StorageError, match="read 24 rows"):
        next(ShardReader(str(folder), manifest, 8).epoch(0))


@pytest.mark.parametrize("content", [None, b"PAR1 cut off"])
def test_reading_a_missing_or_broken_file_is_retried(folder: Path, content: bytes | None) -> None:
    manifest = shards(folder, [25, 10])
    path = folder / "part #00001.parquet"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(StorageError, match="spaces"):
        labels(ShardReader(str(folder), manifest, 8))


@pytest.mark.parametrize("lists", [[[1.0], [1.0, 2.0]], [[1.0, 2.0], None]])
def test_lists_of_unequal_length_are_refused(folder: Path, lists: list[list[float] | None]) -> None:
    folder.mkdir()
    ragged = pa.table({"table": pa.array(lists, pa.list_(pa.float32())), "label": [0, 1]})
    pq.write_table(ragged, folder / "part-0.parquet")
    with pytest.raises(UsageError, match=r"varying in \['table'\]"):
        manifest_of(str(folder), "digest")


def test_a_null_label_is_refused(folder: Path) -> None:
    manifest = shards(folder, [25])
    rows = numbered_rows(0, 25).set_column(3, "label", pa.array([None, *range(24)], pa.int32()))
    pq.write_table(rows, folder / "part #00000.parquet")
    with pytest.raises(UsageError, match="float64; expected integers without nulls"):
        labels(ShardReader(str(folder), manifest, 8))


def test_a_folder_without_rows_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no rows"):
        shards(folder, [0])


class Payload:
    """Makes a file when it is unpickled; petastorm's restricted unpickler does not block `builtins.eval`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"open({str(self.marker)!r}, 'w').close()",)


@pytest.mark.parametrize("name", ["_common_metadata", "_metadata"])
def test_a_pickled_schema_is_refused_and_not_run(folder: Path, tmp_path: Path, name: str) -> None:
    manifest = shards(folder, [25])
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    schema = numbered_rows(0, 1).schema.with_metadata({b"dataset-toolkit.unischema.v1": payload})
    pq.write_metadata(schema, folder / name)
    with pytest.raises(UsageError, match="pickled schema"):
        labels(ShardReader(str(folder), manifest, 8))
    with pytest.raises(UsageError, match="pickled schema"):
        manifest_of(str(folder), "digest")
    assert not (tmp_path / "ran").exists()


def test_petastorm_cannot_unpickle(folder: Path, tmp_path: Path) -> None:
    labels(ShardReader(str(folder), shards(folder, [25]), 8))
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    for module in ("etl.legacy", "etl.dataset_metadata", "etl.rowgroup_indexing"):
        unpickle = importlib.import_module(f"petastorm.{module}").depickle_legacy_package_name_compatible
        with pytest.raises(UsageError, match="pickled"):
            unpickle(payload)
    assert not (tmp_path / "ran").exists()
    pickle.loads(payload)
    assert (tmp_path / "ran").exists(), "the payload would have run"


def test_pyarrow_and_numpy_are_not_changed(folder: Path) -> None:
    labels(ShardReader(str(folder), shards(folder, [25]), 8))
    assert not hasattr(np, "unicode_")
    assert pq.ParquetDataset.__module__ == "pyarrow.parquet.core"
    assert not {"pyarrow.filesystem", "pyarrow.hdfs"} & set(sys.modules)


def test_the_driver_reads_manifests_without_torch_or_petastorm() -> None:
    imports = "import sys, genremill.models.training.shards"
    code = f"{imports}; print(sorted({{'torch', 'petastorm'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
