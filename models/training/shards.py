"""Training shards: plain Parquet that a Spark job writes, its manifest, and its rows as mini-batches.

A rank's shard is every row group whose index, counted through the files by name, is `rank` modulo `world`.
An epoch on a rank is each row of its shard, once, in `steps` batches whose sizes differ by one row at most.
`steps` is the same on every rank, so that none waits for another; nothing is dropped, nothing is read twice.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.fs import FileSelector, FileSystem, FileType

from genremill.infra import records, storage
from genremill.infra.errors import StorageError, UsageError
from genremill.models.training.petastorm_adapter import Columns, open_row_groups

if TYPE_CHECKING:
    from torch import Tensor

    Batch: TypeAlias = tuple[dict[str, Tensor], Tensor]

LABEL = "label"
"""The integer column of class indices; every `array<float>` or `array<int>` column beside it is an input."""

MANIFEST = "_manifest.json"

BUFFER_ROWS, BUFFER_BYTES = 262_144, 256 << 20
"""Rows shuffled among each other at most, and bytes in them: twice that while they are joined."""
GROUP_ROWS, GROUP_BYTES = 16_384, 32 << 20
"""Rows of a row group at most, and bytes in them."""
INPUT_TYPES, BYTES_A_VALUE = (np.float32, np.int32), 4

PICKLE_CARRIERS = ("_metadata", "_common_metadata")
"""Summary files out of which petastorm unpickles a schema; Spark writes none unless told to."""


@dataclass(frozen=True)
class ShardFile:
    """A Parquet file, and how many rows each of its row groups has."""

    name: str
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds: `inputs` are widths by column, `files` are sorted by name."""

    digest: str
    inputs: dict[str, int]
    files: tuple[ShardFile, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's inputs."""
        return BYTES_A_VALUE * sum(self.inputs.values())

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(sum(file.groups) for file in self.files)

    def shares(self, world: int) -> list[int]:
        """Rows of each rank's shard."""
        groups = [rows for file in self.files for rows in file.groups]
        if len(groups) < world:
            found = f"shards {self.digest}: {len(groups)} row groups"
            raise UsageError(f"{found} for {world} ranks; expected at least one a rank")
        return [sum(groups[rank::world]) for rank in range(world)]

    def rows_of(self, rank: int, world: int) -> int:
        """Rows of one rank's shard."""
        return self.shares(world)[rank]

    def steps(self, batch: int, world: int) -> int:
        """Batches of an epoch on every rank; those of the largest shard have `batch` rows at most."""
        return math.ceil(max(self.shares(world)) / batch)


def manifest_of(folder: str, digest: str) -> Manifest:
    """What the footers of a folder's Parquet files say; `digest` names what they were made from."""
    with storage_errors(folder):
        store, root = _open(folder)
        found = [info.base_name for info in store.get_file_info(FileSelector(root))]
        data = sorted(name for name in found if name.endswith(".parquet") and name[0] not in "._")
        footers = [pq.read_metadata(f"{root}/{name}", filesystem=store) for name in data]
    groups = [tuple(footer.row_group(i) for i in range(footer.num_row_groups)) for footer in footers]
    files = tuple(
        ShardFile(name, tuple(group.num_rows for group in parts))
        for name, parts in zip(data, groups, strict=True)
    )
    return Manifest(digest, _inputs(folder, [group for parts in groups for group in parts]), files)


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Puts the manifest beside the files it describes."""
    text = records.to_json(dataclasses.asdict(manifest) | {"rows": manifest.rows})
    storage.write_atomic(f"{storage.absolute_uri(folder)}/{MANIFEST}", text)


def read_manifest(folder: str) -> Manifest:
    """The manifest of a folder of shards."""
    path = f"{storage.absolute_uri(folder)}/{MANIFEST}"
    return records.from_json(storage.read_bytes(path), Manifest, path)


@dataclass(frozen=True)
class ShardReader:
    """Mini-batches of one rank's shard, epoch after epoch.

    With `shuffle`, row groups come in random order, and rows in random order among `buffer_rows`: both a
    function of seed, epoch and rank alone. Without it, rows come in the order of the files.
    """

    folder: str
    manifest: Manifest
    batch: int
    rank: int = 0
    world: int = 1
    seed: int = 0
    shuffle: bool = True
    buffer_rows: int = BUFFER_ROWS

    def __post_init__(self) -> None:
        fewest = min(self.manifest.shares(self.world))
        needed = 2 if self.shuffle else 1  # BatchNorm cannot train on one row
        if fewest < needed * self.steps:
            raise UsageError(
                f"{self.folder}: the smallest of {self.world} shards has {fewest:,} rows for {self.steps:,} "
                f"batches of at most {self.batch:,}; expected {needed} rows a batch at least"
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch, the same on every rank."""
        return self.manifest.steps(self.batch, self.world)

    def epoch(self, epoch: int) -> "Iterator[Batch]":
        """Batches of ({input: float32 or, of token ids, int32 (B, width)}, label: int64 (B,)).

        Raises
        ------
        StorageError
            The files cannot be read, or do not hold the rows that the manifest says.
        """
        import torch  # here, so that the driver can read a manifest without it

        rng = np.random.default_rng((self.seed, epoch, self.rank))
        group_seed = int(rng.integers(2**32))
        groups = self._row_groups(group_seed if self.shuffle else None)
        buffered = min(self.buffer_rows, BUFFER_BYTES // self.manifest.row_bytes)
        blocks = _blocks(groups, buffered)
        for rows in _batches(blocks, self._sizes(), rng if self.shuffle else None):
            tensors = {name: torch.from_numpy(values) for name, values in rows.items()}
            label = tensors.pop(LABEL)
            yield tensors, label

    def _sizes(self) -> Iterator[int]:
        size, larger = divmod(self._expected_rows, self.steps)
        return (size + (step < larger) for step in range(self.steps))

    @property
    def _expected_rows(self) -> int:
        return self.manifest.rows_of(self.rank, self.world)

    def _row_groups(self, seed: int | None) -> Iterator[Columns]:
        """The shard's row groups; raises unless their rows are as many as the manifest says."""
        with storage_errors(self.folder):
            store, root = _open(self.folder)
        names = [file.name for file in self.manifest.files]
        columns = [LABEL, *self.manifest.inputs]
        opened = open_row_groups(
            store, root, names, columns=columns, rank=self.rank, world=self.world, seed=seed
        )
        found = 0
        with storage_errors(self.folder), opened as groups:
            for group in groups:
                found += len(group[LABEL])
                yield self._typed(group)
        if found != self._expected_rows:
            raise StorageError(
                f"{self.folder}: rank {self.rank} of {self.world} read {found:,} rows; "
                f"expected {self._expected_rows:,}, as its manifest says"
            )

    def _typed(self, group: Columns) -> Columns:
        if group[LABEL].dtype.kind != "i":  # nulls come as float64
            found = group[LABEL].dtype
            raise UsageError(f"{self.folder}: {LABEL} reads as {found}; expected integers without nulls")
        widths = {name: group[name].shape[1] for name in self.manifest.inputs}
        if widths != self.manifest.inputs:
            raise StorageError(f"{self.folder}: found widths {widths}; expected {self.manifest.inputs}")
        if odd := {name: str(group[name].dtype) for name in widths if group[name].dtype not in INPUT_TYPES}:
            raise UsageError(
                f"{self.folder}: found {odd}; expected array<float>, or array<int> without nulls"
            )
        return {name: group[name] for name in widths} | {LABEL: group[LABEL].astype(np.int64, copy=False)}


def group_rows(row_bytes: int) -> int:
    """Rows of a row group at most, so that neither rows nor bytes are too many."""
    return max(min(GROUP_ROWS, GROUP_BYTES // row_bytes), 1)


def _blocks(groups: Iterable[Columns], capacity: int) -> Iterator[list[Columns]]:
    """Runs of row groups of `capacity` rows at most; a larger row group stays whole."""
    held: list[Columns] = []
    rows = 0
    for group in groups:
        if held and rows + len(group[LABEL]) > capacity:
            yield held
            held, rows = [], 0
        held.append(group)
        rows += len(group[LABEL])
    if held:
        yield held


def _batches(
    blocks: Iterable[list[Columns]], sizes: Iterator[int], rng: np.random.Generator | None
) -> Iterator[Columns]:
    """Batches of the given sizes; what is left of a block is shuffled into the next one."""
    size = next(sizes)
    rest: list[Columns] = []
    for block in blocks:
        joined = _concatenated([*rest, *block])
        order = np.arange(len(joined[LABEL])) if rng is None else rng.permutation(len(joined[LABEL]))
        while size and size <= len(order):
            yield _taken(joined, order[:size])
            order = order[size:]
            size = next(sizes, 0)
        rest = [_taken(joined, order)]


def _concatenated(groups: list[Columns]) -> Columns:
    return {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}


def _taken(rows: Columns, order: NDArray[np.intp]) -> Columns:
    return {name: values[order] for name, values in rows.items()}


def _open(folder: str) -> tuple[FileSystem, str]:
    """The file system and path of a folder; one that could carry a pickle for petastorm is refused."""
    store, root = storage.arrow(folder)
    for info in store.get_file_info([f"{root}/{name}" for name in PICKLE_CARRIERS]):
        if info.type != FileType.NotFound:
            raise UsageError(
                f"{info.path}: a summary file can carry a pickled schema; expected plain Parquet"
            )
    return store, root


@contextmanager
def storage_errors(folder: str) -> Iterator[None]:
    """Turns what pyarrow raises for a missing or broken file into a `StorageError`."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as err:
        raise StorageError(f"cannot read shards in {folder}: {err}") from err


def _inputs(folder: str, groups: list[pq.RowGroupMetaData]) -> dict[str, int]:
    """Widths of the array columns: values per row, the same in every row group."""
    if not sum(group.num_rows for group in groups):
        raise UsageError(f"{folder}: no rows in Parquet files; expected training shards")
    found = [_widths(group) for group in groups]
    ragged = {name for widths in found for name in widths if widths != found[0] or widths[name] % 1}
    if ragged or LABEL not in found[0]:
        raise UsageError(
            f"{folder}: found {found[0]} values per row, varying in {sorted(ragged)}; expected a column "
            f"{LABEL} and columns array<float> or array<int> of one width"
        )
    return {name: int(width) for name, width in found[0].items() if name != LABEL}


def _widths(group: pq.RowGroupMetaData) -> dict[str, float]:
    """Values per row of the label and of each list of floats or token ids."""
    chunks = [group.column(index) for index in range(group.num_columns)]
    read = [c for c in chunks if c.path_in_schema == LABEL or _is_input(c)]
    return {c.path_in_schema.partition(".list.")[0]: c.num_values / group.num_rows for c in read}


def _is_input(chunk: pq.ColumnChunkMetaData) -> bool:
    return chunk.physical_type in ("FLOAT", "INT32") and ".list." in chunk.path_in_schema
