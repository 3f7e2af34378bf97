"""JSON records as dataclasses, whose fields are checked against their types when they are read."""

from typing import Any, TypeVar

import msgspec

from genremill.infra.errors import GenremillError, StorageError

RecordT = TypeVar("RecordT")


def to_json(record: object) -> bytes:
    """The record as indented JSON; enums by value, tuples as lists, NaN as null."""
    return msgspec.json.format(msgspec.json.encode(record, enc_hook=_as_float), indent=1)


def _as_float(value: object) -> float:
    """A float of numpy, which is a subclass of float that msgspec does not know."""
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")


def from_json(
    data: bytes | str, kind: type[RecordT], source: str, error: type[GenremillError] = StorageError
) -> RecordT:
    """The record of type `kind` that a JSON text holds; raises `error` for invalid JSON or a wrong type.

    Fields that `kind` does not have are ignored, so that an older version reads what a newer one wrote.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as err:
        raise error(f"{source} is not a valid {kind.__name__} record: {err}") from err


def to_builtins(record: object) -> dict[str, Any]:
    """The record as a dictionary of lists, texts and numbers, equal to what is read back from its JSON."""
    return msgspec.json.decode(msgspec.json.encode(record), type=dict[str, Any])
