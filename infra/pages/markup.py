"""HTML and SVG in which text from data can never become markup: whatever is not `Markup` gets escaped."""

import html
import re

VOID_TAGS = frozenset({"meta", "br"})
# Control characters (terminal escapes among them), lone surrogates, and marks that reverse the order of text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FORMULA_STARTS = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( ?%)?")


class Markup(str):
    """Text that is markup already. Only this module's functions and constants of the source make it."""

    __slots__ = ()


def escape(text: str) -> Markup:
    r"""The text as markup that shows it, with a replacement character for what cannot be printed.

    >>> escape("<script>")
    '&lt;script&gt;'
    >>> escape("\x1b[31mred")
    '�[31mred'
    """
    return text if isinstance(text, Markup) else Markup(html.escape(_UNPRINTABLE.sub("\ufffd", text)))


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """An element; children and attributes that are not Markup are escaped.

    An underscore in an attribute's name stands for a hyphen, a last one keeps it apart from a Python word.

    >>> element("a", "R&B", href="#r-n-b", class_="genre")
    '<a href="#r-n-b" class="genre">R&amp;B</a>'
    >>> element("rect", x=1 / 3, stroke_width=2)
    '<rect x="0.33" stroke-width="2"></rect>'
    """
    opening = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"' for name, value in attributes.items()
    )
    if tag in VOID_TAGS:
        return Markup(f"<{tag}{opening}>")
    return Markup(f"<{tag}{opening}>{join(*children)}</{tag}>")


def join(*parts: str) -> Markup:
    """The parts one after the other; those that are not Markup are escaped.

    >>> join(element("b", "a"), " < b")
    '<b>a</b> &lt; b'
    """
    return Markup("".join(escape(part) for part in parts))


def cell_text(text: str) -> str:
    """The text of a table's cell, which a spreadsheet it is pasted into will not take for a formula.

    >>> cell_text("=cmd()|")
    "'=cmd()|"
    >>> cell_text("-3.1e-06")
    '-3.1e-06'
    """
    plain = isinstance(text, Markup) or _NUMBER.fullmatch(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not plain else text


def _attribute(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{round(value, 2):.10g}"
