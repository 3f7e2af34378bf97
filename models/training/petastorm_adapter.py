"""The row groups of Parquet files as numpy columns, read by petastorm 0.12 on today's pyarrow and numpy.

petastorm asks for names that pyarrow 15 and numpy 2 have dropped. They are put into petastorm's own modules:
pyarrow and numpy stay untouched, for pandas, pyspark and everybody else in the process.
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
"""How often a row group or a footer is read before that is an error, and the pause after the first time."""


@contextmanager
def open_row_groups(
    store: FileSystem,
    folder: str,
    files: Sequence[str],
    *,
    columns: Sequence[str],
    rank: int,
    world: int,
    seed: int | None,
) -> Iterator[Iterator[Columns]]:
    """Each row group of one rank's shard, once: index % world == rank, counted through `files` as given.

    The order is a function of `seed`; None keeps the files' order.
    """
    # petastorm makes a namedtuple of the columns, and `spectrogram:mel` is no name of an attribute.
    numbered = {name: f"column_{at}" for at, name in enumerate(columns)}
    opened = _Folder(store, folder, numbered)
    reader = _petastorm().make_batch_reader(
        [f"file:///{quote(name)}" for name in files],
        filesystem=opened,
        schema_fields=[f"{name}$" for name in numbered.values()],  # `$`: else it warns of names alike
        # Not the default pool of threads, which now and then ends an epoch early, without an error: 7 to 10
        # runs of 60 were without a row. This one reads in the caller's thread, and array columns faster.
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
    """What a read gives, tried again where it fails.

    Pyarrow tries a request again that fails, but takes an answer that is too short for the end of the file.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return read()
        except (OSError, pa.ArrowInvalid):
            time.sleep(PAUSE_S * attempt)
    return read()


class _Folder:
    """A folder as petastorm's file system: `open` gives a Parquet file by its quoted name, parsed once."""

    def __init__(self, store: FileSystem, folder: str, numbered: Mapping[str, str]) -> None:
        self._store = store
        self._folder = folder
        self._numbered = numbered
        self._opened: dict[str, _File] = {}

    def open(self, path: str) -> "_File":
        if path not in self._opened:
            name = self._folder + unquote(path)
            opened = _again(lambda: pq.ParquetFile(self._store.open_input_file(name)))
            self._opened[path] = _File(opened, self._numbered)
        return self._opened[path]

    def close(self) -> None:
        for one in self._opened.values():
            one.file.close(force=True)


@dataclass(frozen=True)
class _File:
    """A Parquet file whose columns petastorm knows by number, and what it asks of one."""

    file: pq.ParquetFile
    numbered: Mapping[str, str]

    @property
    def metadata(self) -> "_File":
        return self

    @property
    def schema(self) -> "_File":
        return self

    @property
    def num_row_groups(self) -> int:
        return int(self.file.metadata.num_row_groups)

    def to_arrow_schema(self) -> pa.Schema:
        found = self.file.schema_arrow
        return pa.schema([found.field(name).with_name(place) for name, place in self.numbered.items()])

    def read(self, row_group: int | None, columns: set[str]) -> pa.Table:
        names = {place: name for name, place in self.numbered.items()}
        wanted = sorted(columns)
        table = self.file.read_row_group(row_group, columns=[names[place] for place in wanted])
        return table.select([names[place] for place in wanted]).rename_columns(wanted)


@dataclass(frozen=True)
class _Piece:
    """What petastorm asks of pyarrow's old `ParquetDatasetPiece`: a file, or one row group of it."""

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
    """What petastorm asks of pyarrow's old `ParquetDataset`: files by name, and no summary file ever."""

    metadata = common_metadata = partitions = None

    def __init__(
        self,
        paths: list[str],
        filesystem: _Folder,
        validate_schema: bool,
        metadata_nthreads: int = 1,
        filters: None = None,
    ) -> None:
        self.paths = paths
        self.fs = filesystem
        self.pieces = [_Piece(path, filesystem.open) for path in paths]


@functools.cache
def _petastorm() -> ModuleType:
    """The petastorm package, imported and adapted once a process."""
    # These two would import pyarrow.hdfs and pyarrow.filesystem; a reader of local Parquet calls neither.
    namenode: Any = ModuleType("petastorm.hdfs.namenode")
    namenode.HdfsConnector = namenode.HdfsNamenodeResolver = None
    sys.modules[namenode.__name__] = namenode
    sys.modules["petastorm.utils"] = ModuleType("petastorm.utils")

    petastorm = importlib.import_module("petastorm")
    reader: Any = importlib.import_module("petastorm.reader")
    worker: Any = importlib.import_module("petastorm.arrow_reader_worker")
    metadata: Any = importlib.import_module("petastorm.etl.dataset_metadata")
    legacy: Any = importlib.import_module("petastorm.etl.legacy")
    schema: Any = importlib.import_module("petastorm.unischema")
    reader.pq = worker.pq = metadata.pq = _view(pq, ParquetDataset=_Dataset, ParquetDatasetPiece=_Piece)
    worker.np = schema.np = _view(np, unicode_=np.str_, string_=np.bytes_)
    worker.ParquetFile = lambda opened: opened  # _Folder has parsed it
    reader.ConcurrentVentilator.start = _ventilate_now
    legacy.restricted_loads = _refuse_to_unpickle
    return petastorm


def _view(module: ModuleType, **names: object) -> ModuleType:
    """A module with names added, leaving the original as it is."""
    view = ModuleType(module.__name__)
    view.__dict__.update(vars(module) | names)
    return view


def _ventilate_now(ventilator: "ConcurrentVentilator") -> None:
    """Queues all row groups before the first is read, in place of a thread that feeds three at a time.

    With that thread, the dummy pool sleeps 0.1 s whenever it has emptied the queue, and for ever if it takes
    the last item before the thread has counted it.
    """
    ventilator._max_ventilation_queue_size = len(ventilator._items_to_ventilate)
    ventilator._ventilate()


def _refuse_to_unpickle(_: bytes) -> NoReturn:
    """Stands for petastorm's restricted unpickler, which lets `eval` through."""
    raise UsageError("the data set carries a pickled petastorm schema; expected plain Parquet")
