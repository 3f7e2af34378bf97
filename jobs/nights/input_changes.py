"""Why a step has work to do: what it was made from, against what is there now."""

import json
from typing import Any


def changes(before: dict[str, str], now: dict[str, str]) -> str | None:
    """What differs between the inputs of two runs, in words; None where nothing does.

    >>> changes({"tracks": "r1", "settings": '{"seed": 0}'}, {"tracks": "r2", "settings": '{"seed": 1}'})
    'tracks: r1 → r2; seed: 0 → 1'
    """
    old, new = _flat(before), _flat(now)
    found = [
        f"{name}: {_shown(old.get(name))} → {_shown(new.get(name))}"
        for name in sorted(old | new, key=list(old | new).index)
        if old.get(name) != new.get(name)
    ]
    return "; ".join(found) or None


def _flat(inputs: dict[str, str]) -> dict[str, Any]:
    """The inputs with each of the settings under its own name."""
    found: dict[str, Any] = {name: value for name, value in inputs.items() if name != "settings"}
    settings = _settings(json.loads(inputs.get("settings") or "{}"))
    return found | {f"--{name}" if name in found else name: value for name, value in settings.items()}


def _settings(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _settings(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _shown(value: object) -> str:
    return "none" if value is None or value == "" else str(value)
