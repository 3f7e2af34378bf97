"""Reads training shards as mini-batches.

The shard of a rank consists of every row group whose index, counted over the files sorted by name, is `rank`
modulo `world`. An epoch reads each row of the shard once, in `steps` batches whose sizes differ by at most
one row. `steps` is the same on every rank, so that no rank waits for another.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genremill.infra.errors import StorageError, UsageError
from genremill.models.training.manifest import LABEL, Manifest, open_folder, storage_errors
from genremill.models.training.petastorm_adapter import Columns, open_row_groups

if TYPE_CHECKING:
    from torch import Tensor

BUFFER_ROWS, BUFFER_BYTES = 262_144, 256 << 20
"""Limits on the rows that are shuffled together, and on their bytes. Concatenation takes twice the memory."""
INPUT_TYPES = (np.float32, np.int32)


@dataclass(frozen=True)
class ShardReader:
    """Mini-batches of the shard of one rank.

    With `shuffle`, row groups come in random order, and so do the rows among `buffer_rows`. Both orders
    depend on seed, epoch and rank only. Without `shuffle`, rows come in the order of the files.
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
        """Batches per epoch, the same on every rank."""
        return self.manifest.steps(self.batch, self.world)

    def epoch(self, epoch: int) -> "Iterator[tuple[dict[str, Tensor], Tensor]]":
        """Batches of ({input: float32 or, of token ids, int32 (B, width)}, label: int64 (B,)).

        Raises
        ------
        StorageError
            The files cannot be read, or their rows do not match the manifest.
        """
        import torch  # a late import: jobs that only write shards do not need it

        rng = np.random.default_rng((self.seed, epoch, self.rank)) if self.shuffle else None
        groups = self._row_groups(None if rng is None else int(rng.integers(2**32)))
        buffered = min(self.buffer_rows, BUFFER_BYTES // self.manifest.row_bytes)
        size, larger = divmod(self._expected_rows, self.steps)
        sizes = (size + (step < larger) for step in range(self.steps))
        for rows in _batches(_blocks(groups, buffered), sizes, rng):
            label = torch.from_numpy(rows.pop(LABEL))
            yield {name: torch.from_numpy(values) for name, values in rows.items()}, label

    @property
    def _expected_rows(self) -> int:
        return self.manifest.shares(self.world)[self.rank]

    def _row_groups(self, seed: int | None) -> Iterator[Columns]:
        """The row groups of the shard. Raises if the number of rows differs from the manifest."""
        with storage_errors(self.folder):
            store, root = open_folder(self.folder)
        names = [file.name for file in self.manifest.files]
        columns = [LABEL, *self.manifest.inputs]
        opened = open_row_groups(store, root, names, columns, rank=self.rank, world=self.world, seed=seed)
        found = 0
        with storage_errors(self.folder), opened as groups:
            for group in groups:
                found += len(group[LABEL])
                yield self._typed(group)
        if found != self._expected_rows:
            raise StorageError(
                f"{self.folder}: rank {self.rank} of {self.world} read {found:,} rows; "
                f"expected {self._expected_rows:,}, as in its manifest"
            )

    def _typed(self, group: Columns) -> Columns:
        if (found := group[LABEL].dtype).kind != "i":  # nulls come as float64
            raise UsageError(f"{self.folder}: {LABEL} reads as {found}; expected integers without nulls")
        widths = {name: group[name].shape[1] for name in self.manifest.inputs}
        if widths != self.manifest.inputs:
            raise StorageError(f"{self.folder}: found widths {widths}; expected {self.manifest.inputs}")
        if odd := {name: str(group[name].dtype) for name in widths if group[name].dtype not in INPUT_TYPES}:
            raise UsageError(
                f"{self.folder}: found {odd}; expected array<float>, or array<int> without nulls"
            )
        return {name: group[name] for name in widths} | {LABEL: group[LABEL].astype(np.int64, copy=False)}


def _blocks(groups: Iterable[Columns], capacity: int) -> Iterator[list[Columns]]:
    """Consecutive row groups with at most `capacity` rows together; a larger one is a block by itself."""
    held, rows = list[Columns](), 0
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
    """Batches of the given sizes. The rows left over from a block are shuffled into the next one."""
    size, rest = next(sizes), list[Columns]()
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
