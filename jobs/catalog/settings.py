"""How a track table is read and split: the settings of `ingest`."""

import dataclasses
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.errors import StorageRefused, UsageError
from genremill.infra.flag_types import OptionalFile, Uris
from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.splits import DrawnSplit
from genremill.jobs.snapshot_details import Fractions, SplitRule
from genremill.models.evaluation.split import SplitBy
from genremill.udfs.decoding.settings import Barrier


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the track table is read and split."""

    split: DrawnSplit = "artist"
    """Unit that is never divided between splits: artist, recording, or rows (as in most reports; leaks)."""
    fractions: Fractions = (0.8, 0.1, 0.1)
    """Shares of the train, validation and test splits."""
    split_seed: int = 0
    """Seed of the random split."""
    split_file: OptionalFile = None
    """CSV file with the columns id and split, instead of a random split; ids that it does not list are in
    no split."""
    columns: Columns = dataclasses.field(default_factory=Columns)
    vectors: Uris = ()
    """Parquet files with the id of a track and columns with lists of numbers, as in --columns.vectors."""
    delimiter: str | None = None
    """Character that separates the fields of a CSV file. [detected]"""
    encoding: str | None = None
    """Encoding of a CSV file, such as utf-8, cp1252 or utf-16. [detected]"""
    multiline: bool = False
    """Allow line breaks in quoted CSV fields; one task then reads each file. [detected]"""
    limit: int | None = None
    """Read only this many rows. [all]"""
    sandbox: Barrier = Barrier.AUTO
    """With --tracks-from-audio: `require` ends the job if the kernel lacks a part of the sandbox, in which
    tags are read."""
    missing: tuple[str, ...] = ()
    """Further texts that stand for a missing value, such as `n.n.` or `-99`; blank cells and the usual
    markers, such as `NA`, `null` or `?`, always do."""
    max_missing: float = 0.5
    """Largest share of missing values in a feature; above it, the column is not used."""
    max_vanished: float = 0.2
    """Largest share of the current tracks that may be missing from the table; above it, ingest refuses the
    table."""
    max_lost_columns: int = 0
    """Largest number of features and of columns with a role that the table may lose since the current tracks;
    above it, ingest refuses the table."""

    def check(self) -> None:
        """Raises `UsageError` on settings that are wrong for every table."""
        if self.limit is not None and not 0 < self.limit < 1 << 31:
            raise UsageError(f"--limit {self.limit}: expected 1 to {(1 << 31) - 1}")
        for flag, share in (("vanished", self.max_vanished), ("missing", self.max_missing)):
            if not 0 <= share <= 1:
                raise UsageError(f"--max-{flag} {share:g}: expected a share from 0 to 1")
        if self.max_lost_columns < 0:
            raise UsageError(f"--max-lost-columns {self.max_lost_columns}: expected 0 or more")
        if self.columns.separator == "":
            raise UsageError("--columns.separator: expected at least one character; found an empty text")
        inside = all(0 <= share <= 1 for share in self.fractions)
        if not inside or abs(sum(self.fractions) - 1) > 1e-6 or self.fractions[0] == 0:
            shown = " ".join(f"{share:g}" for share in self.fractions)
            raise UsageError(f"--fractions {shown}: expected three shares that add up to 1, train above 0")

    @property
    def markers(self) -> frozenset[str]:
        """The further texts for a missing value."""
        return frozenset(text.strip() for text in self.missing)

    @property
    def split_rule(self) -> SplitRule:
        """The rule by which the tracks are split."""
        if self.split_file is None:
            return SplitRule(SplitBy(self.split), self.fractions, self.split_seed)
        digest = file_digest("split_file", self.split_file)
        return SplitRule(SplitBy.FILE, self.fractions, self.split_seed, digest)


def file_digest(field: str, location: str) -> str:
    """A digest of the files that a flag names."""
    flag = f"--{field.replace('_', '-')}"
    try:
        return storage.inventory(storage.absolute_uri(location)).digest
    except UsageError as err:
        raise UsageError(f"{flag} {err}") from err
    except StorageRefused as err:
        raise UsageError(f"{flag}: {err}") from err
