"""Cells with several names: `['a', 'b']`, JSON, `c("a", "b")`, `a;b`, Arrow lists, and lists of structs."""

import contextlib
import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genremill.udfs.cells.text import clean, clean_text

NAME_FIELDS = (
    *("name", "title", "label", "genre", "artist", "value", "tag"),
    *("genre_title", "genre_name", "artist_name", "display_name"),
)
"""Fields of a struct that hold its name, the likeliest first."""
_QUOTED = r"'(?:[^'\\]|\\.)*'|" + r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf"\s*(?:[uUbB]?({_QUOTED})|([^,]*))\s*(?:,|$|(?=['\"]))")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_NAMED = re.compile(rf"""['"]({"|".join(NAME_FIELDS)})['"]\s*:\s*({_QUOTED})""")
_QUOTED_OR_CUT = r"'(?:[^'\\]|\\.)*+(?:'|$)|" + r'"(?:[^"\\]|\\.)*+(?:"|$)'
"""With this, text with many quotes of which one is not closed is read in linear time."""
_NAMED_OR_BRACE = re.compile(rf"{_NAMED.pattern}|{_QUOTED_OR_CUT}|([{{}}])", re.DOTALL)
_EMPTY = r"(?:set|frozenset|list|tuple|c|character)\(0?\)"
_FIRST_ITEM = rf"\s*[uUbB]?(?:{_QUOTED})\s*"
_CALL = re.compile(rf"[a-z]*\(\s*[\[{{]?{_FIRST_ITEM}(?:[\]}},'\"].*)?\)|{_EMPTY}", re.DOTALL)
"""A tuple, or a call such as `c("a", "b")` in R, `array(['a'], dtype=object)`, `set()` or `character(0)`."""
_LITERAL = re.compile(rf"\[(?:\s*\{{\s*['\"].*\}}\s*|{_FIRST_ITEM}(?:[,'\"].*)?)\]", re.DOTALL)
"""A list whose first item is in quotes or braces, so it is no name."""
_TYPE = re.compile(r",\s*dtype=.*", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}
_BRACKETS = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class ListFormat:
    """How the cells of a column hold several names."""

    structured: bool = False
    """Whether a cell is a list such as `['a', 'b']`; an Arrow list always is one."""
    separator: str | None = None
    """Text between the names of a cell that is not a list; None if it is one name."""

    def __str__(self) -> str:
        if self.structured:
            return "lists"
        return f"lists separated by {self.separator!r}" if self.separator else "one per row"


def is_structured(cell: str) -> bool:
    """Whether a cell looks like a written list.

    >>> is_structured("['a']"), is_structured("{pop,rock}"), is_structured("(What's the Story)")
    (True, True, False)
    >>> is_structured("('a', 'b')"), is_structured("set()")
    (True, True)
    """
    return len(cell) > 1 and (cell[-1] == _BRACKETS.get(cell[0]) or _is_call(cell))


def _is_call(cell: str) -> bool:
    return cell[-1:] == ")" and _CALL.fullmatch(cell) is not None


def is_literal(cell: str) -> bool:
    """Whether a cell cannot be a name, but only a list in the syntax of a programming language.

    >>> is_literal("['a', 'b']"), is_literal("[{'name': 'a'}]"), is_literal('c("a", "b")'), is_literal("[a]")
    (True, True, True, False)
    """
    return _LITERAL.fullmatch(cell) is not None or _is_call(cell)


@functools.lru_cache(maxsize=1 << 16)
def parse_list(cell: str) -> tuple[str, ...]:
    r"""The names in a written list: of Python, JSON, numpy, R, Java or PostgreSQL, or of dictionaries.

    >>> parse_list("['Guns N\\' Roses', \"Rock'n'Roll\"]"), parse_list('["a", "b"]')
    (("Guns N' Roses", "Rock'n'Roll"), ('a', 'b'))
    >>> parse_list("['a' 'b']"), parse_list("[pop, hip hop]"), parse_list("[{'id': 3, 'name': 'Jazz'}]")
    (('a', 'b'), ('pop', 'hip hop'), ('Jazz',))
    >>> parse_list('c("a", "b")'), parse_list("array(['a'], dtype='<U1')"), parse_list("set()")
    (('a', 'b'), ('a',), ())
    """
    return tuple(map(_without_surrogates, _items(cell)))


def _items(cell: str) -> Iterator[str]:
    with contextlib.suppress(ValueError, RecursionError):
        yield from list(_names(json.loads(cell)))
        return
    inner = cell[1:-1].strip()
    found: Iterable[str]
    if _is_call(cell):
        found = re.findall(_QUOTED_OR_CUT, _TYPE.sub("", cell), re.DOTALL)
    elif (named := _NAMED.findall(cell)) or inner.startswith("{"):
        found = _of_dictionaries(cell, named)
    else:
        found = (match[1] or match[2].strip() for match in _ITEM.finditer(inner))
    yield from (_unquoted(item) for item in found if item and item != "None")


def _of_dictionaries(cell: str, named: Sequence[tuple[str, str]]) -> list[str]:
    """The name of each dictionary: its likeliest field, or else the names in dictionaries within it."""
    if len({field for field, _ in named}) == 1:
        return [value for _, value in named]
    names: list[list[str]] = [[]]
    fields: list[dict[str, str]] = []
    for match in _NAMED_OR_BRACE.finditer(cell):
        field, value, brace = match.groups()
        if brace == "{":
            names.append([])
            fields.append({})
        elif brace and fields:
            own, inner = fields.pop(), names.pop()
            names[-1] += next(([own[name]] for name in NAME_FIELDS if name in own), inner)
        elif field and fields:
            fields[-1][field] = value
    return names[0] or [value for _, value in named]


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
        parts = [_parts(cell, form.separator) for cell in column.to_pylist()]
        counts = np.array([len(part) for part in parts], np.int64)
        names = pa.array([clean_text(name) for part in parts for name in part], pa.string())
    elif form.separator:
        split = pc.split_pattern(pc.fill_null(column, ""), form.separator)
        counts = pc.list_value_length(split).to_numpy(zero_copy_only=False).astype(np.int64)
        names = pc.utf8_trim_whitespace(split.flatten())
    else:
        return _filled(column, np.ones(len(column), np.int64), missing)
    return _filled(names, counts, missing)


def _parts(cell: str | None, separator: str | None) -> Sequence[str]:
    if cell is None:
        return ()
    if is_structured(cell):
        return parse_list(cell)
    return cell.split(separator) if separator else (cell,)


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
