"""What a page is made of, as data that the macros of `parts.html.j2` draw."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genremill.infra import storage
from genremill.infra.pages.formats import MISSING
from genremill.infra.warehouse import Snapshot, Warehouse

if TYPE_CHECKING:
    from markupsafe import Markup

_FORMULA_STARTS = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( ?%)?")


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
        """The header of a page about these tracks; `time` is now by default."""
        time = f"{(time or storage.utc_now())[:16].replace('T', ' ')} UTC"
        if tracks is None:
            return cls(run_id, time, warehouse.uri, "no tracks yet")
        location = json.loads(tracks.inputs.get("settings", "{}")).get("tracks", "")
        file = location.rstrip("/").rpartition("/")[2].partition("?")[0]
        table = f"tracks of run {tracks.run_id}" + (f" from {file}" if file else "")
        return cls(run_id, time, warehouse.uri, table, bool(tracks.details.get("synthetic")))


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, a bar of a share from 0 to 1 beside it, and whether it is the best one."""

    text: str
    share: float | None = None
    best: bool = False

    @property
    def safe_text(self) -> str:
        """The text, with an apostrophe before each line that a spreadsheet would take for a formula.

        >>> Cell("=cmd()|").safe_text, Cell("-3.1e-06").safe_text
        ("'=cmd()|", '-3.1e-06')
        """
        return "\n".join(_apostrophe(line) for line in self.text.split("\n"))


@dataclass(frozen=True)
class Table:
    """Rows of cells by heading. `text` names the columns that hold text; numbers are aligned right."""

    rows: Sequence[Mapping[str, str | Cell]]
    text: Collection[str] = ()
    caption: str = ""
    """What the table shows, or why it has no rows; a template can give it instead."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if list(row) != list(self.rows[0]):
                raise ValueError(f"a row has the columns {list(row)}, expected {list(self.rows[0])}")

    @property
    def columns(self) -> list[str]:
        """Headings; columns in which all cells are empty are left out."""
        first, *others = self.rows[0]
        return [first, *(name for name in others if any(_text(row[name]) for row in self.rows))]

    def cells(self) -> Iterator[list[tuple[str, Cell]]]:
        """Each row as pairs of heading and cell."""
        for row in self.rows:
            cells = ((name, row[name]) for name in self.columns)
            yield [(name, cell if isinstance(cell, Cell) else Cell(cell)) for name, cell in cells]

    def kind(self, heading: str) -> str:
        """A class of the style sheet."""
        return "text" if heading in self.text else "number"


@dataclass(frozen=True)
class Stat:
    """A headline number, and under it a line for each detail."""

    label: str
    value: str
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A chart with its name and one line of explanation."""

    name: str
    chart: "Markup"
    caption: str


def _apostrophe(line: str) -> str:
    is_formula = line.lstrip().startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(line)
    return f"'{line}" if is_formula else line


def _text(cell: str | Cell) -> str:
    return (cell.text if isinstance(cell, Cell) else cell).replace(MISSING, "")
