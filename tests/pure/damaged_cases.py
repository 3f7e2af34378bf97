"""Damaged forms of a JSON record: what a broken disk, a killed writer or an attacker leaves."""

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest

from genremill.infra import records, storage
from genremill.infra.warehouse import Warehouse

DEEP = 100_000
OUTSIDE = (
    "",
    ".",
    "..",
    "/etc",
    "../tags",
    "tags/../../x",
    "tags//x",
    "tags/..",
    "s3a://bucket/x",
    "file:///etc",
    "file:x",
    "tags/%2e%2e/x",
    "tags/.%2E",
    "tags/x%2F..%2fy",
    "tags/%00",
    "tags\\..\\x",
    "tags/x\n",
    "tags/\0",
)
"""Paths that are not plain paths inside a warehouse."""


def put(warehouse: Warehouse, name: str, text: bytes) -> None:
    storage.write_atomic(warehouse.path(name), text)


def damaged_texts(record: Any, number: str) -> Iterator[Any]:
    """Parameters for a test: damaged texts of a record, which has a number in the field `number`."""
    text = records.to_json(record)
    valid = json.loads(text)
    known = {field.name: field for field in fields(record)} if is_dataclass(record) else {}

    def with_number(literal: str) -> bytes:
        return json.dumps(valid | {number: "HERE"}).replace('"HERE"', literal).encode()

    yield pytest.param(b"", id="empty")
    yield pytest.param(text[: len(text) // 2], id="truncated")
    yield pytest.param(bytes(range(256)), id="binary")
    yield pytest.param(text.replace(b'"', b'"\xff', 1), id="not UTF-8")
    yield pytest.param(b"null", id="null")
    yield pytest.param(b"[" + text + b"]", id="list")
    yield pytest.param(b"[" * DEEP, id="deep list")
    yield pytest.param(json.dumps(valid)[:-1].encode() + b', "x": ' + b'{"a":' * DEEP, id="deep object")
    for literal in ("NaN", "Infinity", "1e999", "9" * 5000, "-1"):
        yield pytest.param(with_number(literal), id=f"{number} {literal[:10]}")
    for name in valid:
        yield pytest.param(json.dumps(valid | {name: [[1]]}).encode(), id=f"{name} of a wrong type")
        if name in known and known[name].default is known[name].default_factory is MISSING:
            without = {key: value for key, value in valid.items() if key != name}
            yield pytest.param(json.dumps(without).encode(), id=f"{name} missing")


def with_values(record: object, name: str, *values: object) -> Iterator[Any]:
    """Parameters for a test: the texts of a record with each of these values in a field."""
    valid = json.loads(records.to_json(record))
    for value in values:
        yield pytest.param(json.dumps(valid | {name: value}).encode(), id=f"{name} {value!r}"[:60])
