"""How the cells of a column of names or labels hold several of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from genremill.jobs.catalog.column_contents import ALMOST_ALL
from genremill.udfs.cells.lists import ListFormat, is_literal, is_structured

_LABEL_SEPARATORS = (";", "|", ",", " / ")
_NEVER_IN_A_LABEL = (";", "|")


def name_list_format(cells: Sequence[str]) -> ListFormat:
    """Lists if the cells of a column of names are written lists; otherwise one name, or names between `;`."""
    if _are_lists(cells):
        return ListFormat(structured=True)
    return ListFormat(any(map(is_literal, cells)), separator=";")


def _are_lists(cells: Sequence[str]) -> bool:
    return bool(cells) and sum(map(is_structured, cells)) >= ALMOST_ALL * len(cells)


@dataclass(frozen=True)
class _Split:
    """What a separator does to the cells of a column."""

    separator: str
    cells: int
    """Number of cells with the separator."""
    recurring: float
    """Share of the parts that also occur in a different cell."""


def label_list_format(cells: Sequence[str]) -> ListFormat:
    """How the labels of a column are written: one per cell, lists, or text between separators.

    A separator divides labels if half of its parts also occur in different cells, or if half of the cells
    have it and one part does; `;` and `|` do not occur in labels. `Old-Time / Historic` is one label of a
    table in which neither word is a label.
    """
    if _are_lists(cells):
        return ListFormat(structured=True)
    is_structured_too = any(map(is_literal, cells))
    texts = [cell for cell in cells if not is_structured(cell)] if is_structured_too else cells
    return ListFormat(is_structured_too, _separator_of(texts))


def _separator_of(labels: Sequence[str]) -> str | None:
    """The separator that divides most of the labels."""
    counts = Counter(label.lower() for label in labels)
    splits = [_split(counts, separator) for separator in _LABEL_SEPARATORS]
    usable = [split for split in splits if split.cells and _divides(split, counts.total())]
    return max(usable, key=lambda split: split.cells).separator if usable else None


def _divides(split: _Split, total: int) -> bool:
    if split.recurring >= 0.5:
        return True
    is_frequent = split.cells >= 0.5 * total
    return is_frequent and (split.recurring > 0 or split.separator in _NEVER_IN_A_LABEL)


def _split(counts: Counter[str], separator: str) -> _Split:
    divided = {cell: _parts_of(cell, separator) for cell in counts if separator in cell}
    uses = Counter(part for cell in counts for part in set(divided.get(cell, [cell.strip()])))
    parts = [part for cell_parts in divided.values() for part in cell_parts]
    recurring = sum(uses[part] > 1 for part in parts) / len(parts) if parts else 0.0
    return _Split(separator, sum(counts[cell] for cell in divided), recurring)


def _parts_of(cell: str, separator: str) -> list[str]:
    return [part for part in (part.strip() for part in cell.split(separator)) if part]
