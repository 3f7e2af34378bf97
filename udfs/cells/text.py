"""Text as people write it: entities, white space, control characters, and markers of a missing value."""

import functools
import re
import unicodedata
from html import unescape
from html.entities import html5

import pyarrow as pa
import pyarrow.compute as pc

NAME_MARKERS = frozenset({"empty_field", "nan", "NA", "N/A", "NULL", "None"})
"""Cells without a value in titles, albums and artists, where `?` or `Unknown` can be a real name."""
VALUE_MARKERS = frozenset(
    {
        *("#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na"),
        *("null", "nan", "none", "?", "empty_field", "-", "--", "unknown", "n.a.", r"\n"),
        *("#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"),
    }
)
r"""Texts, in lower case, that stand for a missing number or label.

`pandas.read_csv` knows most of them. MySQL and Hive write `\N`, and Excel writes its errors.
"""

_ODD = r"[^!-~ ]|&|^ | $|  "
"""Finds the cells that `clean_text` may change."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""Control characters, and characters without width that change no word. Joiners (U+200C, U+200D) stay."""
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\ufe58\ufe63\uff0d"
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u2032\u00b4`]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""The wide forms of ASCII characters, as East Asian keyboards write them."""
_HYPHENS = dict.fromkeys(map(ord, _DASHES), "-")
_ASCII = _NARROW | _HYPHENS
_WIDE = {narrow: wide for wide, narrow in _NARROW.items()}
_SHOWN = 32
"""Largest number of characters of a value that is shown."""
_SEPARATORS = re.compile(r"[\s_\-\u200c\u200d]+")


def clean_text(text: str) -> str:
    r"""The text with decoded entities, in Unicode form NFC, without control characters; blanks are single.

    >>> clean_text(" Salt &amp;amp;\tPepper\u00a0\u200b"), clean_text("AT&T")
    ('Salt & Pepper', 'AT&T')
    """
    for _ in range(2):  # a text that was escaped twice
        if "&" in text:
            text = _ENTITY.sub(_decoded, text)
    return " ".join(_UNWANTED.sub("", unicodedata.normalize("NFC", text)).split())


def _decoded(entity: re.Match[str]) -> str:
    """The character of an entity: none if no character has its number, the text if it has no such name."""
    text = entity[0]
    if text[1] == "#":
        return unescape(text).replace("\ufffd", "")
    return html5.get(text[1:], text)


def shown(value: object) -> str:
    """A value of a table as a short text; empty if there is none.

    >>> shown(None), shown(1.5), shown("a  b"), len(shown(40 * "a"))
    ('', '1.5', 'a b', 32)
    """
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def narrow(text: str) -> str:
    r"""The text with wide characters as in ASCII, and every dash as `-`.

    >>> narrow("\u22127\uff0e\uff12"), narrow("\u2013"), narrow("10\u00b2")
    ('-7.2', '-', '10²')
    """
    return text if text.isascii() else text.translate(_ASCII)


def clean(column: pa.StringArray) -> pa.StringArray:
    """`clean_text` of each cell; null if nothing is left."""
    odd = pc.fill_null(pc.match_substring_regex(column, _ODD), False)
    if pc.any(odd).as_py():
        cleaned = [clean_text(cell) for cell in column.filter(odd).to_pylist()]
        column = pc.replace_with_mask(column, odd, pa.array(cleaned, pa.string()))
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)


def without_names(column: pa.StringArray, markers: frozenset[str] = frozenset()) -> pa.StringArray:
    """The cells of clean text, null where a name is missing; `markers` are further markers."""
    return _without(column, pc.is_in(column, pa.array(NAME_MARKERS | markers, pa.string())))


def without_values(column: pa.StringArray, markers: frozenset[str] = frozenset()) -> pa.StringArray:
    """The cells of clean text, null where a number or a label is missing; `markers` are further markers."""
    return _without(column, are_missing_values(column, markers))


def are_missing_values(column: pa.StringArray, markers: frozenset[str]) -> pa.BooleanArray:
    """Whether each cell of clean text stands for a missing number or label, in any case and width."""
    return pc.is_in(pc.utf8_lower(column), _known(markers))


@functools.cache
def _known(markers: frozenset[str]) -> pa.StringArray:
    known = VALUE_MARKERS | {narrow(marker).lower() for marker in markers}
    return pa.array({form for marker in known for form in _forms(marker)}, pa.string())


def _forms(marker: str) -> set[str]:
    """The marker with each kind of dash, each in plain and in wide characters."""
    forms = {marker.replace("-", dash) for dash in "-" + _DASHES}
    return forms | {form.translate(_WIDE) for form in forms}


def _without(column: pa.StringArray, missing: pa.BooleanArray) -> pa.StringArray:
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def folded_label(label: str) -> str:
    r"""A key that is equal for labels which differ only in case, width, dashes, apostrophes or blanks.

    >>> folded_label("Hip\u2010Hop") == folded_label("hip hop") == folded_label("ＨＩＰ－ＨＯＰ")
    True
    """
    text = unicodedata.normalize("NFKC", _APOSTROPHES.sub("'", label))
    text = text.translate(_HYPHENS).casefold()
    return _SEPARATORS.sub("", text) or text
