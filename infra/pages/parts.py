"""The parts of a report page: one HTML file that asks nothing of any other host and runs no script."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from genremill.infra.pages.markup import Markup, cell_text, element, join
from genremill.infra.pages.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand right."""

    heading: str
    number: bool = True


def columns(*headings: str, text: Collection[str]) -> list[Column]:
    """Columns by their headings: those in `text` hold text, the others numbers."""
    return [Column(heading, number=heading not in text) for heading in headings]


def page(title: str, *content: str) -> str:
    """The HTML document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", STYLE),
    )
    return join(
        Markup("<!doctype html>"),
        element("html", head, element("body", element("main", *content)), lang="en"),
    )


def masthead(eyebrow: str, title: str, lead: str) -> Markup:
    """The page's head: what kind of report, its title, and what it means in a sentence."""
    return element(
        "header",
        element("p", eyebrow, class_="eyebrow"),
        element("h1", title),
        element("p", lead, class_="lead"),
    )


def section(heading: str, *content: str) -> Markup:
    """A part of the page under its heading."""
    return element("section", element("h2", heading), *content)


def prose(*text: str) -> Markup:
    """A paragraph."""
    return element("p", *text)


def absent(why: str) -> Markup:
    """The line that stands for a part left out."""
    return element("p", why, class_="absent")


def warning(heading: str, text: str) -> Markup:
    """What a reader must not miss."""
    return element("aside", element("strong", heading), " ", text, role="note", class_="warning")


def figure(picture: Markup, caption: str) -> Markup:
    """A picture and its caption; wider than the screen, it scrolls."""
    return element("figure", _scrolling(caption, picture), element("figcaption", caption))


def side_by_side(*items: str) -> Markup:
    """Items in one row, as far as the screen's width allows."""
    return element("div", *items, class_="side-by-side")


def stat(label: str, value: str, *details: str) -> Markup:
    """A headline number, and under it a line for each detail."""
    return element(
        "div",
        element("p", label, class_="stat-label"),
        element("p", value, class_="stat-value"),
        *(element("p", detail, class_="stat-detail") for detail in details),
        class_="stat",
    )


def stats(*items: Markup) -> Markup:
    """The headline numbers."""
    return element("div", *items, class_="stats")


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Markup:
    """A table whose first column names the row; wider than the screen, it scrolls."""
    head = element("tr", *(element("th", one.heading, scope="col", class_=_kind(one)) for one in columns))
    body = [_row(row, columns) for row in rows]
    content = element("table", element("thead", head), element("tbody", *body), aria_label=caption)
    return element("div", element("p", caption, class_="caption"), _scrolling(caption, content))


def facts(entries: Mapping[str, str]) -> Markup:
    """Names and values, one a line."""
    lines = (element("div", element("dt", name), element("dd", value)) for name, value in entries.items())
    return element("dl", *lines)


def _row(texts: Sequence[str], columns: Sequence[Column]) -> Markup:
    name, *values = (cell_text(text) for text in texts)
    first, *others = columns
    return element(
        "tr",
        element("th", name, scope="row", class_=_kind(first)),
        *(element("td", value, class_=_kind(one)) for value, one in zip(values, others, strict=True)),
    )


def _kind(column: Column) -> str:
    return "number" if column.number else "text"


def _scrolling(label: str, content: Markup) -> Markup:
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)
