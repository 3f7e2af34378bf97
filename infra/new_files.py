"""Files that are written as a stream, and Parquet files from record batches."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from genremill.infra import storage


@contextlib.contextmanager
def create(uri: str) -> Iterator[IO[bytes]]:
    """A new object that is written as a stream."""
    store, path = storage.arrow(uri)
    try:
        if not storage.is_s3(uri):
            storage.local_path(uri).parent.mkdir(parents=True, exist_ok=True)
        stream = store.open_output_stream(path)
    except OSError as err:
        raise storage.arrow_error("write", uri, err) from err
    try:
        with stream:
            yield stream
    except OSError as err:
        if err.errno is None:  # the file that is converted is damaged
            raise
        raise storage.arrow_error("write", uri, err) from err


def write_parquet(to: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Writes record batches as one Parquet file."""
    with create(to) as out, pq.ParquetWriter(out, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
