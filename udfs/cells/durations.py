"""Durations as people and programs write them: `3:45`, `3 min 45 s`, `PT3M45S`, `0 days 00:03:45`."""

import re

_LONGEST = 64
"""A longer cell is not a duration."""
_PART = r"(\d+(?:,\d{1,2}|\.\d+)?)\s*"
"""The number of a part: `1,412 s` may be 1412 seconds, so it is none."""
_CLOCK = re.compile(
    r"(?:(\d+) days?,? )?(?:(\d+):)?(\d{1,3}):([0-5]?\d(?:[.,]\d+)?)(?:\s*min(?:ute)?s?\.?)?",
    re.ASCII | re.IGNORECASE,
)
_PARTS = re.compile(
    rf"P?(?:(\d+)\s*d(?:ays?)?)?\s*T?(?:{_PART}h(?:ours?|rs?)?)?\s*"
    rf"(?:{_PART}m(?:in(?:ute)?s?)?\.?)?\s*(?:{_PART}s(?:ec(?:ond)?s?)?\.?)?",
    re.ASCII | re.IGNORECASE,
)
_SECONDS = (86_400, 3600, 60, 1)


def clock_seconds(cell: str) -> float | None:
    """The seconds of a clock time or of a sum of days, hours, minutes and seconds; None if it is neither.

    >>> clock_seconds("3:45"), clock_seconds("1:02:03.5"), clock_seconds("3.45")
    (225.0, 3723.5, None)
    >>> clock_seconds("3 min 45 s"), clock_seconds("PT3M45S"), clock_seconds("0 days 00:03:45")
    (225.0, 225.0, 225.0)
    """
    if len(cell) > _LONGEST:
        return None
    match = _CLOCK.fullmatch(cell) or _PARTS.fullmatch(cell)
    if match is None or not any(match.groups()):
        return None
    parts = zip(match.groups(default="0"), _SECONDS, strict=True)
    return sum(float(number.replace(",", ".")) * seconds for number, seconds in parts)
