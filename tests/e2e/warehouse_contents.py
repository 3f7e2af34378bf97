"""The contents of a warehouse without the parts that differ between runs: ids, times, file layout."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow.dataset as ds
from pyarrow.fs import FileSelector, FileSystem, FileType

from genremill.infra import storage

SNAPSHOTS = ("tracks", "genre_profiles", "genre_map", "tags")
NEWEST = "newest "
"""What the name of a table begins with that stands for its newest run, staged or current."""
_BY_RUN = {"model_version", "genre_map_version", "tracks_run", "run_id"}
"""Columns that name a run."""

Row: TypeAlias = dict[str, Any]
Contents: TypeAlias = dict[str, list[str]]
"""Sorted rows of each table as text; of a model its hash, of a report its metrics."""


@dataclass(frozen=True)
class Place:
    """The file system of a warehouse and its path there."""

    store: FileSystem
    root: str
    uri: str | None = None
    """With it, files are read with one request. Arrow first asks S3 for the length, and then cuts a file that
    was replaced in between."""

    def contents(self) -> Contents:
        """The current tables, the newest run of each, and the newest model and report."""
        found = {table: self.snapshot(table) for table in SNAPSHOTS}
        found |= {f"{NEWEST}{table}": self._newest_rows(table) for table in SNAPSHOTS}
        return found | {
            "features": self._features(),
            "rejects": self._rejects(),
            "model": self._model(),
            "report": self._report(),
        }

    def pointers(self) -> dict[str, bytes]:
        """The bytes of each `_current.json` that exists."""
        there = {table: f"{table}/_current.json" for table in SNAPSHOTS}
        return {table: self.read(path) for table, path in there.items() if self.is_file(path)}

    def snapshot(self, table: str) -> list[str]:
        """The current rows of a table."""
        current = self._current(table)
        return _sorted(self.rows(current["path"])) if current else []

    def _features(self) -> list[str]:
        """The newest row of each window of each track, as jobs read them."""
        newest: dict[tuple[str, ...], Row] = {}
        for fingerprint in self.folders("features"):
            for run in self.folders(f"features/{fingerprint}"):
                if run.startswith("run="):
                    for row in self.rows(f"features/{fingerprint}/{run}"):
                        key = (fingerprint, row["track_id"], str(row["window"]), row["audio_uri"])
                        newest[key] = {"fingerprint": fingerprint} | row
        return _sorted(newest.values())

    def _rejects(self) -> list[str]:
        """All rejected audio, and the rejected rows of the newest track table."""
        newest = self._newest("tracks")
        runs = [run for run in self.folders("rejects") if run.startswith("run=")]
        rows = [row for run in runs for row in self.rows(f"rejects/{run}")]
        run_id = newest.removeprefix("run=") if newest else None
        return _sorted(row for row in rows if row["stage"] != "ingest" or row["run_id"] == run_id)

    def _newest_rows(self, table: str) -> list[str]:
        newest = self._newest(table)
        return _sorted(self.rows(f"{table}/{newest}")) if newest else []

    def _newest(self, table: str) -> str | None:
        """The folder of the newest complete run of a table, staged or current."""
        runs = [run for run in self.folders(table) if self.is_file(f"{table}/{run}/_run.json")]
        return runs[-1] if runs else None

    def _model(self) -> list[str]:
        runs = [f"{name}/{run}" for name in self.folders("models") for run in self.folders(f"models/{name}")]
        cards = [f"models/{run}" for run in sorted(runs) if self.is_file(f"models/{run}/model.json")]
        return [json.loads(self.read(f"{cards[-1]}/model.json"))["sha256"]] if cards else []

    def _report(self) -> list[str]:
        runs = [run for run in self.folders("reports") if self.is_file(f"reports/{run}/metrics.json")]
        return _sorted([json.loads(self.read(f"reports/{runs[-1]}/metrics.json"))]) if runs else []

    def _current(self, table: str) -> dict[str, Any] | None:
        path = f"{table}/_current.json"
        return dict(json.loads(self.read(path))) if self.is_file(path) else None

    def rows(self, folder: str) -> list[Row]:
        found = ds.dataset(f"{self.root}/{folder}", filesystem=self.store, format="parquet")
        return list(found.to_table().to_pylist())

    def folders(self, folder: str) -> list[str]:
        selector = FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        found = self.store.get_file_info(selector)
        return sorted(one.base_name for one in found if one.type is FileType.Directory)

    def is_file(self, path: str) -> bool:
        return bool(self.store.get_file_info(f"{self.root}/{path}").type is FileType.File)

    def read(self, path: str) -> bytes:
        if self.uri is not None:
            return storage.read_bytes(f"{self.uri}/{path}")
        with self.store.open_input_stream(f"{self.root}/{path}") as source:
            return bytes(source.read())


def _sorted(rows: Iterable[Row]) -> list[str]:
    kept = ({name: value for name, value in row.items() if name not in _BY_RUN} for row in rows)
    return sorted(json.dumps(row, sort_keys=True) for row in kept)
