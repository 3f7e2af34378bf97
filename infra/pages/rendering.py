"""Renders pages and charts from Jinja2 templates, which are in the folder of the code that fills them."""

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup

from genremill.infra.pages import formats
from genremill.infra.pages.parts import PageTable, TableCell

if TYPE_CHECKING:
    from jinja2 import Environment

_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters except line breaks, terminal escapes, lone surrogates, marks that reverse text."""


def render_template(template: str, **values: object) -> Markup:
    """Fills a template, named by its path in the package; the result has no unprintable characters."""
    return Markup(_UNPRINTABLE.sub("\ufffd", _environment().get_template(template).render(values)))


@cache
def _environment() -> "Environment":
    """Templates that escape all values and reject undefined names; they also load from a zip of the code."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # here: `--help` does not need it

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    functions = (formats.percent, formats.decimal, formats.count, formats.duration, formats.pixels)
    environment.filters |= {function.__name__: function for function in functions}
    environment.globals |= {"Cell": TableCell, "Table": PageTable}
    environment.globals["parts"] = environment.get_template("genremill/infra/pages/parts.html.j2").module
    return environment


def _source(template: str) -> str:
    package, _, name = template.rpartition("/")
    return resources.files(package.replace("/", ".")).joinpath(name).read_text("utf-8")
