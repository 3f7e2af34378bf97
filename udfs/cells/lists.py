"""Cells with several names: `['a', 'b']`, JSON, `a;b`, `a, b`, Arrow lists, and lists of structs."""

import contextlib
import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genremill.udfs.cells.text import clean, clean_text

NAME_FIELDS = (
    *("name", "title", "label", "genre", "artist", "value"),
    *("genre_title", "genre_name", "artist_name", "display_name"),
)
"""Fields of a struct that hold its name, the likeliest first."""
_QUOTED = r"'(?:[^'\\]|\\.)*'|" + r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf"\s*(?:[uUbB]?({_QUOTED})|([^,]*))\s*(?:,|$|(?=['\"]))")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMED = re.compile(rf"""['"](?:{"|".join(NAME_FIELDS)})['"]\s*:\s*({_QUOTED})""")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}
_BRACKETS = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class ListFormat:
    """How the cells of a column hold several names."""

    structured: bool = False
    """Whether a cell is a list such as `['a', 'b']`; an Arrow list always is one."""
    separator: str | None = None
    """Text between the names; None if a cell is one name."""

    def __str__(self) -> str:
        if self.structured:
            return "lists"
        return f"lists separated by {self.separator!r}" if self.separator else "one per row"


def is_structured(cell: str) -> bool:
    """Whether a cell looks like a written list.

    >>> is_structured("['a']"), is_structured("{pop,rock}"), is_structured("(What's the Story)")
    (True, True, False)
    """
    return len(cell) > 1 and cell[-1] == _BRACKETS.get(cell[0])


@functools.lru_cache(maxsize=1 << 16)
def parse_list(cell: str) -> tuple[str, ...]:
    r"""The names in a written list: of Python, JSON, numpy, Java or PostgreSQL, or dictionaries with a name.

    >>> parse_list("['Guns N\\' Roses', \"Rock'n'Roll\"]"), parse_list('["a", "b"]')
    (("Guns N' Roses", "Rock'n'Roll"), ('a', 'b'))
    >>> parse_list("['a' 'b']"), parse_list("[pop, hip hop]"), parse_list("[{'id': 3, 'name': 'Jazz'}]")
    (('a', 'b'), ('pop', 'hip hop'), ('Jazz',))
    """
    return tuple(map(_without_surrogates, _items(cell)))


def _items(cell: str) -> Iterator[str]:
    with contextlib.suppress(ValueError, RecursionError):
        yield from list(_names(json.loads(cell)))
        return
    inner = cell[1:-1].strip()
    if inner.startswith("{") or _NAMED.search(cell):
        found: Iterable[str] = _NAMED.findall(cell)
    else:
        found = (match[1] or match[2].strip() for match in _ITEM.finditer(inner))
    yield from (_unquoted(item) for item in found if item and item != "None")


def _without_surrogates(text: str) -> str:
    """The text with pairs of surrogates as one character, and without single ones, which are no text."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def _names(value: Any) -> Iterator[str]:  # noqa: ANN401 (what JSON can hold)
    """The names in a value that was read from JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        name = next((value[field] for field in NAME_FIELDS if value.get(field) is not None), None)
        yield from _names(name)
    elif value is not None:
        yield value if isinstance(value, str) else json.dumps(value)


def _unquoted(item: str) -> str:
    if len(item) < 2 or item[0] not in "'\"" or item[-1] != item[0]:
        return item
    return _ESCAPE.sub(_escaped, item[1:-1])


def _escaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _CONTROLS.get(code, code)


def name_lists(column: pa.Array, form: ListFormat, missing: pa.Array) -> pa.ListArray:
    """The names of each cell, clean and without blanks; `missing` are the texts that stand for no name.

    The column has text, or Arrow lists of text or of structs; a null becomes an empty list.
    """
    if isinstance(column, pa.StructArray | pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return _filled(*_of_arrow(column), missing)
    column = clean(column)
    if form.structured:
        parts = [_parts(cell) for cell in column.to_pylist()]
        counts = np.array([len(part) for part in parts], np.int64)
        names = pa.array([clean_text(name) for part in parts for name in part], pa.string())
    elif form.separator:
        split = pc.split_pattern(pc.fill_null(column, ""), form.separator)
        counts = pc.list_value_length(split).to_numpy(zero_copy_only=False).astype(np.int64)
        names = pc.utf8_trim_whitespace(split.flatten())
    else:
        return _filled(column, np.ones(len(column), np.int64), missing)
    return _filled(names, counts, missing)


def _parts(cell: str | None) -> tuple[str, ...]:
    if cell is None:
        return ()
    return parse_list(cell) if is_structured(cell) else (cell,)


def _of_arrow(column: pa.Array) -> tuple[pa.StringArray, np.ndarray[Any, np.dtype[np.int64]]]:
    """The names in a column of structs or lists, and their number in each row."""
    if isinstance(column, pa.StructArray):
        return clean(_text_of(column)), np.ones(len(column), np.int64)
    counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return clean(_text_of(pc.list_flatten(column))), counts


def _text_of(values: pa.Array) -> pa.StringArray:
    if isinstance(values, pa.StructArray):
        fields = [field.name for field in values.type]
        named = next((field for field in NAME_FIELDS if field in fields), None)
        if named is None:
            return pa.nulls(len(values), pa.string())
        values = pc.struct_field(values, named)
    return values.cast(pa.string())


def _filled(
    names: pa.StringArray, counts: np.ndarray[Any, np.dtype[np.int64]], missing: pa.Array
) -> pa.ListArray:
    """Lists of the names that are not blank and not missing."""
    blank = pc.or_(pc.equal(names, ""), pc.is_in(names, missing))
    keep = pc.invert(pc.fill_null(blank, True))
    kept = keep.to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(counts)), counts)[kept]
    offsets = np.concatenate([[0], np.bincount(rows, minlength=len(counts)).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.filter(keep))
