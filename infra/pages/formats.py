"""How pages show numbers."""

MISSING = "–"


def percent(share: float | None) -> str:
    """A share in percent, a dash if there is none.

    >>> percent(0.3194), percent(None)
    ('31.9 %', '–')
    """
    return MISSING if share is None else f"{100 * share:.1f} %"


def decimal(number: float | None) -> str:
    """A number with three decimals, a dash if there is none."""
    return MISSING if number is None else f"{number:.3f}"


def count(number: int) -> str:
    """A whole number with separators.

    >>> count(12345)
    '12,345'
    """
    return f"{number:,}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours.

    >>> duration(4.2), duration(75), duration(4000)
    ('4.2 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def pixels(length: float) -> str:
    """A length in SVG, with two decimals if it needs them.

    >>> pixels(1 / 3), pixels(72)
    ('0.33', '72')
    """
    return f"{round(length, 2):.10g}"
