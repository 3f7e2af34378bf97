"""JSON records as dataclasses, whose fields are checked against their types when they are read."""

import re
import reprlib
from typing import Annotated, Any, TypeVar

import msgspec

from genremill.infra.errors import DamagedRecord, GenremillError, shortened

SHOWN = 200
"""Characters of a long message of msgspec that are shown, at its start and at its end."""
RecordT = TypeVar("RecordT")

_NAME = r"(?!(?:\.|%2[eE]){1,2}(?:/|\Z))(?:(?!%2[fF]|%00)[^/\\\x00-\x1f])+"
"""Not `.`, `..` or a slash in any form, because `file:` URIs are percent-decoded."""
Name = Annotated[str, msgspec.Meta(pattern=rf"\A{_NAME}\Z")]
"""A name of one file or folder."""
RunId = Annotated[str, msgspec.Meta(pattern=rf"\A(?:{_NAME})?\Z")]
"""A run id, or "" for none."""
INNER_PATH = rf"(?![\w+.-]+:){_NAME}(?:/{_NAME})*"
InnerPath = Annotated[str, msgspec.Meta(pattern=rf"\A{INNER_PATH}\Z")]
"""A relative path that stays inside the warehouse."""
Time = Annotated[str, msgspec.Meta(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]
"""A time from `storage.utc_now`."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of rows, files or bytes."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
"""A duration."""


def to_json(record: object) -> bytes:
    """The record as indented JSON; enums by value, tuples as lists, NaN as null."""
    try:
        return msgspec.json.format(msgspec.json.encode(record, enc_hook=_as_float), indent=1)
    except RecursionError as err:  # it was read where fewer functions were active
        raise DamagedRecord(f"a {type(record).__name__} record has too many nested levels") from err


def _as_float(value: object) -> float:
    """A float of numpy, which is a subclass of float that msgspec does not know."""
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")


def from_json(
    data: bytes | str, kind: type[RecordT], source: str, error: type[GenremillError] = DamagedRecord
) -> RecordT:
    """The record of type `kind` that a JSON text holds; raises `error` for invalid JSON or a wrong type.

    Fields that `kind` does not have are ignored, so that an older version reads what a newer one wrote.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        problem = str(err)
        shown = shortened(problem, SHOWN) + _found(data, problem)
        raise error(f"{source} is not a valid {kind.__name__} record: {shown}") from err


def _found(data: bytes | str, problem: str) -> str:
    """What a JSON text has at the byte or field that an error of msgspec names."""
    text = data.encode() if isinstance(data, str) else data
    if place := re.search(r"\(byte (\d+)\)", problem):
        byte = int(place[1])
        return f"; found {text[max(byte - 40, 0) : byte + 10].decode(errors='replace')!r}"
    path = re.search(r" - at `\$(\.[^`]*)`", problem)
    return f"; found {reprlib.repr(_value(text, path[1]))}" if path else ""


def _value(text: bytes, path: str) -> object:
    """The value at a path such as `.history[0].epoch`, or the dictionary at the first `[...]` of it."""
    try:
        value = msgspec.json.decode(text)
        for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path.partition("[...]")[0]):
            value = value[name or int(index)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return None  # the text is invalid beside the value, or has a name twice
    return value


def json_object(data: bytes | str, source: str) -> dict[str, Any]:
    """The JSON object that a text holds; raises `DamagedRecord` for anything else."""
    return from_json(data, dict, source)


def to_builtins(record: object) -> dict[str, Any]:
    """The record as a dictionary of lists, texts and numbers, equal to what is read back from its JSON."""
    return msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])
