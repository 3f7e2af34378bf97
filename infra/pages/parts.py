"""The parts of a page, as data that the macros in `parts.html.j2` draw."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from genremill.infra import records, storage
from genremill.infra.errors import DamagedRecord
from genremill.infra.log import LOGGER
from genremill.infra.pages.formats import MISSING
from genremill.infra.warehouse import Snapshot, Warehouse

_NUMBERS = re.compile(r"–?|([+±−-]?[\d.,]+(e[+-]?\d+)?( (%|s|min|h|MB|to))?( |$))+")


MAX_LINE, MAX_WORD = 300, 40
"""Characters of a line in a cell, beyond which it is cut, and of a word, beyond which it may be broken."""


@dataclass(frozen=True)
class Header:
    """Where a page comes from: its run, the time, the warehouse and the track table."""

    run_id: str
    time: str
    warehouse: str
    table: str
    synthetic: bool = False
    """Whether the demo made up the tracks."""

    @classmethod
    def of(cls, warehouse: Warehouse, run_id: str, tracks: Snapshot | None, time: str = "") -> "Header":
        """The header of a page about these tracks; `time` defaults to now."""
        time = f"{(time or storage.utc_now())[:16].replace('T', ' ')} UTC"
        if tracks is None:
            return cls(run_id, time, warehouse.uri, "no tracks yet")
        file = _table_of(tracks).rstrip("/").rpartition("/")[2].partition("?")[0]
        table = f"tracks of run {tracks.run_id}" + (f" from {file}" if file else "")
        return cls(run_id, time, warehouse.uri, table, bool(tracks.details.get("synthetic")))


def _table_of(tracks: Snapshot) -> str:
    """The location of the table that tracks were read from; "" if their record does not say."""
    try:
        settings = records.json_object(tracks.inputs.get("settings", "{}"), tracks.path)
    except DamagedRecord as err:
        LOGGER.warning("the page does not name the track table: %s", err)
        return ""
    return str(settings.get("tracks") or settings.get("tracks_from_audio") or "")


@dataclass(frozen=True)
class TableCell:
    """A cell of a table: its text, a bar for a share from 0 to 1, and whether it is the best in a column."""

    text: str
    share: float | None = None
    best: bool = False

    @property
    def is_number(self) -> bool:
        """Whether the text is a number, with or without a unit, or nothing.

        >>> [TableCell(t).is_number for t in ("4.2 s", "28.0 to 32.0 %", "–", "1e-05", "2 Unlimited", "r1")]
        [True, True, True, True, False, False]
        """
        return _NUMBERS.fullmatch(self.text) is not None

    @property
    def safe_text(self) -> str:
        """The text, with an apostrophe before each line that a spreadsheet would take for a formula.

        >>> TableCell("=cmd()|").safe_text, TableCell("-3.1e-06").safe_text, TableCell("-7 | -9").safe_text
        ("'=cmd()|", '-3.1e-06', '-7 | -9')
        """
        lines = self.text.split("\n")
        return "\n".join(f"'{line}" if _is_formula(line) else line for line in lines)

    @property
    def shown(self) -> str:
        r"""The safe text, in which long lines end with an ellipsis.

        >>> TableCell("k" * 20_000 + "\nsecond").shown.endswith("kkk…\nsecond")
        True
        """
        return "\n".join(_cut(line) for line in self.safe_text.split("\n"))

    @property
    def has_long_word(self) -> bool:
        """Whether a word is so long that it may be broken anywhere."""
        return any(len(word) > MAX_WORD for word in self.shown.split())


class PageTable:
    """Rows of cells under headings. Empty columns are left out, and columns of numbers are aligned right."""

    def __init__(self, headings: Sequence[str], rows: Sequence[Sequence[str | TableCell]]) -> None:
        cells = [[c if isinstance(c, TableCell) else TableCell(str(c)) for c in row] for row in rows]
        columns = list(zip(headings, *cells, strict=True))
        full = [any(cell.text.strip(MISSING) for cell in column) for _, *column in columns]
        kept = [n for n in range(len(columns)) if n == 0 or full[n]]
        kinds = ["number" if all(cell.is_number for cell in column) else "text" for _, *column in columns]
        self.columns = [(headings[n], kinds[n]) for n in kept]
        self.rows = [[(row[n], kinds[n]) for n in kept] for row in cells]


@dataclass(frozen=True)
class Figure:
    """A chart with its name and one line of explanation."""

    name: str
    chart: Markup
    caption: str


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


def _is_formula(line: str) -> bool:
    numbers = all(_NUMBERS.fullmatch(part) for part in line.split(" | "))
    return line.lstrip().startswith(("=", "+", "-", "@")) and not numbers
