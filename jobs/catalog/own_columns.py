"""The columns that `ingest` adds to the rows of a track table, and the check of the names of the others."""

from collections import Counter
from collections.abc import Iterable

from genremill.infra.errors import UsageError

MALFORMED = "_malformed"
"""The raw text of a row that cannot be read."""
FILE, BLOCK, POSITION = "_file", "_block", "_position"
"""The place of a row: file, start of its block in bytes, and a number that increases within the block."""
OWN_COLUMNS = (MALFORMED, FILE, BLOCK, POSITION)


def check_names(names: Iterable[str], source: str) -> None:
    """Raises if two names differ at most in case, or if a name is one of `OWN_COLUMNS`."""
    counts = Counter(name.lower() for name in names)
    if twice := [name for name, count in counts.items() if count > 1]:
        shown = ", ".join(map(repr, twice[:5]))
        raise UsageError(
            f"{source}: more than one column is named {shown}, apart from case and blanks; rename one of "
            f"them, or leave them out with --columns.ignore"
        )
    if taken := [name for name in counts if name in OWN_COLUMNS]:
        raise UsageError(f"{source}: ingest adds a column {taken[0]!r}; rename this column in the table")
