"""Compares what a result was made from with what it would be made from now."""

import json
from typing import Any


def changes(before: dict[str, str], now: dict[str, str]) -> str | None:
    """The inputs and settings that differ between two runs, as text; None if they are equal.

    >>> changes({"tracks": "r1", "settings": '{"seed": 0}'}, {"tracks": "r2", "settings": '{"seed": 1}'})
    'tracks: r1 → r2; seed: 0 → 1'
    """
    old, new = _flattened(before), _flattened(now)
    texts = [
        f"{name}: {_text(old.get(name))} → {_text(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return "; ".join(texts) or None


def _flattened(inputs: dict[str, str]) -> dict[str, Any]:
    """The inputs, and each setting under its own name."""
    flat: dict[str, Any] = {name: value for name, value in inputs.items() if name != "settings"}
    settings = _by_flag(json.loads(inputs.get("settings") or "{}"))
    return flat | {f"--{name}" if name in flat else name: value for name, value in settings.items()}


def _by_flag(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _by_flag(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _text(value: object) -> str:
    return "none" if value is None or value == "" else str(value)
