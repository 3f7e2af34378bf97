"""Damaged variants of valid files: flipped bits, cuts, repeated blocks, wrong numbers, other files' parts."""

import codecs
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

Strategy: TypeAlias = st.SearchStrategy[bytes]
Change: TypeAlias = Callable[[bytes], bytes]

MOST_BYTES = 1 << 18
_NUMBERS = sorted(
    {0, 1, 2, 0x7F, 0x80, 0xFF, *(2**bits - low for bits in (15, 16, 31, 32, 63, 64) for low in (0, 1))}
)
NUMBERS = tuple(
    dict.fromkeys(
        number.to_bytes(size, order)
        for number in _NUMBERS
        for size in (1, 2, 4, 8)
        for order in ("little", "big")
        if number < 256**size
    )
)
"""Whole numbers at limits, as the fields of binary headers."""

TEXTS = (
    *("", " ", "\t", "\n", "\r\n", "\0", "\x1a", "\x1b[2J", "\u2028", "\u00a0", "\ufeff", "\ufffd", "\ufffe"),
    *("\u202e\u2066", "e" + "\u0301" * 500, "\U0001f468\u200d\U0001f469", "İıſK", "ﬃ", "٣٫٥", "１２３"),
    *('"', "'", '""', '"x', "\\", '\\"', ",", ";", "|", "a,b", "=1+1", "#", "%s", "{}", "${x}", "`", "a.b"),
    *("NaN", "nan", "inf", "-Infinity", "1e308", "1e999", "-1e-400", "-0", "0x10", "1_0", "1.234.567,8"),
    *("9" * 400, "9" * 5000, "1e" + "9" * 20, str(2**63), str(-(2**63) - 1), str(2**64), "1/0", "1:2:3"),
    *("00:03:25",),
    *("true", "null", "None", "N/A", "-", "[]", "['a', 'b'", "[1, [2, [3", "{'a': 1}", '["a","b"]', "a;b;;c"),
    *("2026-13-45", "9999-12-31T23:59:60Z", "../../x", "/etc/passwd", "s3a://b/k", "file:///%00", "x" * 3000),
)
"""Texts that readers treat in a special way."""
JSON_VALUES = (
    *("null", "true", "0", "-1", "1.5", "-0.0", "1e308", "-1e308", "1e999", "5e-324", "NaN", "Infinity"),
    *(str(2**31), str(2**63 - 1), str(2**63), str(-(2**63)), str(2**64), "9" * 400, "9" * 5000, "1e-9"),
    *('""', '"x"', '"\\u0000"', '"\\ud800"', '"\\u202e"', '"' + "x" * 10_001 + '"', '"../x"', '"NaN"', '"1"'),
    *("[]", "[[]]", "[null]", "[1]", '["x","x"]', "[1e999]", "{}", '{"":1}', '{"x":{}}'),
    *('{"a":[{"b":null}]}',),
    *("[" * 200 + "]" * 200, '{"x":' * 200 + "1" + "}" * 200, "[" * 50_000, "[" + "0," * 5000 + "0]"),
)
"""Texts that may stand in the place of a JSON value; some are not valid JSON."""

_places = st.one_of(st.integers(0, 80), st.integers(-80, -1), st.integers(0, 1 << 20))
_lengths = st.one_of(st.integers(0, 16), st.integers(0, 1 << 12))


def _at(data: bytes, place: int) -> int:
    return place % (len(data) + 1)


def _flip(place: int, bit: int) -> Change:
    def flipped(data: bytes) -> bytes:
        at = _at(data, place)
        return data[:at] + bytes(byte ^ 1 << bit for byte in data[at : at + 1]) + data[at + 1 :]

    return flipped


def _overwrite(place: int, value: bytes) -> Change:
    return lambda data: data[: _at(data, place)] + value + data[_at(data, place) + len(value) :]


def _insert(place: int, value: bytes) -> Change:
    return lambda data: data[: _at(data, place)] + value + data[_at(data, place) :]


def _delete(place: int, length: int) -> Change:
    return lambda data: data[: _at(data, place)] + data[_at(data, place) + length :]


def _cut(place: int) -> Change:
    return lambda data: data[: _at(data, place)]


def _repeat(place: int, length: int, times: int) -> Change:
    def repeated(data: bytes) -> bytes:
        at = _at(data, place)
        return data[:at] + data[at : at + length] * times + data[at + length :]

    return repeated


def changes(values: Sequence[bytes], seeds: Sequence[bytes]) -> st.SearchStrategy[Change]:
    """One change of a file; `values` are inserted, and parts of `seeds`."""
    value = st.sampled_from([*values, *NUMBERS])
    part = st.builds(lambda seed, place: seed[_at(seed, place) :], st.sampled_from(list(seeds)), _places)
    return st.one_of(
        st.builds(_flip, _places, st.integers(0, 7)),
        st.builds(_overwrite, _places, value),
        st.builds(_insert, _places, value | part),
        st.builds(_delete, _places, _lengths),
        st.builds(_cut, _places),
        st.builds(_repeat, _places, _lengths, st.sampled_from([0, 2, 3, 100])),
    )


def _changed(data: bytes, steps: Sequence[Change]) -> bytes:
    for step in steps:
        data = step(data)[:MOST_BYTES]
    return data


def mutated(seeds: Sequence[bytes], values: Sequence[bytes] = ()) -> Strategy:
    """Valid files with some changes, and a few short files of any bytes."""
    changed = mutations(st.sampled_from(list(seeds)), values, seeds)
    return st.one_of(changed, changed, changed, st.binary(max_size=200))


def mutations(files: Strategy, values: Sequence[bytes], seeds: Sequence[bytes], least: int = 0) -> Strategy:
    """Files with at least some changes."""
    return st.builds(_changed, files, st.lists(changes(values, seeds), min_size=least, max_size=6))


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of all values in a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in inner for place in _paths(part, (*path, name)))]


def _with(document: Any, path: tuple[str | int, ...], text: str | None) -> str:
    """A JSON document with another text in one place; None removes what is there."""
    copy = json.loads(json.dumps(document))
    if not path:
        return text or ""
    parent = copy
    for name in path[:-1]:
        parent = parent[name]
    if text is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = "HERE"
    return json.dumps(copy).replace('"HERE"', text or "")


def documents(seeds: Sequence[bytes]) -> Strategy:
    """JSON documents with another value in one place, and some with damaged bytes."""
    parsed = [(document, _paths(document)) for document in map(json.loads, seeds)]

    @st.composite
    def edited(draw: st.DrawFn) -> bytes:
        document, paths = draw(st.sampled_from(parsed))
        path = draw(st.sampled_from(paths))
        text = _with(document, path, draw(st.none() | st.sampled_from(JSON_VALUES) | st.just('"HERE"')))
        return text.encode("utf-8", "surrogatepass")

    values = [text.encode() for text in JSON_VALUES]
    return st.one_of(edited(), edited(), mutations(edited(), values, seeds), mutated(seeds, values))


texts = st.sampled_from(TEXTS) | st.text(max_size=20)
"""Texts, also with lone surrogates."""


def encoded(text: str, encoding: str) -> bytes:
    """A text in an encoding; characters that it lacks are dropped."""
    try:
        return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "ignore")
    except UnicodeEncodeError:
        return text.encode(encoding, "ignore")


MARKS = (b"", b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE)
