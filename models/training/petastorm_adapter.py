"""Reads row groups of Parquet files as numpy columns, with petastorm 0.12 on current pyarrow and numpy.

petastorm uses names that pyarrow 15 and numpy 2 removed. This module adds them to the modules of petastorm
only, so pyarrow and numpy do not change for pandas, pyspark and other code in the process.
"""

import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow.fs import FileSystem

from genremill.infra.errors import UsageError

if TYPE_CHECKING:
    from petastorm.workers_pool.ventilator import ConcurrentVentilator

Columns: TypeAlias = dict[str, NDArray[Any]]
"""Rows by column: a scalar column as (rows,), an array column as (rows, width)."""
Result = TypeVar("Result")

ATTEMPTS, PAUSE_S = 3, 0.5
"""Attempts to read a row group or a footer, and the pause after the first one."""


@contextmanager
def open_row_groups(
    store: FileSystem,
    folder: str,
    files: Sequence[str],
    columns: Sequence[str],
    *,
    rank: int,
    world: int,
    seed: int | None,
) -> Iterator[Iterator[Columns]]:
    """Each row group of a rank's shard once. The row groups of `files`, in order, are dealt to ranks in turn.

    The order of reading depends on `seed`; None keeps the order of the files.
    """
    # petastorm makes a namedtuple of the columns, and `spectrogram:mel` is not an attribute name.
    numbered = {name: f"column_{index}" for index, name in enumerate(columns)}
    opened = _Folder(store, folder, numbered)
    reader = _petastorm().make_batch_reader(
        [f"file:///{quote(name)}" for name in files],
        filesystem=opened,
        schema_fields=[f"{name}$" for name in numbered.values()],  # `$` avoids a warning
        # The default pool of threads sometimes ends an epoch early without an error: 7 to 10 of 60 runs
        # missed a row. The dummy pool reads in the thread of the caller, and reads array columns faster.
        reader_pool_type="dummy",
        cur_shard=rank,
        shard_count=world,
        num_epochs=1,
        shuffle_row_groups=seed is not None,
        seed=seed,
    )
    with closing(opened), reader:
        yield ({name: getattr(group, place) for name, place in numbered.items()} for group in reader)


def _again(read: Callable[[], Result]) -> Result:
    """The result of a read, repeated if it fails. Pyarrow does not retry if a response is too short."""
    for attempt in range(1, ATTEMPTS):
        try:
            return read()
        except (OSError, pa.ArrowInvalid):
            time.sleep(PAUSE_S * attempt)
    return read()


class _Folder:
    """A folder as file system for petastorm: `open` parses a Parquet file once, by its quoted name."""

    def __init__(self, store: FileSystem, folder: str, numbered: Mapping[str, str]) -> None:
        self._store, self._folder, self._numbered = store, folder, numbered
        self._opened: dict[str, _File] = {}

    def open(self, path: str) -> "_File":
        if path not in self._opened:
            name = self._folder + unquote(path)
            opened = _again(lambda: pq.ParquetFile(self._store.open_input_file(name)))
            self._opened[path] = _File(opened, self._numbered)
        return self._opened[path]

    def close(self) -> None:
        for opened in self._opened.values():
            opened.file.close(force=True)


@dataclass(frozen=True)
class _File:
    """A Parquet file with numbered columns, and the interface that petastorm expects."""

    file: pq.ParquetFile
    numbered: Mapping[str, str]

    @property
    def metadata(self) -> "_File":
        return self

    schema = metadata

    @property
    def num_row_groups(self) -> int:
        return int(self.file.metadata.num_row_groups)

    def to_arrow_schema(self) -> pa.Schema:
        schema = self.file.schema_arrow
        return pa.schema([schema.field(name).with_name(number) for name, number in self.numbered.items()])

    def read(self, row_group: int | None, columns: set[str]) -> pa.Table:
        names = {place: name for name, place in self.numbered.items()}
        wanted = sorted(columns)
        table = self.file.read_row_group(row_group, columns=[names[place] for place in wanted])
        return table.select([names[place] for place in wanted]).rename_columns(wanted)


@dataclass(frozen=True)
class _Piece:
    """Stands in for pyarrow's old `ParquetDatasetPiece`: a file, or one of its row groups."""

    path: str
    open_file_func: Callable[[str], "_File"]
    row_group: int | None = None
    partition_keys: None = None

    def get_metadata(self) -> "_File":
        return self.open_file_func(self.path).metadata

    def read(self, columns: set[str], partitions: None) -> pa.Table:
        file = self.open_file_func(self.path)
        return _again(lambda: file.read(self.row_group, columns))


class _Dataset:
    """Stands in for pyarrow's old `ParquetDataset`: files by name, without a summary file."""

    metadata = common_metadata = partitions = None

    def __init__(self, paths: list[str], filesystem: _Folder, **_: object) -> None:
        self.paths = paths
        self.fs = filesystem
        self.pieces = [_Piece(path, filesystem.open) for path in paths]


@functools.cache
def _petastorm() -> ModuleType:
    """The petastorm package, imported and adapted once per process."""
    # These two modules would import pyarrow.hdfs and pyarrow.filesystem, which are not needed here.
    namenode: Any = ModuleType("petastorm.hdfs.namenode")
    namenode.HdfsConnector = namenode.HdfsNamenodeResolver = None
    sys.modules[namenode.__name__] = namenode
    sys.modules["petastorm.utils"] = ModuleType("petastorm.utils")

    modules = ("reader", "arrow_reader_worker", "etl.dataset_metadata", "etl.legacy", "unischema")
    adapted: list[Any] = [importlib.import_module(f"petastorm.{name}") for name in modules]
    reader, worker, metadata, legacy, schema = adapted
    reader.pq = worker.pq = metadata.pq = _view(pq, ParquetDataset=_Dataset, ParquetDatasetPiece=_Piece)
    worker.np = schema.np = _view(np, unicode_=np.str_, string_=np.bytes_)
    worker.ParquetFile = lambda opened: opened  # _Folder has parsed it
    reader.ConcurrentVentilator.start = _ventilate_now
    legacy.restricted_loads = _refuse_to_unpickle
    return importlib.import_module("petastorm")


def _view(module: ModuleType, **names: object) -> ModuleType:
    """A copy of a module with added names."""
    view = ModuleType(module.__name__)
    view.__dict__.update(vars(module) | names)
    return view


def _ventilate_now(ventilator: "ConcurrentVentilator") -> None:
    """Queues all row groups before the first read, instead of using a thread that queues three at a time.

    With that thread, the dummy pool sleeps 0.1 s whenever the queue is empty, and hangs if it takes the last
    item before the thread has counted it.
    """
    ventilator._max_ventilation_queue_size = len(ventilator._items_to_ventilate)
    ventilator._ventilate()


def _refuse_to_unpickle(_: bytes) -> NoReturn:
    """Replaces the restricted unpickler of petastorm, which does not block `eval`."""
    raise UsageError("the data set contains a pickled petastorm schema; expected plain Parquet")
