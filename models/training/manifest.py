"""The manifest of a folder of training shards, which are Parquet files that a Spark job writes."""

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileSystem, FileType

from genremill.infra import records, storage
from genremill.infra.errors import StorageError, UsageError

LABEL = "label"
"""The integer column of class indices. Every other `array<float>` or `array<int>` column is an input."""
MANIFEST = "_manifest.json"
GROUP_ROWS, GROUP_BYTES = 16_384, 32 << 20
"""Limits on the rows and the bytes of a row group."""
BYTES_A_VALUE = 4
PICKLE_CARRIERS = ("_metadata", "_common_metadata")
"""Summary files from which petastorm unpickles a schema. Spark only writes them on request."""


@dataclass(frozen=True)
class ShardFile:
    """A Parquet file, and the number of rows in each of its row groups."""

    name: str
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of shards: `inputs` are widths by column, `files` are sorted by name."""

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
        """Rows of each rank's shard. Raises `UsageError` if there are fewer row groups than ranks."""
        groups = [rows for file in self.files for rows in file.groups]
        if len(groups) < world:
            raise UsageError(
                f"shards {self.digest} have {len(groups)} row groups for {world} ranks; "
                "expected at least one per rank"
            )
        return [sum(groups[rank::world]) for rank in range(world)]

    def steps(self, batch: int, world: int) -> int:
        """Batches per epoch on every rank; batches of the largest shard have at most `batch` rows."""
        return math.ceil(max(self.shares(world)) / batch)


def manifest_of(folder: str, digest: str) -> Manifest:
    """The manifest according to the footers of the Parquet files; `digest` identifies their source data."""
    with storage_errors(folder):
        store, root = open_folder(folder)
        found = [info.base_name for info in store.get_file_info(FileSelector(root))]
        data = sorted(name for name in found if name.endswith(".parquet") and name[0] not in "._")
        footers = [pq.read_metadata(f"{root}/{name}", filesystem=store) for name in data]
    groups = [tuple(footer.row_group(i) for i in range(footer.num_row_groups)) for footer in footers]
    rows = [tuple(group.num_rows for group in parts) for parts in groups]
    files = tuple(map(ShardFile, data, rows))
    return Manifest(digest, _inputs(folder, [group for parts in groups for group in parts]), files)


def write_manifest(folder: str, manifest: Manifest) -> None:
    """Writes the manifest into the folder that it describes."""
    text = records.to_json(dataclasses.asdict(manifest) | {"rows": manifest.rows})
    storage.write_atomic(f"{folder}/{MANIFEST}", text)


def read_manifest(folder: str) -> Manifest:
    """Reads the manifest of a folder of shards."""
    path = f"{folder}/{MANIFEST}"
    return records.from_json(storage.read_bytes(path), Manifest, path)


def group_rows(row_bytes: int) -> int:
    """The number of rows of a row group that stays within both limits."""
    return max(min(GROUP_ROWS, GROUP_BYTES // row_bytes), 1)


def open_folder(folder: str) -> tuple[FileSystem, str]:
    """The file system and path of a folder. Rejects folders from which petastorm could unpickle."""
    store, root = storage.arrow(folder)
    for info in store.get_file_info([f"{root}/{name}" for name in PICKLE_CARRIERS]):
        if info.type != FileType.NotFound:
            raise UsageError(
                f"{info.path}: a summary file can carry a pickled schema; expected plain Parquet"
            )
    return store, root


@contextmanager
def storage_errors(folder: str) -> Iterator[None]:
    """Converts the errors of pyarrow for missing or broken files to `StorageError`."""
    try:
        yield
    except (OSError, pa.ArrowInvalid) as err:
        raise StorageError(f"cannot read shards in {folder}: {err}") from err


def _inputs(folder: str, groups: list[pq.RowGroupMetaData]) -> dict[str, int]:
    """Widths of the array columns. They must be the same in every row group."""
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
    return {
        chunk.path_in_schema.partition(".list.")[0]: chunk.num_values / group.num_rows
        for chunk in chunks
        if chunk.path_in_schema == LABEL
        or (chunk.physical_type in ("FLOAT", "INT32") and ".list." in chunk.path_in_schema)
    }
