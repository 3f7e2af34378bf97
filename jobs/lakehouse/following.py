"""Keeps Delta logs and an Iceberg catalog at the current generation.

The pointer of the generation decides. Each table follows it with one atomic commit, which carries the id of
the run that published the generation. So a run that died in between is found and completed by the next one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import tyro

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import CurrentGeneration, Snapshot, Warehouse
from genremill.jobs.lakehouse import delta, iceberg
from genremill.jobs.lakehouse.delta import Delta
from genremill.jobs.lakehouse.iceberg import Iceberg
from genremill.jobs.lakehouse.table_files import TableFiles
from genremill.jobs.lakehouse.tag_changes import changes_of


class Format(Protocol):
    """A table format that refers to the files of the warehouse."""

    @property
    def name(self) -> str:
        """The name of the format."""

    def published_by(self, table: str) -> str | None:
        """The run that made the last commit of a table; None if there is no such table."""

    def commit(self, table: TableFiles, published_by: str) -> int:
        """Replaces the files of a table in one commit; returns its version."""


@dataclass(frozen=True, kw_only=True)
class Formats:
    """In which formats, besides Parquet, a generation becomes current."""

    delta: bool = False
    """Also commit each table to a Delta log beside its files; needs the extra genremill[delta]."""
    iceberg: Annotated[str | None, tyro.conf.arg(metavar="CATALOG.NAMESPACE")] = None
    """Also commit each table to a namespace of an Iceberg catalog; needs the extra genremill[iceberg]."""

    def opened(self, warehouse: Warehouse) -> list[Format]:
        """The formats; raises `UsageError` if one of them cannot be used."""
        found: list[Format] = [Delta(warehouse)] if self.delta else []
        return found + ([Iceberg(warehouse, self.iceberg)] if self.iceberg else [])


def follow(warehouse: Warehouse, formats: Sequence[Format]) -> dict[str, dict[str, int]]:
    """Commits the current generation where it is missing; returns the new versions, by format and table."""
    _warn_of_forgotten(warehouse, formats)
    commits: dict[str, dict[str, int]] = {}
    while formats and (generation := warehouse.generation()):
        for form, name, snapshot in _lagging(warehouse, formats, generation):
            files = TableFiles.of(warehouse, name, snapshot)
            version = form.commit(files, generation.published_by)
            LOGGER.info("%s: committed %s, run %s, as version %d", form.name, name, snapshot.run_id, version)
            commits.setdefault(form.name, {})[name] = version
        now = warehouse.generation()
        if now is None or now.published_by == generation.published_by:
            break  # otherwise another job has published meanwhile
    return commits


def _warn_of_forgotten(warehouse: Warehouse, formats: Sequence[Format]) -> None:
    """Warns if the warehouse has tables in a format that does not follow, because its flag is missing."""
    made = {"delta": warehouse.path("tags", delta.LOG), "iceberg": warehouse.path(iceberg.FOLDER)}
    for name, place in made.items():
        if name not in {form.name for form in formats} and storage.exists(place):
            LOGGER.warning("the %s tables stay as they are, because --%s is missing", name, name)


def lags(warehouse: Warehouse, formats: Sequence[Format]) -> bool:
    """Whether a table is not at the current generation."""
    generation = warehouse.generation()
    return generation is not None and any(True for _ in _lagging(warehouse, formats, generation))


def retained(warehouse: Warehouse, table: str) -> set[str]:
    """The runs of a table whose files are named by commits that readers can still ask for."""
    return delta.retained(warehouse, table) | iceberg.retained(warehouse, table)


def _lagging(
    warehouse: Warehouse, formats: Sequence[Format], generation: CurrentGeneration
) -> Iterator[tuple[Format, str, Snapshot]]:
    tables = dict(generation.tables)
    if changes := changes_of(warehouse, generation):
        tables["tag_changes"] = changes
    for form in formats:
        for name, snapshot in tables.items():
            if form.published_by(name) != generation.published_by:
                yield form, name, snapshot
