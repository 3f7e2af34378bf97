"""The table in which `ingest` prints what it understood of each column."""

from collections.abc import Sequence

from genremill.infra.terminal import plain
from genremill.jobs.snapshot_details import ColumnUse

HEADINGS = ("column", "use", "numbers", "missing", "examples", "reason")
_WIDEST = {"column": 28, "use": 28, "examples": 44}


def cells_of(use: ColumnUse) -> tuple[str, ...]:
    """One column as the cells of a row of the table."""
    parsed = "" if use.parsed is None else f"{use.parsed:.1%}"
    return use.column, ", ".join(use.uses), parsed, f"{use.missing:.1%}", " | ".join(use.examples), use.reason


def lines(uses: Sequence[ColumnUse]) -> list[str]:
    """The table as lines of text."""
    rows = [HEADINGS, *map(cells_of, uses)]
    shown = [
        [_cut(plain(text), _WIDEST.get(name)) for name, text in zip(HEADINGS, row, strict=True)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    ]


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 1] + "…"
