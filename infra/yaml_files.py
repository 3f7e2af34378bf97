"""Reads YAML files of users, which may be damaged or hostile."""

import yaml

from genremill.infra import storage
from genremill.infra.errors import UsageError

MAX_BYTES = 1 << 20
"""The largest size of a file, and of its text after all aliases are replaced by what they stand for."""
MAX_DIGITS = 100
"""The most characters of a whole number. Python refuses to print numbers of more than 4,300 digits."""
_FAULTS = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError)
"""Errors of PyYAML; the last four are for text that does not fit its tag, such as the date 2026-13-45."""


def read(flag: str, location: str, expected: str) -> object:
    """The document in the file that a flag names; raises `UsageError` if it is no plain, small YAML."""
    data = storage.read_start(storage.required_file(flag, location, expected), MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{flag} {location}: larger than {MAX_BYTES:,} bytes; expected {expected}")
    try:
        return _document(data)
    except RecursionError as err:
        raise UsageError(f"{flag} {location} is not plain YAML: it is nested too deeply") from err
    except _FAULTS as err:
        raise UsageError(f"{flag} {location} is not plain YAML: {err}") from err


def _document(data: bytes) -> object:
    loader = yaml.SafeLoader(data)
    node = loader.get_single_node()
    if node is None:
        return None
    if _size(node, {}) > MAX_BYTES:
        raise ValueError(f"its aliases stand for more than {MAX_BYTES:,} characters")
    return loader.construct_document(node)


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Characters and nodes below a node, where each alias counts as what it stands for."""
    if node not in sizes:
        if isinstance(node, yaml.ScalarNode):
            _check_number(node)
            sizes[node] = 1 + len(node.value)
        else:
            sizes[node] = 1 + sum(_size(child, sizes) for child in _children(node))
    return sizes[node]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value)


def _check_number(node: yaml.ScalarNode) -> None:
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise ValueError(f"a number of {len(node.value):,} digits; expected at most {MAX_DIGITS}")
