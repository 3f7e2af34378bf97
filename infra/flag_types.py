"""How tyro reads the values of flags and shows them in the help."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeAlias, TypeVar, Union

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructTypeInfo,
)

InfoT = TypeVar("InfoT")
_IN_PROGRESS: list[object] = []
"""Types for which tyro's own rules are being asked."""

Uri: TypeAlias = Annotated[str, tyro.conf.arg(metavar="URI")]
OptionalUri: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="URI")]
OptionalFile: TypeAlias = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
Uris: TypeAlias = Annotated[tuple[str, ...], tyro.conf.arg(metavar="URI ...")]


def registry(hidden: Collection[tuple[type, str]] = ()) -> ConstructorRegistry:
    """The rules for tyro; the help leaves out the fields in `hidden`, each a dataclass and a field's name."""
    rules = ConstructorRegistry()
    rules.primitive_rule(_optional)
    rules.primitive_rule(_list)
    rules.struct_rule(lambda info: _dataclass(info, hidden))
    return rules


def _dataclass(info: StructTypeInfo, hidden: Collection[tuple[type, str]]) -> StructConstructorSpec | None:
    """The rule for dataclasses: the help shows defaults in brackets and leaves out `hidden` fields."""
    if not dataclasses.is_dataclass(info.type):
        return None
    spec = _by_tyro(ConstructorRegistry.get_struct_spec, info)
    if not isinstance(spec, StructConstructorSpec):
        return None
    fields = []
    for field in spec.fields:
        kind: Any = Annotated[field.type, tyro.conf.arg(help_behavior_hint=_in_brackets)]
        if (info.type, field.name) in hidden:
            kind = Annotated[kind, tyro.conf.Suppress]
        text = functools.partial(_one_line, field.helptext)
        fields.append(dataclasses.replace(field, type=kind, helptext=text))
    return dataclasses.replace(spec, fields=tuple(fields))


def _one_line(text: str | Callable[[], str | None] | None) -> str:
    """A docstring without line breaks, which tyro would keep in part."""
    return " ".join(((text() if callable(text) else text) or "").split())


def _in_brackets(default: str) -> str:
    """A default in brackets; nothing for a switch and for flags without a default."""
    return "" if default in ("", "''", "None", "True", "False") else f"[{default}]"


def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for optional values: they are read and shown like required ones, and None without the flag."""
    if info.type_origin not in (Union, types.UnionType):
        return None
    kinds = [kind for kind in typing.get_args(info.type) if kind is not type(None)]
    value = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if len(kinds) > 1 or not isinstance(value, PrimitiveConstructorSpec):
        return None
    is_value, text_of = value.is_instance, value.str_from_instance
    return dataclasses.replace(
        value,
        is_instance=lambda instance: instance is None or is_value(instance),
        str_from_instance=lambda instance: ["None"] if instance is None else text_of(instance),
    )


def _list(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """The rule for lists: the help shows them as `STR ...`."""
    kinds = typing.get_args(info.type)
    if info.type_origin is not tuple or kinds[-1] is not ...:
        return None
    spec = _by_tyro(ConstructorRegistry.get_primitive_spec, info)
    item = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec) or not isinstance(item, PrimitiveConstructorSpec):
        return None
    return dataclasses.replace(spec, metavar=f"{item.metavar} ...")


def _by_tyro(rule: Callable[[InfoT], object], info: InfoT) -> object:
    """The result of tyro's own rules for a type; None if they are being asked already."""
    if info in _IN_PROGRESS:
        return None
    _IN_PROGRESS.append(info)
    try:
        return rule(info)
    finally:
        _IN_PROGRESS.remove(info)
