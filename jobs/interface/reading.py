"""The tables, models and figures of a warehouse, for reading."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa
import pyarrow.dataset as ds

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.readers import warehouse_reader
from genremill.infra.warehouse import Current, Snapshot, Warehouse as Location
from genremill.jobs import model_registry
from genremill.jobs.command import require_warehouse
from genremill.jobs.model_registry import ModelVersion
from genremill.jobs.nights.record import metrics_of, report_of

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession

MADE_BY = {"tracks": "ingest", "genre_profiles": "cluster", "genre_map": "cluster", "tags": "publish"}
"""The tables, and the jobs that make them."""


@dataclass(frozen=True)
class Table:
    """One table of a generation. A call returns its rows."""

    uri: str
    """The folder with its Parquet files, which never change."""
    snapshot: Snapshot

    @overload
    def __call__(
        self, frame: Literal["pandas"] = "pandas", columns: Sequence[str] | None = None
    ) -> "pd.DataFrame": ...
    @overload
    def __call__(self, frame: Literal["arrow"], columns: Sequence[str] | None = None) -> pa.Table: ...
    @overload
    def __call__(self, frame: Literal["polars"], columns: Sequence[str] | None = None) -> "pl.DataFrame": ...
    @overload
    def __call__(self, frame: Literal["spark"], columns: Sequence[str] | None = None) -> "DataFrame": ...
    def __call__(self, frame: str = "pandas", columns: Sequence[str] | None = None) -> Any:
        """The rows as a DataFrame of pandas, polars or Spark, or as an Arrow table.

        In pandas, whole numbers that may be missing have the type `Int32` or `Int64`. Spark needs a running
        session. Raises `UsageError` for an unknown column.
        """
        if frame == "spark":
            rows = warehouse_reader(_session()).parquet(self.uri)
            return rows.select(*columns) if columns is not None else rows
        store, path = storage.arrow(self.uri)
        try:
            dataset = ds.dataset(path, filesystem=store, format="parquet", partitioning=None)
            self._check(columns, dataset.schema.names)
            table = dataset.to_table(columns=None if columns is None else [*columns])
        except OSError as err:
            raise storage.arrow_error("read", self.uri, err) from err
        if frame == "arrow":
            return table
        if frame == "polars":
            import polars as pl

            return pl.from_arrow(table)
        if frame == "pandas":
            return _to_pandas(table)
        raise UsageError(f"frame {frame!r}: expected pandas, arrow, polars or spark")

    def _check(self, columns: Sequence[str] | None, names: Sequence[str]) -> None:
        if unknown := [name for name in columns or () if name not in names]:
            raise UsageError(f"{self.uri} has no column {unknown[0]!r}; it has: {', '.join(names)}")


class Warehouse:
    """What a warehouse holds now, for reading.

    All tables are of the generation that is current when the first of them is read. Make a new object to
    read later ones. Raises `UsageError` if there is no warehouse at the URI.
    """

    def __init__(self, uri: str | os.PathLike[str]) -> None:
        self._location = Location.at(os.fspath(uri))
        require_warehouse(self._location)
        self.uri = self._location.uri

    def __repr__(self) -> str:
        return f"Warehouse({self.uri!r})"

    @property
    def tags(self) -> Table:
        """One row for each track, with its tag."""
        return self._table("tags")

    @property
    def tracks(self) -> Table:
        """The tracks that the tags belong to."""
        return self._table("tracks")

    @property
    def genre_map(self) -> Table:
        """The cluster of each genre."""
        return self._table("genre_map")

    @property
    def genre_profiles(self) -> Table:
        """The mean features of each genre."""
        return self._table("genre_profiles")

    def model(self, version: str | None = None) -> ModelVersion:
        """A model version, `NAME/VERSION`, with its card: that of the current tags, or the newest."""
        return model_registry.read_version(self._location, version or self._version_in_use())

    def metrics(self, version: str | None = None) -> dict[str, Any]:
        """The figures of the newest report on a model version: see `model` for the default.

        Raises `UsageError` if `evaluate` has not measured it.
        """
        version = version or self.model().version
        report = report_of(self._location, version)
        if report is None:
            raise UsageError(f"{self.uri} has no report on {version} yet: run `genremill evaluate`")
        return metrics_of(report)[1]

    @cached_property
    def _current(self) -> dict[str, Current]:
        return self._location.all_current(*MADE_BY)

    def _table(self, name: str) -> Table:
        if name not in self._current:
            raise UsageError(f"{self.uri} has no current {name!r} yet: run `genremill {MADE_BY[name]}` first")
        snapshot = self._current[name].snapshot
        return Table(self._location.path(snapshot.path), snapshot)

    def _version_in_use(self) -> str | None:
        if "tags" not in self._current:
            return None
        return model_registry.of_tags(self._location, self._current["tags"].snapshot)[0]


def _session() -> "SparkSession":
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is None:
        raise UsageError("frame 'spark' needs a running Spark session; start one, or use another frame")
    return session


def _to_pandas(table: pa.Table) -> "pd.DataFrame":
    import pandas as pd

    types = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=types.get)
