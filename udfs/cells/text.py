"""Text as people write it: entities, white space, control characters, and markers of a missing value."""

import html
import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

NAME_MARKERS = frozenset({"empty_field", "nan", "NA", "N/A", "NULL", "None"})
"""Cells without a value in titles, albums and artists, where `?` or `Unknown` can be a real name."""
VALUE_MARKERS = frozenset(
    {
        *("#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>", "n/a", "na"),
        *("null", "nan", "none", "?", "empty_field", "-", "unknown"),
    }
)
"""Texts, in lower case, that stand for a missing number or label. `pandas.read_csv` knows most of them."""

_ODD = r"[^!-~ ]|&|^ | $|  "
"""Finds the cells that `clean_text` may change."""
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""Control characters, and characters without width that change no word. Joiners (U+200C, U+200D) stay."""
_DASHES = re.compile("[\u2010-\u2015\u2212\u2043\ufe58\ufe63\uff0d]")
_SEPARATORS = re.compile(r"[\s_\-\u200c\u200d]+")


def clean_text(text: str) -> str:
    r"""The text with decoded entities, in Unicode form NFC, without control characters; blanks are single.

    >>> clean_text(" Salt &amp;amp;\tPepper\u00a0\u200b"), clean_text("AT&T")
    ('Salt & Pepper', 'AT&T')
    """
    for _ in range(2):  # a text that was escaped twice
        if "&" in text:
            text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return " ".join(_UNWANTED.sub("", unicodedata.normalize("NFC", text)).split())


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
    """Whether each cell of clean text stands for a missing number or label, in any case."""
    known = pa.array(VALUE_MARKERS | {marker.lower() for marker in markers}, pa.string())
    return pc.is_in(pc.utf8_lower(column), known)


def _without(column: pa.StringArray, missing: pa.BooleanArray) -> pa.StringArray:
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def folded_label(label: str) -> str:
    r"""A key that is equal for labels which differ only in case, width, dashes or blanks.

    >>> folded_label("Hip\u2010Hop") == folded_label("hip hop") == folded_label("ＨＩＰ－ＨＯＰ")
    True
    """
    text = _DASHES.sub("-", unicodedata.normalize("NFKC", label)).casefold()
    return _SEPARATORS.sub("", text) or text
