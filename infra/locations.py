"""How records name a URI: relative to the warehouse if it is inside, so that a warehouse can be moved."""

import re
from typing import Annotated, TypeVar, cast

import msgspec

from genremill.infra import records, storage
from genremill.infra.warehouse import Warehouse

DocumentT = TypeVar("DocumentT")

RecordedLocation = Annotated[
    str, msgspec.Meta(pattern=rf"\A(?:(?:file|s3a)://[^\x00]*|{records.INNER_PATH})?\Z")
]
"""A path inside the warehouse, a full URI, or "" for none."""
_MODEL = re.compile(r".*/(models/[^/]+/[^/]+)")


def relative(warehouse: Warehouse, document: DocumentT) -> DocumentT:
    """A URI, or a JSON document with URIs, as a record stores it: without the URI of the warehouse.

    >>> relative(Warehouse("file:///wh"), {"report": "file:///wh/reports/r1/report.html", "of": "file:///x"})
    {'report': 'reports/r1/report.html', 'of': 'file:///x'}
    """
    if isinstance(document, str):
        return cast(DocumentT, document.removeprefix(warehouse.path("")))
    if isinstance(document, dict):
        return cast(DocumentT, {name: relative(warehouse, value) for name, value in document.items()})
    if isinstance(document, list | tuple):
        return cast(DocumentT, [relative(warehouse, value) for value in document])
    return document


def resolved(warehouse: Warehouse, recorded: str) -> str:
    """The full URI of what a record names.

    Earlier versions recorded full URIs. If the warehouse has been moved since, their models are found in it.
    """
    if "://" not in recorded:
        return warehouse.path(recorded)
    model = _MODEL.fullmatch(recorded)
    is_inside = model is not None and storage.exists(inside := warehouse.path(model[1]))
    return inside if is_inside else recorded
