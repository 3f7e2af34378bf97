"""Columns of a track table that are no features whatever their values are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genremill.jobs.snapshot_details import ColumnUse

IGNORED = "ignored"


@dataclass(frozen=True)
class LeftOut:
    """Columns of a table that are no features whatever their values are."""

    ignored: tuple[str, ...] = ()
    """Columns that exist, but are not read because --columns.ignore names them."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Parquet columns that cannot be read, with their types."""
    partitions: tuple[str, ...] = ()
    """Columns from the names of folders, such as `dt=20261127`."""

    @property
    def uses(self) -> tuple[ColumnUse, ...]:
        """The columns without values."""
        ignored = (ColumnUse(name, (IGNORED,), "named by --columns.ignore") for name in self.ignored)
        unreadable = (
            ColumnUse(name, (IGNORED,), f"its type cannot be read: {kind}")
            for name, kind in self.unreadable.items()
        )
        return (*ignored, *unreadable)
